"""The page on which people grade: opened from the disk, on a phone too, it keeps what was graded and saves it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from pn_lib.cli import main
from pn_lib.evaluation.judge_reply import CRITERIA
from pn_lib.evaluation.rating import read_ratings
from pn_lib.files import write_json
from pn_lib.run.stages import REPOSITORY

pytestmark = pytest.mark.browser

SHOTS = REPOSITORY / "build" / "lab-test"
STORY = ' <b>big</b> "park" & played.\n\n' + "Then they went home, and Mia told her mom about the red ball. " * 4
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def sheet(tmp_path, monkeypatch, capsys) -> Path:
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    tellers = {who: [[{"text": f"{STORY}{b}", "ended": True}] for b in range(3)] for who in ("human", "a", "b", "c")}
    beginnings = [f"Once there was a girl called Mia. One day, she went to a {b}" for b in range(3)]
    made = {"beginnings": beginnings, "temperature": 1.0, "tellers": tellers}
    write_json(tmp_path / "results" / "mine" / "completions.json", made)
    assert main(["rate", "mine", "--pages", "2"]) == 0
    return Path(capsys.readouterr().out.strip())


@pytest.fixture
def visit(browser: Browser, sheet) -> Callable[..., Page]:
    """A function that opens the sheet in a window of its own; it may load nothing else."""
    contexts = []

    def open_page(**options) -> Page:
        context = browser.new_context(accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error))
        page.goto(sheet.as_uri())
        expect(page.locator("#where")).to_contain_text("Page 1 of 2")
        assert not errors and asked == [sheet.as_uri()]
        return page

    yield open_page
    for context in contexts:
        context.close()


def grade(page: Page, number: int, grades: tuple[int, ...]) -> None:
    for criterion, one in zip(CRITERIA, grades, strict=True):
        page.locator(f'input[name="{number}-{criterion}"][value="{one}"]').check()


def test_what_is_graded_is_kept_and_saved(visit, sheet, tmp_path):
    page = visit()
    expect(page.locator(".story").nth(1)).to_contain_text('… <b>big</b> "park" & played.')
    page.click("#save")
    expect(page.locator("#problem")).to_contain_text("name or initials")
    page.fill("#rater", 'Mia "M", é')
    page.click("#save")
    expect(page.locator("#problem")).to_have_text("No ending is graded yet.")
    grade(page, 1, (9, 8, 7, 10))
    page.locator('input[name="2-grammar"][value="3"]').check()
    page.click("#save")
    expect(page.locator("#problem")).to_contain_text("Ending 2 lacks a grade")
    grade(page, 2, (3, 4, 5, 1))
    page.click("#next")
    grade(page, 4, (1, 1, 1, 1))
    page.reload()  # everything is still there, and the page where one was
    expect(page.locator("#where")).to_have_text("Page 2 of 2; 3 of 6 endings graded")
    expect(page.locator('input[name="4-plot"][value="1"]')).to_be_checked()
    page.click("#back")
    expect(page.locator('input[name="2-plot"][value="1"]')).to_be_checked()
    with page.expect_download() as saving:
        page.click("#save")
    assert saving.value.suggested_filename == f"ratings-{sheet.stem}-Mia-M-é.csv"
    saving.value.save_as(tmp_path / "file.csv")
    found, ratings = read_ratings([tmp_path / "file.csv"])
    assert found == sheet.stem and ratings["rater"].unique().tolist() == ['mia "m", é']
    assert ratings.set_index("ending")[list(CRITERIA)].T.to_dict("list") == {
        1: [9, 8, 7, 10],
        2: [3, 4, 5, 1],
        4: [1, 1, 1, 1],
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(visit, scheme):
    page = visit(**PHONE, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [box.bounding_box() for box in page.locator(".scale label").all()[:10]]
    assert all(box["height"] >= 44 and box["width"] >= 30 for box in boxes), "a finger must hit them"
    page.locator(".scale label").nth(6).tap()
    expect(page.locator(".scale input").nth(6)).to_be_checked()
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"rating-{scheme}.png")


def test_the_keyboard_is_enough(visit):
    page = visit()
    page.locator(".scale input").first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".scale input").nth(4)).to_be_checked()


def test_a_browser_that_keeps_nothing_says_so(browser, sheet):
    context = browser.new_context()
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('blocked') }})")
    page = context.new_page()
    page.goto(sheet.as_uri())
    expect(page.locator("#problem")).to_contain_text("keeps nothing")
    context.close()
