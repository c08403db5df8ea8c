"""One model, its tokenizer.json as others save it: the plain one's figures, or a word on what they are of."""

import json
import math

import pytest
import tokenizers
import torch
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors
from training_example import STORIES

from pn_lib.cli import main
from pn_lib.data.tokenizer import SEPARATOR, Tokenizer, train_tokenizer
from pn_lib.errors import InputError
from pn_lib.files import write_json
from pn_lib.models.huggingface import to_transformers
from pn_lib.models.likelihood import sequence_nats, text_likelihood
from pn_lib.models.loading import open_model
from pn_lib.models.lossless import check_lossless, round_trip
from pn_lib.models.transformer import Transformer, TransformerConfig

PROMPT = "Tim had a red ball. He lost the"
TEXTS = ["Tim ran.", " Tim ran.", "  two  spaces", "\n\tline", "É ﬁ … “no” 👩‍👧", f"a{SEPARATOR} b", ""]
BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
SMALL = ["--stories", "12", "--train-stories", "40", "--completions", "2", "--repeats", "1", "--max-bytes", "32"]


def _template(single):
    return processors.TemplateProcessing(single=single, special_tokens=[(SEPARATOR, 0)])


def _everything(backend):
    backend.enable_truncation(7, stride=2, direction="left")
    backend.enable_padding(direction="left", length=64)
    backend.post_processor = _template(f"{SEPARATOR} $A {SEPARATOR}")
    backend.model.dropout = 0.5


SAME = {  # what a file may keep that must not change what is measured
    "truncation": lambda b: b.enable_truncation(8),
    "truncation on the left": lambda b: b.enable_truncation(8, direction="left", strategy="only_first"),
    "padding to the longest": lambda b: b.enable_padding(),
    "padding to a length": lambda b: b.enable_padding(length=300, pad_token=SEPARATOR),
    "padding to a multiple, left": lambda b: b.enable_padding(pad_to_multiple_of=64, direction="left"),
    "template adds the end": lambda b: setattr(b, "post_processor", _template(f"$A {SEPARATOR}")),
    "template adds the begin": lambda b: setattr(b, "post_processor", _template(f"{SEPARATOR} $A")),
    "Roberta's": lambda b: setattr(b, "post_processor", processors.RobertaProcessing((SEPARATOR, 0), (SEPARATOR, 0))),
    "Bert's": lambda b: setattr(b, "post_processor", processors.BertProcessing((SEPARATOR, 0), (SEPARATOR, 0))),
    "offsets": lambda b: setattr(b, "post_processor", processors.ByteLevel(trim_offsets=True)),
    "several": lambda b: setattr(
        b,
        "post_processor",
        processors.Sequence([processors.ByteLevel(trim_offsets=False), _template(f"{SEPARATOR} $A {SEPARATOR}")]),
    ),
    "dropout": lambda b: setattr(b.model, "dropout", 0.3),
    "a decoder that only joins": lambda b: setattr(b, "decoder", decoders.Fuse()),
    "a decoder that cleans up": lambda b: setattr(
        b, "decoder", decoders.Sequence([decoders.ByteLevel(), decoders.Strip("T", 1, 0), decoders.Replace(" .", ".")])
    ),
    "everything": _everything,
}
SPACE = {  # a space before every text
    "ByteLevel": lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "Prepend": lambda b: setattr(b, "normalizer", normalizers.Prepend(" ")),
    "Sequence": lambda b: setattr(
        b, "pre_tokenizer", pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=True)])
    ),
}


def _normalized(*steps):
    return lambda b: setattr(b, "normalizer", normalizers.Sequence(list(steps)))


