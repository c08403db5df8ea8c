"""From template and context to Markdown, and from Markdown to HTML (pandoc) and PDF (pandoc, then typst)."""

import re
import shutil
import sys
from pathlib import Path

import pypandoc
import typst
import wording
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sources import Figure, Run

from pn_lib.errors import InputError
from pn_lib.run import fonts

HERE = Path(__file__).resolve().parent
READER = "markdown+table_attributes"
# Column limits off: pandoc would give wide tables relative column widths, and break lines of the source.
BIBLIOGRAPHY = f"--bibliography={HERE / 'references.bib'}"
COMMON = ["--citeproc", BIBLIOGRAPHY, "--columns=99999", "--wrap=none", "--fail-if-warnings"]
# Every format and verdict of `wording`, to be called or used as a filter
WORDS = {name: word for name, word in vars(wording).items() if getattr(word, "__module__", None) == wording.__name__}
TEXT_WIDTH, MOST_HEIGHT = 455.0, 560.0  # points: the type area of template.typ, and how tall a figure may stand in it
SCALE = 0.8  # of figures in print: their 10 pt labels become 8 pt, a little less than a caption's letters


class Numbering:
    """Numbers figures and tables as the template places them, and fills in references made before or after."""

    def __init__(self, run: Run):
        self.run = run
        self.figures: dict[str, Figure] = {}
        self.numbers: dict[str, str] = {}

    def figure(self, name: str, caption: str, drawn: Figure | None = None) -> str:
        """Place figure ``name``: the run's, unless another is given."""
        drawn = self.figures[name] = drawn or self.run.figure(name)
        title, (wide, high) = self._number(f"fig-{name}", "Figure"), drawn.size
        scale = min(SCALE, TEXT_WIDTH / wide, MOST_HEIGHT / high)
        alt = " ".join(drawn.alt.replace('"', "'").split())
        width = f"{100 * scale * wide / TEXT_WIDTH:.1f}%"
        caption = f"**{title}.** {caption} [{drawn.source}]{{.source}}"
        return f'![{caption}](figures/{name}.svg){{#fig-{name} alt="{alt}" width={width}}}'

    def table(self, name: str, caption: str, header: list[str], rows: list[list[str]], **options: object) -> str:
        """Place a table; ``options`` go to `wording.table`."""
        title = self._number(f"tbl-{name}", "Table")
        return wording.table(f"**{title}.** {caption}", f"tbl-{name}", header, rows, **options)

    @staticmethod
    def ref(label: str) -> str:
        """Refer to ``fig-name`` or ``tbl-name``, placed anywhere in the text."""
        return f"@@{label}@@"

    def resolve(self, markdown: str) -> str:
        """Put "Figure 3", as a link, where `ref` was asked for it."""
        return re.sub(r"@@([\w-]+)@@", lambda match: f"[{self.numbers[match[1]]}](#{match[1]})", markdown)

    def _number(self, label: str, kind: str) -> str:
        if label in self.numbers:
            raise ValueError(f"{label} is placed twice")
        used = sum(title.startswith(kind) for title in self.numbers.values())
        self.numbers[label] = f"{kind}{wording.THIN}{used + 1}"
        return self.numbers[label]


def render_markdown(context: dict[str, object], numbering: Numbering) -> str:
    """The report as Markdown: the template filled from the context."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # of a section: the next begins after an empty line
        comment_start_string="<#",  # pandoc's identifiers begin as Jinja's comments do
        comment_end_string="#>",
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= WORDS
    environment.globals |= WORDS | {"thin": wording.THIN, "nbsp": wording.NBSP}
    environment.globals |= {"figure": numbering.figure, "table": numbering.table, "ref": numbering.ref}
    return numbering.resolve(environment.get_template("report.md").render(context))


def write_html(markdown: str, folder: Path) -> Path:
    """``folder/report.html``, one file with style and figures inside. ``folder`` holds ``figures/``."""
    target = folder / "report.html"
    options = ["--standalone", "--embed-resources", "--mathml", "--toc", "--toc-depth=1", "--number-sections"]
    _pandoc(markdown, "html5", target, folder, [*options, f"--css={HERE / 'style.css'}"])
    return target


def write_pdf(markdown: str, figures: dict[str, Figure], folder: Path) -> Path:
    """``folder/report.pdf``; the same Markdown and figures give the same bytes. ``folder`` holds ``figures/``."""
    source, target = folder / "report.typ", folder / "report.pdf"
    _pandoc(markdown, "typst-smart", source, folder, [f"--template={HERE / 'template.typ'}"])
    text = source.read_text(encoding="utf-8")
    for name, drawn in figures.items():  # pandoc's writer drops the alternative text
        alt = drawn.alt.replace("\\", "\\\\").replace('"', '\\"')
        text = text.replace(f'image("figures/{name}.svg"', f'image("figures/{name}.svg", alt: "{alt}"')
    source.write_text(text, encoding="utf-8")
    # Only typst's own fonts, and no date (see the template): the same pages, byte for byte, on every machine. Stories
    # in letters that these lack are set in fonts of the system.
    characters = fonts.unusual(text, "DejaVu Sans Mono")
    if sentence := fonts.without_font(characters):
        print(sentence, file=sys.stderr)
    try:
        typst.compile(str(source), output=str(target), root=str(folder), ignore_system_fonts=not characters)
    except typst.TypstError as error:
        raise InputError(f"typst could not set the report ({error}); if it names a figure, draw it again") from error
    return target


def copy_figures(figures: dict[str, Figure], folder: Path) -> None:
    (folder / "figures").mkdir()
    for name, drawn in figures.items():
        shutil.copyfile(drawn.path, folder / "figures" / f"{name}.svg")


def _pandoc(markdown: str, writer: str, target: Path, folder: Path, options: list[str]) -> None:
    pypandoc.convert_text(
        markdown, writer, READER, extra_args=[*COMMON, *options], outputfile=str(target), cworkdir=str(folder)
    )
