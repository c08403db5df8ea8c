"""The course as web pages: built whole, every link good, pictures with words, formulas without a script, a search."""

import re
from pathlib import Path

import pytest

from pn_lib.course.address import repository_url
from pn_lib.course.pages import GUIDE_NAMES, GUIDES, guide_title
from pn_lib.course.site import BROWSER, BROWSER_TITLE, build_site, check_links, link_to_repository
from pn_lib.errors import InputError
from pn_lib.run.stages import NOTEBOOKS


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "pages"
    assert build_site(folder) == folder / "index.html"  # it raises if a reference or a link leads nowhere
    return folder


def pages(site: Path) -> dict[str, str]:
    return {
        path.relative_to(NOTEBOOKS).with_suffix("").as_posix(): (site / path.relative_to(NOTEBOOKS))
        .with_suffix(".html")
        .read_text(encoding="utf-8")
        for path in sorted(NOTEBOOKS.rglob("*.ipynb"))
        if ".ipynb_checkpoints" not in path.parts
    }


def test_a_web_server_starts_at_the_contents(site):
    assert 'content="0; url=contents.html"' in (site / "index.html").read_text(encoding="utf-8")


def test_names_of_functions_stand_apart_from_what_follows(site):
    assert '<mi>ln</mi><mspace width="0.17em"/><mi>V</mi>' in pages(site)["03_transformer_construction"]


def test_there_is_a_page_for_each_notebook_and_a_menu_that_leads_to_it(site):
    menu = pages(site)["contents"]
    for name in pages(site):
        assert name == "contents" or f'href="{name}.html"' in menu


def test_the_contents_lead_to_the_page_with_a_model(site):
    assert f'<a href="{BROWSER}.html">{BROWSER_TITLE}</a>' in pages(site)["contents"]
    page = (site / f"{BROWSER}.html").read_text(encoding="utf-8")
    assert '<section class="narrator">' in page and 'href="03_transformer_construction.html"' in page


def test_every_picture_has_words_for_those_who_cannot_see_it(site):
    pictures = [tag for page in pages(site).values() for tag in re.findall(r"<img[^>]*_images[^>]*>", page)]
    assert len(pictures) > 30
    assert not [
        tag
        for tag in pictures
        if not re.search(r'alt="[^"]{20,}"', tag) or "_images/" in re.search(r'alt="([^"]*)"', tag)[1]
    ]


def test_formulas_need_no_script_and_nothing_comes_from_the_network(site):
    page = pages(site)["03_transformer_construction"]
    assert page.count("<math") > 20
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:[^"]*"', page)


def test_the_search_finds_what_a_notebook_says(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "03_transformer_construction" in index and "softmax" in index


def test_a_broken_link_is_an_error_that_names_it(tmp_path):
    page = tmp_path / "contents.html"
    page.write_text('<a href="other.html">there</a>', encoding="utf-8")
    (tmp_path / "other.html").write_text("here", encoding="utf-8")
    check_links(page)
    (tmp_path / "other.html").unlink()
    with pytest.raises(InputError, match=r"other\.html"):
        check_links(page)


def test_the_guides_are_pages_and_what_is_no_page_is_a_link_to_the_repository(site):
    for name in GUIDE_NAMES:
        assert f"<h1>{guide_title(name)}<" in (site / GUIDES / f"{name}.html").read_text(encoding="utf-8")
    running = (site / GUIDES / "running.html").read_text(encoding="utf-8")
    assert f'href="{repository_url()}/blob/HEAD/report/published/quick-pocket/report.pdf"' in running
    assert 'href="../contents.html"' in running and 'href="teaching.html"' in running


@pytest.mark.parametrize(("page", "up"), [("contents", "../"), ("guides/running", "../../")])
def test_only_links_out_of_the_course_are_changed(page, up):
    source = [f"[a]({up}README.md#x) [b]({up[3:]}results.ipynb) [c](https://example.org)"]
    link_to_repository(None, page, source)
    there = f"{repository_url()}/blob/HEAD/README.md#x"
    assert source == [f"[a]({there}) [b]({up[3:]}results.ipynb) [c](https://example.org)"]
