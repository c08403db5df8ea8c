"""The course as web pages: Sphinx with myst-nb, needing no network to build, to read or to search."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import nbformat
from nbformat import NotebookNode

from pn_lib.course.address import repository_url
from pn_lib.course.browser_page import browser_page
from pn_lib.course.pages import CONTENTS
from pn_lib.errors import InputError
from pn_lib.files import write_text
from pn_lib.run.stages import METADATA_KEY, NAVIGATION_TAG, NOTEBOOKS

STYLE = Path(__file__).with_name("site.css")
# Where a web server starts
INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>PocketNarrator</title>
<meta http-equiv="refresh" content="0; url={contents}"></head>
<body><a href="{contents}">PocketNarrator: contents</a></body></html>
"""
# A page without a notebook, and how the contents lead to it
BROWSER, BROWSER_TITLE = "in_the_browser", "A story model in your browser"
BROWSER_LINK = f'<p><a href="{BROWSER}.html">{BROWSER_TITLE}</a>: type a beginning and watch it write.</p>'
# A function's name right before what it is applied to, and not with an index of its own
NAMED_FUNCTION = re.compile(r"(?<!<msub>)(?<!<msup>)<mi>(?:ln|log|exp|sin|cos)</mi>(?=<m(?:i|n|frac|sub|sup|sqrt)>)")
# Links and anchors of all pages; the rest of the web is not asked.
LINK_CHECK = ["--no-status", "--no-robots", "--no-warnings", "--ignore-url=^https?:", "--ignore-url=^mailto:"]
# As root, LinkChecker would become "nobody", who may not read every folder, and no option keeps it from that
LINK_CHECKER = """
from linkcheck.command import linkchecker
linkchecker.drop_privileges = lambda: None
linkchecker.linkchecker()
"""


def build_site(folder: Path) -> Path:
    """Build the pages from the notebooks as they are committed, nothing executed, and check every link between them.

    Returns the first page.

    Raises:
        InputError: Sphinx is not installed, warns (of a reference that leads nowhere, say), or a link is broken.
    """
    try:
        from sphinx.application import Sphinx
        from sphinx.errors import SphinxError
    except ModuleNotFoundError:
        raise InputError("Sphinx is not installed; make site installs it, or pip install -e .[site]") from None
    try:
        sphinx = Sphinx(
            NOTEBOOKS,
            None,
            folder,
            folder.with_name(folder.name + "-doctrees"),
            "html",
            confoverrides=_settings(),
            status=None,
            warningiserror=True,
            exception_on_warning=True,
        )
        sphinx.build(force_all=True)
    except SphinxError as error:
        raise InputError(f"the pages cannot be built: {error}") from None
    start = folder / "index.html"
    write_text(start, INDEX.format(contents=Path(CONTENTS).with_suffix(".html").name))
    check_links(start)
    return start


def check_links(start: Path) -> None:
    """Follow every link from a page on.

    Raises:
        InputError: one leads nowhere.
    """
    done = subprocess.run(
        [sys.executable, "-c", LINK_CHECKER, *LINK_CHECK, str(start)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InputError(f"the pages have broken links:\n{done.stdout}{done.stderr}")


def read_notebook(text: str) -> NotebookNode:
    """A notebook for the pages: figures' alternative texts where myst-nb looks for them; the contents as a menu too."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells = [
        cell
        for cell in notebook.cells  # what installs the course on Colab does nothing here
        if cell.cell_type == "markdown" or NAVIGATION_TAG not in cell.metadata.get("tags", [])
    ]
    menus = notebook.metadata.get(METADATA_KEY, {}).get("pages", {})
    if menus:
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(BROWSER_LINK))
    for caption, pages in menus.items():
        menu = "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```"])
        notebook.cells.append(nbformat.v4.new_markdown_cell(menu))
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            words = output.get("metadata", {}).get("image/png", {}).get("alt")
            if words:
                cell.metadata["mystnb"] = {"image": {"alt": words}}
    return notebook


def setup(app) -> dict:
    """As an extension of Sphinx: formulas as MathML, which browsers draw and screen readers read without a script; and
    the page with a model."""
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_formula, None))
    app.connect("html-collect-pages", _browser_page)
    app.connect("source-read", link_to_repository)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def link_to_repository(_app, page: str, source: list[str]) -> None:
    """Let links out of ``notebooks/``, to files that are no pages of the course, lead to the published repository."""
    out = "](" + "../" * (page.count("/") + 1)
    source[0] = source[0].replace(out, f"]({repository_url()}/blob/HEAD/")


def _browser_page(_app) -> Iterator[tuple[str, dict[str, str], str]]:
    yield BROWSER, {"title": BROWSER_TITLE, "body": browser_page()}, "page.html"


def _inline_formula(translator, node) -> None:
    _write_formula(translator, node, "inline")


def _formula(translator, node) -> None:
    _write_formula(translator, node, "block")


def _write_formula(translator, node, display: str) -> None:
    from docutils.nodes import SkipNode
    from latex2mathml.converter import convert

    # TeX sets "ln p" with a thin space; the converter leaves it to the browser, which sets none
    formula = NAMED_FUNCTION.sub(r'\g<0><mspace width="0.17em"/>', convert(node.astext(), display=display))
    translator.body.append(formula)
    raise SkipNode


def _settings() -> dict:
    url = repository_url()
    return {
        "project": "PocketNarrator",
        "author": "PocketNarrator",
        "copyright": "PocketNarrator, CC BY 4.0",
        "extensions": ["myst_nb", __name__],
        "root_doc": Path(CONTENTS).stem,
        "exclude_patterns": [".ipynb_checkpoints"],
        "nb_execution_mode": "off",
        "nb_custom_formats": {".ipynb": [f"{__name__}.read_notebook", {}, False]},
        "nb_merge_streams": True,
        "myst_enable_extensions": ["dollarmath", "amsmath"],
        "myst_heading_anchors": 3,
        "nitpicky": True,
        "html_math_renderer": "mathml",
        "html_theme": "sphinx_book_theme",
        "html_title": "PocketNarrator",
        "html_show_sphinx": False,
        "html_copy_source": False,
        "html_static_path": [str(STYLE)],
        "html_css_files": [STYLE.name],
        "html_theme_options": {
            "repository_url": url,
            "repository_provider": urlparse(url).netloc.split(".")[0],
            "path_to_docs": NOTEBOOKS.name,
            "use_repository_button": True,
            "navbar_persistent": [],
            "launch_buttons": {
                "binderhub_url": "https://mybinder.org",
                "colab_url": "https://colab.research.google.com",
            },
        },
    }
