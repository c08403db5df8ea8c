"""The page with a model in it, as far as no browser is needed: it is whole, or says what is missing or cannot be."""

import base64
import json
import re

import pytest
import torch
from training_example import STORIES

from pn_lib.course import browser_page as module
from pn_lib.course.browser_page import ENGINE, SOURCES, browser_page
from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.errors import InputError
from pn_lib.models.grid import Grid
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.packed import save_packed
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run import saved_models


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """Where the page's model belongs; a function that puts one there."""
    monkeypatch.setattr(saved_models, "REPOSITORY", tmp_path / "clone")
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    run, _, name = module.MODEL.partition("/")
    path = tmp_path / "results" / run / "models" / f"{name}.safetensors"
    path.parent.mkdir(parents=True)

    def put(model=None, tokenizer=None, **options):
        torch.manual_seed(0)
        sizes = {"context": 16, "d_model": 16, "n_layers": 1, "n_heads": 2}
        model = model or Transformer(TransformerConfig(280, **sizes, **options))
        save_packed(quantize(model, Grid("int4")), tokenizer or train_tokenizer(STORIES, 280), path)
        return path

    return put


def test_the_page_holds_the_model_and_every_script(packed):
    path, page = packed(), browser_page()
    held = re.search(r'<script type="text/plain" id="packed">(.*?)</script>', page)[1]
    assert base64.b64decode(held) == path.read_bytes()
    sources = {source.name: source.read_text(encoding="utf-8") for source in SOURCES.iterdir()}
    assert sources.keys() == {*ENGINE, "page.html", "page.css", "page.js"}
    assert all(text in page for name, text in sources.items() if name != "page.html")
    assert "7,856 parameters of 4 bits" in page and f"{path.stat().st_size / 1000:,.0f} KB" in page


def test_the_page_asks_nobody_for_anything(packed):
    packed()
    page = browser_page()
    assert not re.search(r"(?:src|href)=|https?:|\bimport\b|importScripts|fetch\(|XMLHttpRequest|url\((?!blob)", page)
    assert page.count("<script") == page.count("</script>") == 3  # no script ends early


def test_without_a_model_it_says_how_to_make_one(packed):
    page = browser_page()
    run, _, name = module.MODEL.partition("/")
    assert f"python -m pn_lib quantize overnight-tinystories/small results/{run}/models/{name}.safetensors" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"position": "learned", "norm": "layernorm"}, r"position='learned' \(only 'rope'\), norm='layernorm'"),
        ({"window": 4}, "window=4"),
        ({"qkv_bias": True}, "has_qkv_bias=True"),
        ({"model": Mamba(MambaConfig(280, d_model=16, n_layers=1))}, "runs Transformers, not a mamba"),
    ],
)
def test_a_model_that_the_page_cannot_run_is_a_sentence(options, sentence, packed):
    packed(**options)
    with pytest.raises(InputError, match=f"300k.safetensors cannot run in the browser: .*{sentence}"):
        browser_page()


def test_a_tokenizer_of_another_kind_is_a_sentence(packed):
    table = json.loads(train_tokenizer(STORIES, 280).to_json())
    table["pre_tokenizer"]["add_prefix_space"] = True
    packed(tokenizer=Tokenizer.from_json(json.dumps(table).encode(), "here"))
    with pytest.raises(InputError, match="cannot run in the browser: its tokenizer is not one of pn_lib's own"):
        browser_page()


def test_a_damaged_model_is_a_sentence(packed):
    path = packed()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="is damaged"):
        browser_page()
