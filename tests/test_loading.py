"""Any saved model opens with its tokenizer, whoever wrote it, and what cannot be opened is one clear sentence."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_example import STORIES, make_model

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.models import loading
from pn_lib.models.export import ModelCard, export_transformers
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.llama2c import export_llama2c
from pn_lib.models.loading import open_model
from pn_lib.models.transformer import Transformer, TransformerConfig

IDS = torch.tensor([[1, 5, 9, 2]])
CARD = ModelCard(
    name="tiny",
    licence="mit",
    corpus="made up",
    corpus_source="none",
    corpus_licence="CC0",
    corpus_fingerprint="0",
    tokens=1,
    steps=1,
    batch_size=1,
    context=16,
    bits_per_byte=2.0,
    measured_on="nothing",
    interval=None,
    dataset=None,
    language="en",
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES, 300)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(3)
    return Transformer(TransformerConfig(tokenizer.vocab_size, context=16, d_model=16, n_layers=1, n_heads=2)).eval()


def same(found, model) -> bool:
    with torch.no_grad():
        return torch.allclose(found(IDS), model(IDS), atol=1e-5)


def test_our_folder_with_its_tokenizer_beside_or_in_the_run(model, tokenizer, tmp_path):
    folder = tmp_path / "run/models/tiny"
    model.save(folder)
    tokenizer.save(tmp_path / "run/tokenizer")
    found, coder = open_model(folder)
    assert same(found, model) and coder.encode("Tim ran.") == tokenizer.encode("Tim ran.")
    model.save(tmp_path / "run/models/zoo/tiny")
    assert same(open_model(tmp_path / "run/models/zoo/tiny")[0], model)
    tokenizer.save(folder)
    assert open_model(folder)[1].vocab_size == tokenizer.vocab_size


def test_a_config_with_a_byte_order_mark_is_read_and_a_damaged_one_is_to_be_fetched_again(model, tokenizer, tmp_path):
    model.save(tmp_path)
    tokenizer.save(tmp_path)
    config = tmp_path / "config.json"
    config.write_bytes(b"\xef\xbb\xbf" + config.read_bytes())
    assert same(open_model(tmp_path)[0], model)
    config.write_bytes(config.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"config\.json is damaged .* fetch it again if it was downloaded"):
        open_model(tmp_path)


def test_weights_of_a_training_that_diverged_are_refused(model, tokenizer, tmp_path):
    with torch.no_grad():
        next(model.parameters()).view(-1)[3] = torch.nan
    model.save(tmp_path / "tiny")
    tokenizer.save(tmp_path / "tiny")
    with pytest.raises(InputError, match=r"weights that are no finite numbers \(.+\), as after a training"):
        open_model(tmp_path / "tiny")


def test_weights_that_are_not_those_that_were_saved_are_refused(model, tokenizer, tmp_path):
    model.save(tmp_path / "tiny")
    tokenizer.save(tmp_path / "tiny")
    weights = tmp_path / "tiny" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"model\.safetensors is damaged, or not the one that its config\.json"):
        open_model(tmp_path / "tiny")
    torch.manual_seed(4)
    type(model)(model.config).save(tmp_path / "other")
    weights.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="not the one"):
        open_model(tmp_path / "tiny")
    weights.write_bytes(whole)
    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    del config["weights"]  # as older versions saved it
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config))
    assert same(open_model(tmp_path / "tiny")[0], model)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("field", ["d_model", "n_layers", "vocab_size", "d_ff"])
def test_a_config_of_more_than_its_weights_hold_is_refused_before_memory_is_taken(model, tokenizer, tmp_path, field):
    model.save(tmp_path)
    tokenizer.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {field: 1 << 32}))
    with pytest.raises(InputError, match=rf"safetensors is damaged .*({field} is 4,294,967,296|its config makes)"):
        open_model(tmp_path)


def test_a_folder_of_transformers_in_either_kind_of_weights(model, tokenizer, tmp_path):
    export_transformers(model, tokenizer, tmp_path, CARD)
    assert same(open_model(tmp_path)[0], model)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    assert same(open_model(tmp_path)[0], model)


def test_the_pair_of_tables_that_older_models_have(model, tokenizer, tmp_path):
    export_transformers(model, tokenizer, tmp_path, CARD)
    tables = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(tables["vocab"]))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in tables["merges"]))
    (tmp_path / "tokenizer.json").unlink()
    _, coder = open_model(tmp_path)
    assert coder.encode(STORIES[0]) == tokenizer.encode(STORIES[0]) and coder.separator_id == tokenizer.separator_id
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer: put its tokenizer\.json, or vocab\.json and merges\.txt"):
        open_model(tmp_path)


def test_llama2c_file(tokenizer, tmp_path):
    torch.manual_seed(0)
    model = Transformer(
        TransformerConfig(tokenizer.vocab_size, context=16, d_model=16, n_layers=1, n_heads=2, activation="swiglu")
    ).eval()
    export_llama2c(model, tokenizer, tmp_path)
    [file] = [path for path in tmp_path.glob("*.bin") if not path.name.startswith("tok")]
    found, coder = open_model(file)
    assert found.config.d_model == 16 and coder.decode(coder.encode("Tim ran.")) == "Tim ran."
    score, known = (text_likelihood(*pair, STORIES[:3]).bits_per_byte for pair in ((found, coder), (model, tokenizer)))
    assert score == pytest.approx(known, rel=0.2)  # another way to cut the text, the same model
    for path in tmp_path.glob("tok*.bin"):
        path.unlink()
    with pytest.raises(InputError, match="has no tokenizer beside it"):
        open_model(file)


def test_weights_that_would_execute_code_are_refused(model, tokenizer, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    export_transformers(model, tokenizer, tmp_path, CARD)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="damaged"):
        open_model(tmp_path)
    assert not (tmp_path / "written").exists()


def change(folder, key, of):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {key: of(config[key])}))


def reshape(folder, name, shape):
    """Give the first weight of this name another shape, as a flipped bit in the file's head can."""
    path = folder / "model.safetensors"
    state = load_file(path)
    key = next(key for key in state if name in key)
    state[key] = state[key].flatten()[0].clone() if shape == () else state[key].reshape(shape).contiguous()
    save_file(state, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b"\1" * 40), "are damaged"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json is damaged"),
        (lambda f: (f / "tokenizer.json").write_text('{"version": "%s"}' % ("[" * 5000)), "tokenizer.json is damaged"),
        (lambda f: (f / "config.json").write_text("{"), "is damaged"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), "'bert' has no equal here"),
        (lambda f: change(f, "intermediate_size", lambda size: 10**9), "do not fit the config: d_ff is 1,000,000,000"),
        (
            lambda f: change(f, "num_hidden_layers", lambda size: 10**12),
            "do not fit the config: n_layers is 1,000,000,000,000",
        ),
        (lambda f: reshape(f, "k_proj", (-1, 8)), "do not fit the config: .*k_proj.* have unlike shapes"),
        (lambda f: reshape(f, "embed_tokens", ()), "do not fit the config: .*embed_tokens.* have unlike shapes"),
    ],
)
def test_damage_is_one_sentence(model, tokenizer, tmp_path, damage, sentence):
    export_transformers(model, tokenizer, tmp_path, CARD)
    damage(tmp_path)
    with pytest.raises(InputError, match=sentence) as caught:
        open_model(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_a_tokenizer_of_another_model_is_refused(tokenizer, tmp_path):
    make_model().save(tmp_path)
    train_tokenizer(STORIES * 3, 400).save(tmp_path)
    with pytest.raises(InputError, match="do not belong together"):
        open_model(tmp_path)


def test_the_hub_is_asked_for_a_name_and_its_silence_is_one_sentence(model, tokenizer, tmp_path, monkeypatch):
    export_transformers(model, tokenizer, tmp_path / "theirs", CARD)
    asked = []

    def fetched(name, revision, **_):
        asked.append((name, revision))
        return str(tmp_path / "theirs")

    monkeypatch.setattr(loading, "snapshot_download", fetched)
    for name in ("someone/TinyStories-1M", "someone/TinyStories-1M@77f1b168e219585646439073245fe87bda3cf2a0"):
        assert same(open_model(name)[0], model)
    assert asked == [("someone/TinyStories-1M", None), (name.split("@")[0], name.split("@")[1])]

    def silent(name, **_):
        raise loading.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(loading, "snapshot_download", silent)
    with pytest.raises(InputError, match="cannot be reached"):
        open_model("someone/TinyStories-1M")
    with pytest.raises(InputError, match="there is no model at"):
        open_model("no/such/folder")


def test_a_table_padded_beyond_its_tokens_is_cut(tokenizer, tmp_path):
    """Some published tables have more rows than there are tokens; a model must not write what nobody can read."""
    config = TransformerConfig(tokenizer.vocab_size + 9, context=16, d_model=16, n_layers=1, n_heads=2)
    model = Transformer(config).eval()
    tokenizer.save(tmp_path)
    model.save(tmp_path)
    opened, coder = open_model(tmp_path)
    assert opened.config.vocab_size == coder.vocab_size
    ids = torch.randint(coder.vocab_size, (2, 9))
    torch.testing.assert_close(opened(ids), model(ids)[..., : coder.vocab_size])


def test_a_name_that_the_hub_cannot_have_is_one_sentence():
    with pytest.raises(InputError, match="there is no model"):
        open_model("$NOT_SET/model.bin")


def test_stories260k_against_an_independent_reader(stories260k_dir, tinystories_dir):
    """bits per byte by our code, and by transformers' Llama with the same weights on the same ids, story by story."""
    transformers = pytest.importorskip("transformers")
    import pyarrow.parquet as pq

    from pn_lib.models.huggingface import to_transformers

    model, coder = open_model(stories260k_dir / "stories260K.bin")
    [path] = sorted(tinystories_dir.glob("data/validation*"))
    stories = pq.read_table(path, columns=["text"])["text"].to_pylist()[::24]
    stories = [story for story in stories if len(coder.encode(story)) < 512]  # one window: nothing to agree upon
    config, state = to_transformers(model)
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
    llama.load_state_dict(state)
    nats = 0.0
    for story in stories:
        ids = torch.tensor([[1, *coder.encode(story), 1]])
        with torch.no_grad():
            logits = llama(ids[:, :-1]).logits[0].double()
        nats += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
    theirs = nats / 0.6931471805599453 / sum(len(story.encode()) for story in stories)
    ours = text_likelihood(model, coder, stories)
    assert ours.bits_per_byte == pytest.approx(theirs, abs=0.002)
    assert 0.85 < ours.bits_per_byte < 0.97  # 0.90 on V2 stories by the slice's own README; stories differ
