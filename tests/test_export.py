"""Exported folders open in transformers as they are: the same logits, tokens and stories, and a card that is true."""

import json
from dataclasses import replace

import pytest
import torch
import transformers
from huggingface_hub import ModelCard as HubCard
from safetensors import safe_open
from torch.nn import functional as F

from pn_lib.data.pocket import sample_stories
from pn_lib.data.tokenizer import SEPARATOR, Tokenizer, train_tokenizer
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.export import ModelCard, export_transformers
from pn_lib.models.generation import generate
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

CARD = ModelCard(
    name="A model: of tests",
    licence="mit",
    corpus="Pocket stories",
    corpus_source="written by PocketNarrator",
    corpus_licence="CC0-1.0",
    corpus_fingerprint="0a1b",
    tokens=10_240,
    steps=20,
    batch_size=8,
    context=64,
    bits_per_byte=1.23456,
    measured_on="12 stories",
    interval=(1.2, 1.3),
)
SIZES = {"d_model": 32, "n_layers": 2, "context": 64}
GPT = {**SIZES, "n_heads": 4, "position": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}
NEO = {**GPT, "qkv_bias": False, "attention_scale": False, "window": 16, "window_layers": "alternate"}
MODELS = {
    "llama": (Transformer, {**SIZES, "n_heads": 4, "n_kv_heads": 2, "rope_theta": 500.0}),
    "llama, untied": (Transformer, {**SIZES, "n_heads": 4, "tied_embeddings": False}),
    "gpt2": (Transformer, GPT),
    "gpt_neo": (Transformer, NEO),
    "mamba": (Mamba, SIZES),
}
CLASSES = {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel", "gpt_neo": "GPTNeoForCausalLM",
           "mamba": "MambaForCausalLM"}  # fmt: skip
STORIES = sample_stories(300, seed=0)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(STORIES, 400)


@pytest.fixture(scope="module", params=MODELS.items(), ids=MODELS.keys())
def exported(request, tokenizer, tmp_path_factory):
    """What it is, our model after 20 updates, and the folder it was exported to."""
    name, (cls, options) = request.param
    torch.manual_seed(0)
    model = cls(cls.Config(tokenizer.vocab_size, **options))
    train(model, tokenizer)
    folder = tmp_path_factory.mktemp("exported")
    export_transformers(model, tokenizer, folder, CARD)
    return name.split(",")[0], model.eval(), folder


def train(model: LanguageModel, tokenizer: Tokenizer) -> None:
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    ids = torch.tensor([token for s in tokenizer.encode_batch(STORIES) for token in (tokenizer.separator_id, *s)])
    for x in ids[: 20 * 8 * 64].view(20, 8, 64):
        F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_the_model_is_the_same(exported):
    kind, model, folder = exported
    other, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    assert type(other).__name__ == CLASSES[kind] and other.dtype == torch.float32
    x = torch.randint(model.config.vocab_size, (3, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(x), other(x).logits, rtol=0, atol=1e-4)
    assert sum(p.numel() for p in other.parameters()) == model.n_parameters()


def test_the_story_is_the_same(exported, tokenizer):
    _, model, folder = exported
    other = transformers.AutoModelForCausalLM.from_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for prompt in ("", "Once upon a time"):
        ids = theirs(SEPARATOR + prompt, return_tensors="pt")
        assert ids["input_ids"][0].tolist() == [tokenizer.separator_id, *tokenizer.encode(prompt)]
        told = other.generate(**ids, max_length=60, do_sample=False)[0].tolist()
        start = ids["input_ids"][0].tolist()
        [ours] = generate(model, [start], 60 - len(start), temperature=0, stop_id=tokenizer.separator_id)
        assert told == start + ours.ids + [tokenizer.separator_id] * (ours.finish_reason == "stop")
        assert theirs.decode(told, skip_special_tokens=True) == prompt + tokenizer.decode(ours.ids)


def test_the_separator_ends_a_story(exported, tokenizer):
    """A model that says nothing but the separator stops at once."""
    _, _, folder = exported
    other = transformers.AutoModelForCausalLM.from_pretrained(folder)
    only = F.one_hot(torch.tensor(tokenizer.separator_id), tokenizer.vocab_size)
    other.lm_head.register_forward_hook(lambda module, given, logits: only.expand_as(logits))
    assert len(other.generate(torch.tensor([[5, 6]]), max_length=20)[0]) == 3


def test_the_tokens_are_the_same(exported, tokenizer):
    theirs = transformers.AutoTokenizer.from_pretrained(exported[2])
    hard = ("", 'She said: "I can\'t , you know !"', "“Déjà vu”, naïve 😀 日本", " a\n\n  b\t\r\n", "x" * 300)
    for text in (*hard, *STORIES[:20]):
        ids = tokenizer.encode(text)
        assert theirs(text)["input_ids"] == ids == theirs.encode(text)
        assert theirs.decode(ids) == text == tokenizer.decode(ids)


def test_special_tokens_and_padding(exported, tokenizer):
    _, model, folder = exported
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert {theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id} == {tokenizer.separator_id}
    assert len(theirs) == tokenizer.vocab_size
    batch = theirs(["Once", "Once upon a time"], padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}  # what each of the models takes
    assert not theirs.clean_up_tokenization_spaces  # text with spaces before its punctuation comes back
    assert theirs.model_max_length == (model.max_length or theirs.model_max_length) >= 64


def test_the_files(exported, tokenizer):
    kind, model, folder = exported
    assert {file.name for file in folder.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "README.md"}  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [CLASSES[kind]] and config["dtype"] == "float32"
    assert config["bos_token_id"] == config["eos_token_id"] == tokenizer.separator_id
    assert config["tie_word_embeddings"] == model.config.tied_embeddings
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}
        assert ("lm_head.weight" in weights.keys()) != model.config.tied_embeddings  # noqa: SIM118