CHANGED = {  # each with a text that it changes, and one that it does not
    "Lowercase": (_normalized(normalizers.Lowercase()), "Tim ran.", "he ran."),
    "NFKC": (_normalized(normalizers.NFC(), normalizers.NFKC()), "a ﬁre…", "é fire"),
    "accents": (_normalized(normalizers.NFD(), normalizers.StripAccents()), "a café", "a cafe"),
    "Strip": (_normalized(normalizers.Strip()), "he ran.\n", "he ran."),
    "Replace": (_normalized(normalizers.Replace(Regex(" +"), " ")), "two  spaces", "two spaces"),
    "words apart": (
        lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), BYTE_LEVEL])),
        "he ran",
        "ran",
    ),
    "a space before every word": (
        lambda b: setattr(
            b,
            "pre_tokenizer",
            pre_tokenizers.Sequence(
                [pre_tokenizers.Split(",", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=True)]
            ),
        ),
        "yes,no",
        "yes no",
    ),
    "a token that eats spaces": (
        lambda b: b.add_tokens([AddedToken("ball", lstrip=True, normalized=False)]),
        "a ball",
        "a hat",
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A folder of transformers: a random Llama and its tokenizer."""
    folder = tmp_path_factory.mktemp("plain")
    tokenizer = train_tokenizer(STORIES, 300)
    tokenizer.save(folder)
    torch.manual_seed(0)
    config = TransformerConfig(tokenizer.vocab_size + 4, context=32, d_model=16, n_layers=1, n_heads=2)
    _keep(Transformer(config), folder)
    return folder


def _keep(model, folder):
    from safetensors.torch import save_file

    config, state = to_transformers(model)
    write_json(folder / "config.json", config)
    save_file({name: weight.contiguous() for name, weight in state.items()}, folder / "model.safetensors")


def _variant(plain, folder, change):
    """The plain model with a tokenizer.json changed by ``change``, as the library itself writes it."""
    for file in ("config.json", "model.safetensors"):
        (folder / file).write_bytes((plain / file).read_bytes())
    backend = tokenizers.Tokenizer.from_file(str(plain / "tokenizer.json"))
    change(backend)
    backend.save(str(folder / "tokenizer.json"))
    return folder


def _told(folder, capsys):
    assert main(["generate", str(folder), PROMPT, "--max-new-tokens", "20", "--seed", "3"]) == 0
    return capsys.readouterr()


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_figures_and_stories_are_the_plain_ones(plain, tmp_path, capsys, change):
    model, coder = open_model(_variant(plain, tmp_path, change))
    known = text_likelihood(*open_model(plain), STORIES)
    found = text_likelihood(model, coder, STORIES)
    assert found.bits_per_byte == pytest.approx(known.bits_per_byte, abs=1e-6) and found.tokens == known.tokens
    assert all(coder.decode(coder.encode(text)) == text for text in TEXTS) and not coder.space_before
    assert not any(coder.separator_id in coder.encode(text) for text in TEXTS)
    told = _told(tmp_path, capsys)
    assert told == _told(plain, capsys) and told.out.startswith(PROMPT) and not told.err


def test_the_separator_need_not_be_special(plain, tmp_path):
    _variant(plain, tmp_path, lambda b: None)
    state = json.loads((tmp_path / "tokenizer.json").read_text())
    state["added_tokens"][0]["special"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    _, coder = open_model(tmp_path)
    assert coder.separator_id not in coder.encode(f"a{SEPARATOR}b") == open_model(plain)[1].encode(f"a{SEPARATOR}b")


@pytest.mark.parametrize("change", SPACE.values(), ids=SPACE)
def test_a_space_before_every_text_is_scored_and_taken_away_again(plain, tmp_path, capsys, change):
    model, coder = open_model(_variant(plain, tmp_path, change))
    without, ends = open_model(plain)[1], [0]
    assert coder.space_before and coder.encode("Tim") == without.encode(" Tim")
    assert all(coder.decode(coder.encode(text)) == text for text in TEXTS)
    stories = [coder.encode("Tim"), ends, coder.encode(" ran")]
    assert coder.decode([0, *stories[0], *ends, *stories[2]]) == f"{SEPARATOR}Tim{SEPARATOR} ran"
    nats = sequence_nats(model, [ends + without.encode(" " + story) + ends for story in STORIES], 32)
    expected = nats.sum() / math.log(2) / sum(len(story.encode()) for story in STORIES)
    assert text_likelihood(model, coder, STORIES).bits_per_byte == pytest.approx(expected, abs=1e-6)
    told = _told(tmp_path, capsys)
    assert told.out.startswith(PROMPT) and not told.err


@pytest.mark.parametrize(("change", "lost", "kept"), CHANGED.values(), ids=CHANGED)
def test_a_text_that_does_not_come_back_is_found(plain, tmp_path, capsys, change, lost, kept):
    model, coder = open_model(_variant(plain, tmp_path, change))
    found = round_trip(coder, [kept, lost, kept])
    assert found.kept == (0, 2) and "changes 1 of 3 texts" in found.sentence
    before, after = found.example
    assert before in lost and before != after
    with pytest.raises(InputError, match="changes 1 of 2 texts") as caught:
        text_likelihood(model, coder, [kept, lost])
    assert "\n" not in str(caught.value)
    check_lossless(coder, [kept])
    assert main(["generate", str(tmp_path), lost, "--max-new-tokens", "3"]) == 0
    warning = capsys.readouterr().err
    assert warning.startswith("warning: the model's tokenizer changes the text (") and warning.count("\n") == 1


def _evaluate(folder, corpus, capsys):
    out = folder / "found.json"
    assert main(["evaluate", str(folder), "--corpus", str(corpus), *SMALL, "--out", str(out)]) == 0
    return json.loads(out.read_text()), capsys.readouterr().out


@pytest.fixture
def corpus(tmp_path_factory, monkeypatch):
    """Stories of which one in four has a ligature; the rest but one have a capital."""
    root = tmp_path_factory.mktemp("corpus")
    monkeypatch.setenv("PN_ROOT", str(root))
    stories = [
        f"{'Tim' if i % 5 else 'he'} saw {i} of them by the {'ﬁre' if i % 4 == 0 else 'sea'}, and then they all "
        f"went home again to tell number {i} of it. " * 3 + "The end."
        for i in range(120)
    ]
    (root / "mine.txt").write_text(f"\n{SEPARATOR}\n".join(stories), encoding="utf-8")
    return root / "mine.txt"


def test_evaluate_gives_the_plain_figures(plain, corpus, tmp_path, capsys):
    found, text = _evaluate(_variant(plain, tmp_path, _everything), corpus, capsys)
    known, plain_text = _evaluate(plain, corpus, capsys)
    found["model"].pop("source"), known["model"].pop("source")
    assert found == known and text.replace(str(tmp_path), str(plain)) == plain_text
    assert found["likelihood"]["stories"] == found["likelihood"]["lossless_stories"] == 12
    assert found["likelihood"]["warning"] is None and "WARNING" not in text


def test_evaluate_scores_the_stories_that_come_back_and_says_so(plain, corpus, tmp_path, capsys):
    change, *_ = CHANGED["NFKC"]
    found, text = _evaluate(_variant(plain, tmp_path, change), corpus, capsys)
    row = found["likelihood"]
    assert 2 <= row["lossless_stories"] < row["stories"] == 12
    assert "becomes" in row["warning"] and f"WARNING: {row['warning']}." in text
    assert f"on {row['lossless_stories']} of 12 stories" in text
    known = _evaluate(plain, corpus, capsys)[0]["likelihood"]
    assert abs(row["value"] - known["value"]) > 1e-4  # of fewer stories


def test_evaluate_has_no_figure_where_no_story_comes_back(plain, corpus, tmp_path, capsys):
    one_word = _normalized(normalizers.Replace(Regex("[A-Za-z]+"), "a"))  # answers and foils become the same
    found, text = _evaluate(_variant(plain, tmp_path, one_word), corpus, capsys)
    assert found["likelihood"]["value"] is None and found["likelihood"]["lossless_stories"] == 0
    assert "WARNING: the model's tokenizer changes 12 of 12 texts" in text and "bits per byte -" in text
    assert found["probes"]["facts"]["value"] == 0


def test_added_tokens_stand_for_their_text(plain, tmp_path):
    """As GPT-NeoX's runs of spaces do; a byte-level spelling has no space in it."""
    _, coder = open_model(_variant(plain, tmp_path, lambda b: b.add_tokens(["   ", "Ġhat", "🦊"])))
    text = "a   b Ġhat café 🦊 hat"
    ids = coder.encode(text)
    assert {300, 301, 302} < set(ids) and coder.decode(ids) == text
    assert [coder.token_bytes(i) for i in (300, 301)] == [b"   ", "Ġhat".encode()]


def test_a_padding_token_that_the_model_never_got_is_forgotten(plain, tmp_path):
    """Added to the tokenizer alone, as is often done; the model has 304 rows, 4 of them for no token."""
    names = [f"[PAD{i}]" for i in range(6)]
    model, coder = open_model(_variant(plain, tmp_path, lambda b: b.add_special_tokens(names)))
    assert coder.vocab_size == model.config.vocab_size == 304
    assert coder.encode("a [PAD5]") == open_model(plain)[1].encode("a [PAD5]")
    with pytest.raises(InputError, match="outside the vocabulary"):
        coder.decode([305])
    _variant(plain, tmp_path, lambda b: b.add_tokens(names))
    with pytest.raises(InputError, match="do not belong together"):
        open_model(tmp_path)


def test_a_number_without_a_token_is_shown_as_such(tmp_path):
    backend = tokenizers.Tokenizer.from_str(train_tokenizer(STORIES, 260)._backend.to_str())
    state = json.loads(backend.to_str())
    state["model"]["vocab"][next(iter(sorted(state["model"]["vocab"], key=len)[-1:]))] = 270
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.vocab_size == 271 and loaded.decode([265]) == "\ufffd"


def test_one_model_saved_in_many_ways(realworld_dir):
    """Every folder that opens gives the plain one's bits per byte, or a text does not come back."""
    folder = realworld_dir / "models" / "hf"
    lines = (realworld_dir / "corpora" / "ok" / "good.jsonl").read_text(encoding="utf-8").splitlines()[:20]
    stories = [json.loads(line)["text"] for line in lines]
    known = text_likelihood(*open_model(folder / "llama_plain"), stories).bits_per_byte
    for path in sorted(folder.glob("llama_*")):
        try:
            model, coder = open_model(path)
            found = text_likelihood(model, coder, stories).bits_per_byte
        except InputError as error:
            assert "tokenizer changes" in str(error), path
        else:
            half = 1e-2 if path.name.endswith("float16") else 1e-6
            assert coder.space_before or found == pytest.approx(known, abs=half), path
