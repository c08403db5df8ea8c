"""The page that runs a packed model: opened from the disk, it writes what Python writes, on any screen, alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from pn_lib.course.browser_page import MODEL, SOURCES, browser_page
from pn_lib.course.site import BROWSER, build_site
from pn_lib.data.pocket import sample_stories
from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.models.generation import Sampling, generate, next_token_probabilities
from pn_lib.models.grid import Grid
from pn_lib.models.packed import load_packed, save_packed
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.stages import REPOSITORY

pytestmark = pytest.mark.browser

PUBLISHED = REPOSITORY / "results" / "published" / "reference" / "models" / "300k.safetensors"
SHOTS = REPOSITORY / "build" / "lab-test"
BEGINNINGS = [
    "", "Once upon a time", "One day, a girl named Lily", "Tom and Sue", "The dog", "It was a sunny day and",
    "There was a big tree. In the tree", "\"Hello!\" said", "Ben didn't want to", "Mom said, \"You can't", "A cat",
    "Once there was a bird who couldn't fly.", "In 2024,  the  little  robot", "Anna couldn’t", " The sea",
    "The naïve café owner 🐢", "Max ran\n\nand ran.\n", "They'll", "日本 Ω\tx", "The end. Then, suddenly,",
]  # fmt: skip
ODD = [
    *BEGINNINGS, "a  b   c    ", " \n \n x", "\x85a\x85\x85b", "\ufeffa \ufeff b", "\u00a0\u2003x\u3000 y",
    "I'M we'VE I'd", "½ ²³ ٣٤ x1y2", "<|endoftext|>", "e\u0301 \u200d👩‍👩‍👧", "--- !!! ...''s", "ǅ ª º _ \x00 \x1f",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The page of the built site, with the published model."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("root")
        patch.setenv("PN_ROOT", str(root))  # where no run of one's own has a model of this name
        return build_site(root / "site").with_name(f"{BROWSER}.html")


@pytest.fixture
def visit(browser: Browser) -> Callable[..., Page]:
    """A function that opens a page from the disk, ready; it may load what lies beside it and nothing else."""
    opened = []

    def open_page(path: Path, **options) -> Page:
        page = browser.new_page(**options)
        opened.append(page)
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(path.as_uri())
        expect(page.locator("#chances tr").first).to_be_visible(timeout=30_000)
        assert not errors
        assert not [url for url in asked if not url.startswith((path.parent.as_uri(), "blob:", "data:"))]
        return page

    yield open_page
    for page in opened:
        page.close()


def slide(page: Page, name: str, value: float) -> None:
    page.locator(f"#{name}").fill(str(value))


def write(page: Page, beginning: str) -> list[int]:
    """The tokens of a whole story."""
    page.fill("#beginning", beginning)
    expect(page.locator("#story b")).to_have_text(beginning, use_inner_text=False)
    page.click("#write")
    expect(page.locator("#possible")).to_contain_text("The story stops", timeout=120_000)
    written = page.locator("#story").get_attribute("data-written")
    return [int(token) for token in written.split(",") if token]


def greedy(path: Path, beginnings: list[str]) -> list[list[int]]:
    model, tokenizer = load_packed(path)
    prompts = [[tokenizer.separator_id, *tokenizer.encode(beginning)] for beginning in beginnings]
    told = generate(model, prompts, model.max_length, temperature=0, stop_id=tokenizer.separator_id)
    return [each.ids for each in told]


@pytest.mark.timeout(1200)
def test_greedy_tokens_are_pythons_on_twenty_beginnings(site, visit):
    page = visit(site)
    slide(page, "temperature", 0)
    expected = greedy(PUBLISHED, BEGINNINGS)
    assert len(BEGINNINGS) == 20 and sum(map(len, expected)) > 1000
    assert [write(page, beginning) for beginning in BEGINNINGS] == expected


VARIANTS = [
    (Grid("int8", None), {"n_kv_heads": 2, "activation": "relu2", "qk_norm": True}),
    (Grid("ternary", 20), {"tied_embeddings": False, "activation": "gelu", "d_ff": 24}),
    (Grid("int4", 24), {"activation": "relu", "rope_theta": 500.0, "n_kv_heads": 1}),
]


@pytest.mark.parametrize(("grid", "options"), VARIANTS, ids=lambda value: str(getattr(value, "integers", "")))
def test_every_grid_and_every_choice(grid, options, visit, tmp_path, monkeypatch):
    """A model of random weights, on the page without the site around it."""
    run, _, name = MODEL.partition("/")
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    path = tmp_path / "results" / run / "models" / f"{name}.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(1)
    tokenizer = train_tokenizer(sample_stories(50, 0), 403)
    config = TransformerConfig(403, context=64, d_model=40, n_layers=2, n_heads=4, **options)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    save_packed(quantize(model, grid), tokenizer, path)
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{browser_page()}", encoding="utf-8")
    page = visit(tmp_path / "page.html")
    slide(page, "temperature", 0)
    assert [write(page, beginning) for beginning in BEGINNINGS[:6]] == greedy(path, BEGINNINGS[:6])


def test_the_bars_are_pythons_probabilities(site, visit):
    page = visit(site)
    model, tokenizer = load_packed(PUBLISHED)
    with torch.no_grad():
        logits, _ = model.prefill(torch.tensor([[tokenizer.separator_id, *tokenizer.encode("Once upon a")]]))
    page.fill("#beginning", "Once upon a")
    for temperature, top_p in ((1.5, 1.0), (0.8, 0.9), (1.2, 0.95), (0.0, 0.5)):
        slide(page, "temperature", temperature)
        slide(page, "top-p", top_p)
        sampling = Sampling(temperature=temperature, top_p=top_p if top_p < 1 else None)
        [expected] = next_token_probabilities(logits, sampling)
        best = expected.topk(min(10, int((expected > 0).sum())))
        shown = [f"{100 * share:.1f} %" for share in best.values.tolist()]
        expect(page.locator("#chances td:nth-child(2)")).to_have_text(shown)
        expect(page.locator("#possible")).to_contain_text(f"{int((expected > 0).sum()):,} of 1,024 tokens")
        words = [tokenizer.decode([token]).replace(" ", "·").replace("\n", "↵") for token in best.indices.tolist()]
        assert page.locator("#chances th").all_text_contents() == words


def test_the_tokenizer_is_pythons(browser):
    tokenizer = train_tokenizer([*sample_stories(200, 0), *ODD], 700)
    merges = [id for pair in _merges(tokenizer) for id in pair]
    page = browser.new_page()
    source = (SOURCES / "tokenizer.js").read_text(encoding="utf-8")
    encoded, decoded = page.evaluate(
        """([source, merges, texts]) => {
            const Tokenizer = new Function(source + "; return Tokenizer")();
            const tokenizer = new Tokenizer(Uint16Array.from(merges));
            const encoded = texts.map((text) => tokenizer.encode(text));
            return [encoded, encoded.map((tokens) => tokenizer.decode(tokens))];
        }""",
        [source, merges, [*ODD, *sample_stories(20, 1)]],
    )
    page.close()
    assert encoded == tokenizer.encode_batch([*ODD, *sample_stories(20, 1)])
    assert decoded == [*ODD, *sample_stories(20, 1)]


def _merges(tokenizer: Tokenizer) -> list[tuple[int, int]]:
    model = json.loads(tokenizer.to_json())["model"]
    return [(model["vocab"][left], model["vocab"][right]) for left, right in model["merges"]]


def test_a_seed_gives_its_story_again(site, visit):
    page = visit(site)
    slide(page, "temperature", 1)
    first = write(page, "One day")
    page.click("#write")  # another story, with the next seed
    expect(page.locator("#seed")).to_have_value("1")
    expect(page.locator("#possible")).to_contain_text("The story stops", timeout=60_000)
    assert page.locator("#story").get_attribute("data-written") != ",".join(map(str, first))
    page.fill("#seed", "0")
    assert write(page, "One day") == first


def test_it_stops_goes_on_and_starts_over(site, visit):
    page = visit(site)
    slide(page, "temperature", 0)
    whole = write(page, "Once upon a time")
    page.click("#again")
    expect(page.locator("#story span")).to_have_text("")
    for _ in range(3):
        page.click("#one")
    expect(page.locator("#story")).to_have_attribute("data-written", ",".join(map(str, whole[:3])))
    # as soon as something is written
    page.evaluate("""() => {
        const write = document.getElementById("write"), story = document.getElementById("story");
        new MutationObserver((_, observer) => { observer.disconnect(); write.click(); })
            .observe(story, { attributes: true });
        write.click();
    }""")
    expect(page.locator("#write")).to_have_text("Write")
    page.wait_for_timeout(500)
    written = page.locator("#story").get_attribute("data-written").split(",")
    assert 3 < len(written) < len(whole)
    page.click("#write")
    expect(page.locator("#possible")).to_contain_text("The story stops: the end", timeout=60_000)
    expect(page.locator("#story")).to_have_attribute("data-written", ",".join(map(str, whole)))
    expect(page.locator("#speed")).to_contain_text("tokens/s")


def test_a_beginning_that_is_too_long_is_a_sentence(site, visit):
    page = visit(site)
    page.fill("#beginning", "word " * 400)
    expect(page.locator("#problem")).to_contain_text("the model reads at most 255")
    expect(page.locator("#write")).to_be_disabled()
    page.fill("#beginning", "The")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator("#write")).to_be_enabled()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_it_can_be_read_on_a_phone_and_in_the_dark(width, theme, site, visit):
    page = visit(site, viewport={"width": width, "height": 844}, color_scheme=theme)
    write(page, "Once upon a time, in a house with a very long-name-without-any-space-" + "ab" * 40)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("#beginning", "#write", "#story", "#chances"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.locator("#write").bounding_box()["height"] >= 44  # a finger's width
    text, paper = (
        sum(map(float, re.findall(r"[\d.]+", page.locator("#story").evaluate(f"e => getComputedStyle(e).{name}"))[:3]))
        for name in ("color", "backgroundColor")
    )
    assert (text > paper) == (theme == "dark") and abs(text - paper) > 300
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{BROWSER}-{width}-{theme}.png", full_page=True)