def test_the_card_reads_well(exported):
    _, model, folder = exported
    card = HubCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name, card.data.language) == ("mit", "transformers", None)
    for part in (
        "# A model: of tests",
        f"A {type(model).__name__} of {model.n_parameters():,} parameters",
        "**1.235 bits per byte** (95 % interval 1.200 to 1.300) on 12 stories",
        "10,240 tokens, in 20 updates of 8 sequences of 64 tokens",
        "License of the corpus: CC0-1.0",
        "`0a1b`",
        "| vocab_size | 400 |",
    ):
        assert part in card.text
    tables = sum(part.weight.numel() for part in model.modules() if isinstance(part, torch.nn.Embedding))
    assert f"{model.n_parameters() - tables:,} of them outside the embeddings" in card.text
    assert ("64 tokens at most" in card.text) == (model.max_length is not None)
    assert "{" not in card.text.split("## Architecture")[0]


def test_the_code_on_the_card_runs(exported, monkeypatch, capsys):
    *_, folder = exported
    monkeypatch.chdir(folder)
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    exec(code, {})
    assert capsys.readouterr().out.startswith("Once upon a time")


def test_a_card_with_all_and_with_less(tmp_path, tokenizer):
    model = Mamba(MambaConfig(tokenizer.vocab_size, d_model=16, n_layers=1))
    export_transformers(model, tokenizer, tmp_path, replace(CARD, dataset="roneneldan/TinyStories", language="en"))
    data = HubCard.load(tmp_path / "README.md").data
    assert (data.datasets, data.language) == (["roneneldan/TinyStories"], "en")
    export_transformers(model, tokenizer, tmp_path, replace(CARD, interval=None))
    assert "1.235 bits per byte** on 12 stories" in (tmp_path / "README.md").read_text()


def test_a_half_precision_model_stays_one(tmp_path, tokenizer):
    model = Transformer(TransformerConfig(tokenizer.vocab_size, **SIZES, n_heads=4)).bfloat16()
    export_transformers(model, tokenizer, tmp_path, CARD)
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_what_has_no_equal_is_refused(tmp_path, tokenizer):
    linear = Transformer(TransformerConfig(tokenizer.vocab_size, **SIZES, n_heads=4, attention="linear"))
    for model in (linear, NGram(NGramConfig(tokenizer.vocab_size, order=2, separator_id=tokenizer.separator_id))):
        with pytest.raises(InputError, match="transformers has no class for this"):
            export_transformers(model, tokenizer, tmp_path, CARD)
    with pytest.raises(InputError, match="the model knows 401 tokens, the tokenizer 400"):
        export_transformers(Mamba(MambaConfig(401, d_model=16, n_layers=1)), tokenizer, tmp_path, CARD)
    assert not list(tmp_path.iterdir())
