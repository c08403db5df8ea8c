"""The command line: each kind of bad input is one sentence and exit code 2, without a traceback."""

import pytest

from pn_lib.cli import corpus_argument, main
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.models.transformer import Transformer, TransformerConfig


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    return tmp_path


def failure(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and "Traceback" not in captured.err
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "huge"], "unknown profile 'huge'"),
        (["run", "--profile", "smoke", "--corpus", "no/such/folder"], "no/such/folder"),
        (["publish", "quick-pocket"], "there is no run quick-pocket"),
        (["publish", "benchmark"], "the benchmark has no machine.json"),
        (["generate", "mine-pocket/transformer", "Once"], "there is no run or folder 'mine-pocket/transformer'"),
        (["generate", "no/such/model", "Once"], "there is no model at no/such/model"),
        (["evaluate", "no/such/model"], "there is no model at no/such/model"),
    ],
)
def test_bad_input(root, capsys, arguments, message):
    assert message in failure(capsys, *arguments)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.txt", b""),
        ("image.txt", bytes(range(256)) * 9),
        ("stories.xyz", b"Once upon a time"),
        ("bad.jsonl", b"{'no': json}\n"),
    ],
)
def test_bad_corpora(root, capsys, name, content):
    (root / name).write_bytes(content)
    assert name in failure(capsys, "run", "--profile", "smoke", "--corpus", str(root / name))


def test_an_unknown_key_in_a_profile(root, capsys):
    path = root / "mine.toml"
    path.write_text("[training]\ntokenz = 3")
    assert "unknown key 'training.tokenz'" in failure(capsys, "run", "--profile", str(path))


def test_unknown_commands_and_options_exit_with_2():
    for arguments in (["fly"], ["run", "--speed", "9"], []):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2


@pytest.fixture
def small_run(root):
    results = root / "results" / "smoke-pocket"
    tokenizer = train_tokenizer(["Once upon a time there was a cat."] * 3, 300)
    tokenizer.save(results / "tokenizer")
    Transformer(TransformerConfig(tokenizer.vocab_size, context=16, d_model=8, n_layers=1, n_heads=2)).save(
        results / "models" / "transformer"
    )
    return results


MODEL = "smoke-pocket/transformer"


def test_generate_tells_the_same_story_for_the_same_seed(small_run, capsys):
    told = []
    for seed in (1, 1, 2):
        assert main(["generate", MODEL, "Once", "--seed", str(seed)]) == 0
        told.append(capsys.readouterr().out)
    assert told[0].startswith("Once") and told[0] == told[1] != told[2]
    assert main(["generate", str(small_run / "models" / "transformer"), "Once", "--seed", "1"]) == 0
    assert capsys.readouterr().out == told[0]  # a path names the same model
    assert main(["generate", MODEL]) == 0  # from nothing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([MODEL, "Once upon a time there was a dog " * 9], "context"),
        ([MODEL, "Once", "--top-p", "1.5"], "top_p"),
        ([MODEL, " "], "the beginning is empty"),
        ([MODEL, "Once <|endoftext|> upon"], "'<|endoftext|>', which looks like a control token"),
        ([MODEL, "[INST] Tell"], "control token"),
        (["smoke-pocket/mamba", "Once"], "run smoke-pocket has no model 'mamba'; it has transformer"),
    ],
)
def test_generate_refuses_what_cannot_be(small_run, capsys, arguments, message):
    assert message in failure(capsys, "generate", *arguments)


def test_a_damaged_model_is_one_sentence(small_run, capsys):
    (small_run / "models" / "transformer" / "model.safetensors").write_bytes(b"damaged")
    for command in (["generate", MODEL, "Once"], ["evaluate", MODEL]):
        assert "is damaged" in failure(capsys, *command)


def test_corpus_paths_are_kept_relative_to_the_root(root, monkeypatch):
    monkeypatch.chdir(root)
    assert corpus_argument("pocket") == "pocket"
    assert corpus_argument("stories/mine.txt") == "stories/mine.txt"
    assert corpus_argument(str(root.parent / "x")) == "../x"
    assert corpus_argument("./pocket") == "./pocket" and corpus_argument(str(root / "tinystories")) == "./tinystories"
