"""Every notebook in JupyterLab, as a reader sees it: all cells run, figures and formulas appear, links lead on, and
whatever can be pressed, moved, or typed into answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from lab import Lab
from playwright.sync_api import Browser, Locator, Page, expect

from pn_lib.course.exercises import lesson_paths
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY

pytestmark = pytest.mark.browser

LESSONS = lesson_paths()
OTHERS = [NOTEBOOKS / "contents.ipynb", NOTEBOOKS / "glossary.ipynb", *sorted(NOTEBOOKS.glob("solutions/*.ipynb"))]
SHOTS = REPOSITORY / "build" / "lab-test"  # a screenshot of each notebook, in both themes
TALLEST = 16_000  # pixels that Chromium draws at once

RUN_ALL = """async () => {
    const panel = jupyterapp.shell.currentWidget;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
    await jupyterapp.commands.execute('notebook:run-all-cells');
}"""
# What the page holds: the model (what the kernel sent) beside the DOM (what is drawn)
STATE = """() => {
    const panel = jupyterapp.shell.currentWidget, cells = [];
    for (const cell of panel.content.model.cells) {
        if (cell.type !== 'code') continue;
        const outputs = cell.sharedModel.outputs.map(
            o => ({error: o.ename ? o.ename + ': ' + o.evalue : null, mimes: Object.keys(o.data || {})}));
        cells.push({source: cell.sharedModel.getSource(), count: cell.executionCount, outputs});
    }
    const all = query => [...panel.node.querySelectorAll(query)];
    return {cells,
            pictures: all('.jp-OutputArea-output.jp-RenderedImage img').map(i => i.complete && i.naturalWidth > 0),
            broken: all('.jp-OutputArea-output').filter(o => o.textContent.includes('Error displaying widget')).length,
            formulas: all('mjx-container').length, unreadable: all('mjx-merror').map(e => e.textContent),
            links: all('.jp-RenderedMarkdown a[href]').map(a => [a.textContent, a.getAttribute('href')])};
}"""


@pytest.mark.parametrize("path", [*LESSONS, *OTHERS], ids=lambda path: f"{path.parent.name}/{path.stem}")
@pytest.mark.timeout(600)
def test_it_runs_and_shows_all_it_has(path: Path, lab: Lab, browser: Browser):
    page = lab.open(browser, _name(path))
    page.evaluate(RUN_ALL)
    _settle(page)
    state = page.evaluate(STATE)
    written = [cell for cell in state["cells"] if cell["source"].strip()]
    errors = [output["error"] for cell in written for output in cell["outputs"] if output["error"]]
    assert not errors
    assert all(cell["count"] for cell in written), "some cells were not run"
    outputs = [output["mimes"] for cell in written for output in cell["outputs"]]
    assert state["pictures"] == [True] * sum("image/png" in mimes for mimes in outputs)
    assert not state["broken"] and not state["unreadable"]
    assert bool(state["formulas"]) == _has_formulas(path)
    source = "".join(cell["source"] for cell in written)
    for call, use in LIVE.items():
        if call in source:
            use(page)
    _keep_pictures_of(page, path)
    page.evaluate("async () => await jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


@pytest.mark.parametrize("path", [*LESSONS, *OTHERS], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_its_links_to_other_notebooks_open_them(path: Path, lab: Lab, browser: Browser):
    page = lab.open(browser, _name(path))
    targets = {_target(href) for _, href in page.evaluate(STATE)["links"] if _target(href)}
    assert targets
    for target in sorted(targets):
        page.locator(f'.jp-NotebookPanel:not(.lm-mod-hidden) a[href*="/files/{target}"]').first.click()
        page.wait_for_function(
            "path => jupyterapp.shell.currentWidget?.context?.path === path", arg=target, timeout=30_000
        )
        page.evaluate("async path => { await jupyterapp.commands.execute('docmanager:open', {path}) }", _name(path))
    page.close()


def test_the_lessons_are_linked_from_the_contents(lab: Lab, browser: Browser):
    page = lab.open(browser, "notebooks/contents.ipynb")
    targets = {_target(href) for _, href in page.evaluate(STATE)["links"]}
    assert {_name(path) for path in LESSONS} <= targets


def _name(path: Path) -> str:
    return path.relative_to(NOTEBOOKS.parent).as_posix()


def _target(href: str) -> str | None:
    """The notebook that a link leads to, as JupyterLab has resolved it; None for other links."""
    path = unquote(urlsplit(href).path)
    return path.removeprefix("/files/") if path.startswith("/files/") and path.endswith(".ipynb") else None


def _settle(page: Page) -> None:
    """Wait until the kernel has nothing to do and what it sent is drawn."""
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'", timeout=500_000
    )
    page.wait_for_timeout(1500)


def _play(page: Page) -> None:
    """Type a beginning into the playground, choose another model, and let it write."""
    box = page.locator(".jp-OutputArea-output textarea")
    chances = page.locator(".jp-OutputArea-output .widget-html table")
    before = chances.inner_text()
    box.fill("One day")
    box.blur()
    _differs(chances, before)
    models = page.locator(".jp-OutputArea-output .widget-dropdown select")
    before = chances.inner_text()
    models.select_option(index=models.locator("option").count() - 1)
    _differs(chances, before)
    page.get_by_role("button", name="Write on").click()
    _settle(page)
    assert box.input_value().startswith("One day") and len(box.input_value()) > len("One day")


def _step(page: Page) -> None:
    """Take the next merge."""
    with _redrawn(page):
        page.get_by_role("button", name="Next merge").click()


def _slide(page: Page) -> None:
    """Move the slider by a notch."""
    with _redrawn(page):
        page.locator(".jp-OutputArea-output .widget-slider .noUi-handle").press("ArrowRight")


def _attend(page: Page) -> None:
    """Type a sentence, then choose another layer and another head."""
    with _redrawn(page):
        text = page.locator(".jp-OutputArea-output .widget-text input")
        text.fill("The cat saw the dog. The cat")
        text.press("Enter")
    for control in page.locator(".jp-OutputArea-output .widget-dropdown select").all():
        with _redrawn(page):
            others = set(control.locator("option").all_inner_texts()) - {control.locator("option:checked").inner_text()}
            control.select_option(label=min(others))


LIVE = {"show_playground(": _play, "draw_stepper(": _step, "draw_sliding(": _slide, "draw_own_attention(": _attend}


@contextmanager
def _redrawn(page: Page) -> Iterator[None]:
    """What happens inside must change the picture of the notebook's live drawing."""
    image = page.locator(".jp-OutputArea-output img.widget-image")
    before = image.get_attribute("src")
    yield
    expect(image).not_to_have_attribute("src", before, timeout=20_000)
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth > 300)")


def _differs(place: Locator, before: str) -> None:
    expect(place).not_to_have_text(before, use_inner_text=True, timeout=20_000)


def _has_formulas(path: Path) -> bool:
    cells = nbformat.read(path, as_version=4).cells
    return any("$" in cell.source for cell in cells if cell.cell_type == "markdown")


def _keep_pictures_of(page: Page, path: Path) -> None:
    """The notebook from its top, in the light theme and in the dark one."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    height = page.evaluate(
        "() => Math.max(...[...document.querySelectorAll('.jp-NotebookPanel-notebook *')].map(e => e.scrollHeight))"
    )
    page.set_viewport_size({"width": 1400, "height": min(height + 200, TALLEST)})
    name = "-".join(path.relative_to(NOTEBOOKS).with_suffix("").parts)
    for theme in ("Light", "Dark"):
        page.evaluate(
            "async theme => await jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
        )
        page.wait_for_timeout(1000)
        page.evaluate("() => { document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0 }")
        page.screenshot(path=SHOTS / f"{name}-{theme.lower()}.png")
