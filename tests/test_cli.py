"""The command line: each kind of bad input is one sentence and exit code 2, without a traceback."""

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest

from pn_lib.cli import main
from pn_lib.cli.options import app, corpus_argument
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.commands.evaluate_command import Extent


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


# From Python 3.14 on, pathlib says of such a name that nothing is there.
TOO_LONG = "a name too long for a file; give a shorter one" if sys.version_info < (3, 14) else None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "huge"], "unknown profile 'huge'"),
        (["run", "--profile", "qick"], "did you mean 'quick'?"),
        (["run", "--profile", "smoke", "--corpus", "no/such/folder"], "no/such/folder"),
        (["publish", "quick-pocket"], "there is no run quick-pocket"),
        (["publish", "benchmark"], "the benchmark has no machine.json"),
        (["generate", "mine-pocket/transformer", "Once"], "there is no run or folder 'mine-pocket/transformer'"),
        (["generate", "no/such/model", "Once"], "there is no model at no/such/model"),
        (["evaluate", "no/such/model"], "there is no model at no/such/model"),
        (["generate", "x" * 300, "Once"], TOO_LONG or "there is no model at xxx"),
        (["evaluate", "x" * 300], TOO_LONG or "there is no model at xxx"),
        (["run", "--corpus", "x" * 300], TOO_LONG or "xxx does not exist"),
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
    assert "unknown key 'training.tokenz'; did you mean 'tokens'?" in failure(capsys, "run", "--profile", str(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "no such command 'fly' (see python -m pn_lib --help)"),
        (["rnu"], "Did you mean 'run'?"),
        (["run", "--speed", "9"], "no such option: --speed (see python -m pn_lib run --help)"),
        (["run", "--profil", "smoke"], "--profile"),
        (["run", "--profile"], "option '--profile' requires an argument"),
        (["generate", "model", "--seed", "x"], "'--seed'"),
        (["generate"], "missing argument 'MODEL'"),
        (["judge", "quick-pocket"], "missing option '--judge'"),
        ([], "missing command"),
    ],
)
def test_what_is_mistyped_is_one_sentence(capsys, arguments, message):
    assert message in failure(capsys, *arguments)


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", [None, *(command.callback.__name__ for command in app.registered_commands)])
def test_help_fits_a_screen(monkeypatch, capsys, command, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*([command] if command else []), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= columns
    assert all(ord(letter) < 128 for letter in "".join(lines))  # no boxes, no colours
    assert "..." not in "".join(lines).replace("[ARGS]...", "").replace("[FILE]...", "").replace(
        "train ...", ""
    ).replace("_env, ...", "")


def test_help_comes_at_once():
    slow = "{'torch', 'numba', 'datasets', 'rich'}"
    code = f"import sys; from pn_lib.cli import main; main(['--help']); print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "the memory does not suffice; "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "the memory does not suffice; "),
        (RuntimeError("can't start new thread"), "the memory does not suffice; "),
        (ImportError("cannot import name 'x' from 'torch'"), "a library fails (cannot import name 'x' from"),
        (SystemError("error return without exception set"), "a library fails (error return without exception set); if"),
    ],
)
def test_memory_that_does_not_suffice_is_one_sentence(monkeypatch, capsys, error, said):
    def stop(*_):
        raise error

    monkeypatch.setattr("pn_lib.course.site.build_site", stop)
    assert main(["site"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {said}") and shown.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "kept"), [("benchmark", "the tables finished so far"), ("site", "the last whole result")]
)
def test_ctrl_c_says_what_is_kept(monkeypatch, capsys, command, kept):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pn_lib.benchmark.command.benchmark", stop)
    monkeypatch.setattr("pn_lib.course.site.build_site", stop)
    assert main([command]) == 130
    error = capsys.readouterr().err
    assert error.startswith("error: stopped; ") and kept in error and error.count("\n") == 1


def test_the_defaults_of_evaluate_are_those_of_its_extent():
    [command] = [command.callback for command in app.registered_commands if command.callback.__name__ == "evaluate"]
    defaults = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    assert {field.name: field.default for field in fields(Extent)}.items() <= defaults.items()


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
