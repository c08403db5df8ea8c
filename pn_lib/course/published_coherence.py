"""The published study of coherence: its picture, and what it found."""

import numpy as np

from pn_lib.course.coherence_figure import coherence_threshold
from pn_lib.run.coherence_summary import PUBLISHED, STUDY, read_experiments
from pn_lib.run.plotting import draw, use_style
from pn_lib.run.results.coherence_results import Cell, CoherenceResult, CoherenceTimings, Least
from pn_lib.run.results.mixers_results import TITLES
from pn_lib.run.results.result import Estimate
from pn_lib.run.stages import REPOSITORY

PICTURE = REPOSITORY / "figures" / "published" / "reference" / "coherence_threshold.svg"
ALT = (
    "Words before the first fault against tokens read, with a line for each size and architecture, and the share of "
    "valid stories against the excess over the source in bits a story, with the bound and the fitted law"
)


def coherence_picture() -> str:
    """The picture of notebook 08 as SVG, of the published experiments, the same each time."""
    models = read_experiments((REPOSITORY / PUBLISHED).glob("*.json"))
    use_style()
    words = float(np.mean([model.story_words for model in models.values()]))
    figure = coherence_threshold(CoherenceResult.read(REPOSITORY / STUDY), words)
    return draw(figure, format="svg", metadata={"Date": None}).decode()


def coherence_finding() -> str:
    """What the published experiments found in their easiest language, as an item of the list of findings."""
    found, timings = CoherenceResult.read(REPOSITORY / STUDY), CoherenceTimings.read(REPOSITORY / STUDY)
    easiest = found.cells[0].dialect
    own = [cell for cell in found.cells if cell.dialect == easiest]
    least = {(row.level, row.cost): row for row in (*found.least, *timings.least) if row.dialect == easiest}
    beginning = (
        "- **Coherence, exactly.** A program writes Pocket stories and can decide of any text whether it could have "
        f"written it. In its easiest language (plots: {easiest.plots or 'all'}; words in a list: at most "
        f"{easiest.words or 'all'}), "
    )
    if (0.5, "parameters") not in least:
        return f"{beginning}no model writes half of its stories without a fault."
    best = max(own, key=lambda cell: cell.valid.value)
    fastest, file = least[0.5, "seconds"], least[0.5, "bytes"]
    return (
        f"{beginning}{_smallest(least[0.5, 'parameters'], own)} The smallest file that does so has "
        f"{file.value / 1000:.0f} kB, the quickest model takes {fastest.value:.0f} seconds of one core "
        f"({_processors(timings)}), and the best, of {_size(best)} and {_read(best)}, reaches {_share(best.valid)}"
        f"{'' if (0.9, 'parameters') in least else '; none reaches 90 %'}. {_memory(found)}"
    )


def _smallest(half: Least, cells: list[Cell]) -> str:
    """The smallest model that writes half of its stories well, and how it did with less text."""
    same = [cell for cell in cells if (cell.architecture, cell.parameters) == (half.architecture, half.parameters)]
    before = [cell for cell in same if cell.tokens < half.tokens]
    earlier = f" After {_read(before[-1])}, the same model is at {_share(before[-1].valid)}." if before else ""
    return (
        f"a {TITLES[half.architecture]} of {_size(half)} writes {_share(half.valid)} of its stories without a fault at "
        f"temperature 1 once it has read {_read(half)}.{earlier}"
    )


def _memory(found: CoherenceResult) -> str:
    return f"Of {found.told:,} stories that all models wrote, {found.copies or 'none'} had been read in training."


def _processors(timings: CoherenceTimings) -> str:
    return " or ".join(sorted({made.cpu for made in timings.made}))


def _size(model: Least | Cell) -> str:
    return f"{model.parameters / 1000:,.0f} thousand parameters"


def _read(model: Least | Cell) -> str:
    return f"{model.tokens / 1e6:.1f} million tokens"


def _share(valid: Estimate) -> str:
    value, low, high = (f"{100 * share:.0f}" for share in (valid.value, valid.low, valid.high))
    return f"{value} % ({low} to {high})"
