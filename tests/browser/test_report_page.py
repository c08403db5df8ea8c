"""The report's HTML on a phone: letters of figures can be read, and what is wider than the screen scrolls."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from playwright.sync_api import Browser, Page

from pn_lib.run.stages import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "report"))

import render

pytestmark = pytest.mark.browser

SHOTS = REPOSITORY / "build" / "lab-test"
WIDE = "$$h_t = \\exp(\\Delta_t A) h_{t-1} + \\Delta_t B_t x_t, \\qquad y_t = C_t h_t + D x_t + a + b + c + d + e$$"
POINTS = 10  # of the letters in figures
LEGIBLE = 10  # pixels of a letter's height of type, at least


@pytest.fixture
def page(browser: Browser, tmp_path: Path):
    (tmp_path / "figures").mkdir()
    figure, axes = plt.subplots(figsize=(7, 3))
    axes.set(xlabel="something", ylabel="something else")
    figure.savefig(tmp_path / "figures" / "a.svg")
    plt.close(figure)
    cells = render.wording.table("A wide table.", "tbl-a", ["A heading"] * 9, [["0.123 [0.111, 0.134]"] * 9])
    drawn = '![**Figure 1.** A caption, long enough for two lines on a phone.](figures/a.svg){alt="A" width=80%}'
    markdown = f"---\ntitle: A\ndate: Version 0\n---\n\nWords.\n\n{WIDE}\n\n{cells}\n\n{drawn}\n\nMore words.\n"
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.goto(render.write_html(markdown, tmp_path).as_uri())
    yield page
    context.close()


def scrolled(page: Page, selector: str) -> tuple[int, int, str]:
    """How far an element can be scrolled and is now, and what it draws behind itself."""
    return page.eval_on_selector(
        selector,
        "e => { e.scrollLeft = 1e6; return [e.scrollWidth - e.clientWidth, Math.round(e.scrollLeft), "
        "getComputedStyle(e).backgroundImage] }",
    )


def test_a_phone_shows_all_of_a_report(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for selector in (".table", 'math[display="block"]'):
        beyond, reached, shadow = scrolled(page, selector)
        assert beyond > 0 and abs(beyond - reached) <= 1 and shadow.count("gradient") == 4, selector
    share = page.eval_on_selector("figure img", "e => e.getBoundingClientRect().width / e.naturalWidth")
    assert share * POINTS * 96 / 72 >= LEGIBLE
    beyond, reached, _ = scrolled(page, "figure")
    assert beyond > 0 and abs(beyond - reached) <= 1
    left, right = page.eval_on_selector("figcaption", "e => (r => [r.left, r.right])(e.getBoundingClientRect())")
    assert 0 <= left < right <= 390  # it stays while the figure scrolls
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "report-phone.png", full_page=True)
