"""The published study of coherence: its picture, and what it found."""

import numpy as np

from pn_lib.course.coherence_figure import coherence_threshold
from pn_lib.run.coherence.summary import STUDY, SURE, counted, lacks_one, other_seeds, published, smallest, unsure
from pn_lib.run.plotting import draw, use_style
from pn_lib.run.results.coherence_results import (
    Cell,
    CoherenceResult,
    CoherenceTimings,
    CoherentModel,
    Dialect,
    Least,
)
from pn_lib.run.results.result import Estimate
from pn_lib.run.stages import REPOSITORY
from pn_lib.titles import TITLES

PICTURE = REPOSITORY / "figures" / "published" / "reference" / "coherence_threshold.svg"
ALIKE = 0.05  # of its size: an architecture does not meet another's to the last parameter
ALT = (
    "Words before the first fault against tokens read, with a line for each size and architecture, and the share of "
    "valid stories against the excess over the source in bits a story, with the bound and the fitted law"
)


def coherence_picture() -> str:
    """The picture of notebook 08 as SVG, of the published experiments, the same each time."""
    models = published()
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
        "- **Coherence, exactly.** A program writes Pocket stories and can decide, for any text, whether it could have "
        f"written that text. In its easiest language ({_language(easiest)}), "
    )
    if (0.5, "parameters") not in least:
        return f"{beginning}no model writes half of its stories without a fault."
    processors = " or ".join(sorted({made.cpu for made in timings.made}))
    return (
        f"{beginning}{_smallest(least[0.5, 'parameters'], own)} {_file()} The quickest model that writes half of them "
        f"takes {least[0.5, 'seconds'].value:.0f} seconds of one core ({processors}).{_others(own)} "
        f"{facts_finding(found)}"
        f"{_memory(found)}"
    )


def _language(dialect: Dialect) -> str:
    plots = f"plots: {dialect.plots or 'all'}" if dialect.plots != 1 else "one plot"
    return f"{plots}, and {f'at most {dialect.words}' if dialect.words else 'all'} words in each of its lists"


def _file() -> str:
    """The smallest file that writes well, and the other seeds of its model."""
    experiments = published()
    files = smallest(experiments)
    if not files:
        return "No file of rounded weights does."
    (name, told), *_ = files
    model = experiments[name]
    way = model.told.index(told)
    others = [_share(experiments[each].told[way].valid) for each in other_seeds(experiments, name)]
    return (
        f"The smallest file that writes {'90 %' if told.valid.value >= 0.9 else 'half'} of them without a fault has "
        f"{told.file_bytes / 1000:.0f} kB: one seed of {_size(model)} after {_read(model)}, {_share(told.valid)}"
        f"{'; its other seeds are at ' + ', '.join(others) if others else ''}."
    )


def _smallest(told: Least, cells: list[Cell]) -> str:
    """The smallest model that writes half of its stories well, over its seeds, and how it did with other budgets."""
    same = [cell for cell in cells if (cell.architecture, cell.parameters) == (told.architecture, told.parameters)]
    seeds = {cell.tokens: f"{cell.seeds} seed{'s' * (cell.seeds > 1)}" for cell in same}
    rest = [
        f"{_share(cell.valid)} after {_read(cell)} ({seeds[cell.tokens]})"
        for cell in same
        if cell.tokens != told.tokens
    ]
    beside = f" The same model is at {', '.join(rest)}." if rest else ""
    return (
        f"a {TITLES[told.architecture]} of {_size(told)} writes {_share(told.valid)} of its stories without a fault at "
        f"temperature 1 once it has read {_read(told)} ({seeds[told.tokens]}).{beside}"
    )


def _others(cells: list[Cell]) -> str:
    """What other architectures reach beside a Transformer of about their size, where it read most and is largest."""
    transformers = [cell for cell in cells if cell.architecture == "transformer"]
    for ours in sorted(transformers, key=lambda cell: (-cell.tokens, -cell.parameters)):
        others = [
            f"{_named(cell.architecture)} {_share(cell.valid)}"
            for cell in cells
            if cell.architecture != ours.architecture
            and all(abs(getattr(cell, cost) / getattr(ours, cost) - 1) < ALIKE for cost in ("parameters", "tokens"))
        ]  # fmt: skip
        if others:
            return (
                f" At about {_size(ours)} and {_read(ours)}, the Transformer reaches {_share(ours.valid)}, "
                f"{', '.join(others)}; the Transformer's settings were tuned the longest."
            )
    return ""


def _named(architecture: str) -> str:
    """An architecture within a sentence: the hybrid has no name of its own."""
    title = TITLES[architecture]
    return title if architecture != "hybrid" else f"the {title.lower()}"


def facts_finding(found: CoherenceResult) -> str:
    """Which facts come back wrong, if any were counted."""
    facts = counted(found)
    if not facts:
        return ""
    lacking = unsure(facts)
    bad = len({memory.experiment for memory in lacking})
    told = (
        f"Of {len(facts)} models whose facts we counted one by one, {len(facts) - bad} repeat each fact correctly at "
        f"least {100 * SURE:.0f} % of the time"
    )
    if not lacking:
        return f"{told}. "
    slots = "`, `".join(sorted({memory.slot for memory in lacking}))
    shares = sorted(100 * memory.right for memory in lacking)
    ends = f"{shares[0]:.0f}" if len(shares) == 1 else f"{shares[0]:.0f} to {shares[-1]:.0f}"
    stories = ", and write the fewest valid stories" if lacks_one(facts) else ""
    return f"{told}; the other {bad} get `{slots}` right {ends} % of the time{stories}. "


def _memory(found: CoherenceResult) -> str:
    if not found.copies:
        return f"None of the {found.told:,} stories that the models wrote occurs in their training data."
    return f"Of the {found.told:,} stories that the models wrote, {found.copies:,} occur in their training data."


def _size(model: Least | Cell | CoherentModel) -> str:
    return f"{model.parameters / 1000:,.0f} thousand parameters"


def _read(model: Least | Cell | CoherentModel) -> str:
    return f"{model.tokens / 1e6:.1f} million tokens"


def _share(valid: Estimate) -> str:
    value, low, high = (f"{100 * share:.0f}" for share in (valid.value, valid.low, valid.high))
    return f"{value} % ({low} to {high})"
