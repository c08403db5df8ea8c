"""The study of vocabularies, a run's own or the published one, as notebook 11 and the guides show it."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pn_lib.course.small_files import PUBLISHED
from pn_lib.evaluation.enough import LEAST
from pn_lib.run.plotting import COLOURS
from pn_lib.run.results.frontier_results import VocabularyModel, VocabularyStudy, VocabularyTiming
from pn_lib.run.results.vocabulary_results import VocabularyResult
from pn_lib.run.vocabulary import in_words


def first_seeds(study: VocabularyStudy) -> list[VocabularyModel]:
    """One model of each vocabulary, tying and size."""
    first = min(model.seed for model in study.models)
    return [model for model in study.models if model.seed == first]


def vocabulary_table(study: VocabularyStudy, timings: Sequence[VocabularyTiming]) -> pd.DataFrame:
    """What each model of the first seeds is, took, and reached."""
    seconds = {timing.name: timing.seconds for timing in timings}
    rows = [
        {
            "V": model.config["vocab_size"],
            "tied": model.config["tied_embeddings"],
            "D": model.config["d_model"],
            "kilobytes": model.file_bytes / 1000,
            "token tables": model.embedding_parameters / model.parameters,
            "tokens": model.tokens,
            "GFLOPs": model.flops / 1e9,
            "seconds": seconds[model.name],
            "bits per byte": model.bits_per_byte.value,
        }
        for model in first_seeds(study)
    ]
    return pd.DataFrame(rows).round(3)


def draw_vocabularies(study: VocabularyStudy) -> Figure:
    """Bytes of the file against bits per byte: a line for each vocabulary, dashed and hollow with two tables."""
    fig, ax = plt.subplots(figsize=(6.8, 3.4))
    fig.set_label("Bits per byte against kilobytes, a line for each vocabulary: solid with one table, dashed with two")
    models = first_seeds(study)
    sizes = sorted({model.config["vocab_size"] for model in models})
    for size, color, marker in zip(sizes, COLOURS.values(), "osD^vPX", strict=False):
        for tied in (True, False):
            line = [m for m in models if (m.config["vocab_size"], m.config["tied_embeddings"]) == (size, tied)]
            if line:
                ax.plot(
                    [model.file_bytes / 1000 for model in line],
                    [model.bits_per_byte.value for model in line],
                    marker=marker,
                    color=color,
                    linestyle="-" if tied else "--",
                    markerfacecolor=color if tied else "white",
                    label=f"V = {size:,}, {'tied' if tied else 'two tables'}",
                )
    ax.set(xscale="log", xlabel="file, tokenizer included (kilobytes)", ylabel="bits per byte")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=8, ncols=2, handlelength=3.5)
    return fig


def vocabularies_in_words(study: VocabularyStudy) -> str:
    """Which vocabulary has the lowest loss from how many bytes on, and whether that is a ranking."""
    rule = (
        "A lead counts only if it exceeds the uncertainty from the test stories and the seeds of the smallest size."
        if any(part.verdict for part in study.envelope)
        else f"Not ranked: that takes {LEAST['stories']} test stories, a second vocabulary whose files are no larger, "
        "and a second seed of the smallest size."
    )
    return f"each model after {study.text_bytes / 1000:,.0f} kB of text: {in_words(study)}. {rule}"


def vocabulary_finding() -> str:
    """The published study as an item of the list of findings."""
    found = VocabularyResult.read(PUBLISHED / "reference")
    models = {model.name: model for model in found.study.models}
    seconds = {timing.name: timing.seconds for timing in found.seconds}
    best = [models[part.name] for part in found.study.envelope]
    shares = _range([100 * model.embedding_parameters / model.parameters for model in best], "%")
    flops = _range([model.flops / 1e12 for model in best], "TFLOPs", 1)
    took = _range([seconds[model.name] for model in best], "s")
    finished = "" if len(models) == found.planned else f"; so far {len(models)} of {found.planned} planned models"
    return (
        f"- **The vocabulary.** Small Transformers of 4 bits a weight each read {found.study.text_bytes / 1e6:.1f} MB "
        f"of TinyStories. Which vocabulary gives the lowest loss depends on the size of the file, tokenizer included: "
        f"{in_words(found.study)}. Of the weights in the best file of each, {shares} are token tables; its training "
        f"took {flops}, or {took} of one core ({found.machine}). Longer training may favor another vocabulary. One "
        f"seed each; a lead counts only if it exceeds the uncertainty from {found.stories} test stories and from the "
        f"seeds of the smallest size{finished}."
    )


def _range(values: Sequence[float], unit: str, digits: int = 0) -> str:
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"
