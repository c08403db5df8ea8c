"""The files that come with the repository: small models trained for hours, where they have read this run's corpus."""

from statistics import NormalDist

from sources import Figure, Run, Traced
from wording import THIN, count, order, side_of_zero

from pn_lib.course.frontier_figure import PICTURE, frontier_words
from pn_lib.run.results.fixed_data_results import FixedDataResult
from pn_lib.run.results.frontier_results import SmallFiles
from pn_lib.run.results.listening_results import GeneralResult, ListeningResult
from pn_lib.run.results.optimizers_results import OptimizersResult
from pn_lib.run.results.small_files_results import PublishedTimings
from pn_lib.run.stages import REPOSITORY

FOLDER = REPOSITORY / "results" / "published" / "reference"


def shipped(run: Run, corpus: str) -> dict[str, object] | None:
    """Each file with its cost and its place beside the general model, from small to large; the smallest that beats the
    n-gram, and the smallest that beats the general model (None: none is shown to); the ``fluent`` one, the smallest
    whose endings surprise the general model no more than real ones (or, if none, the least surprising), and whether
    they are ``loose``, less tied to their beginnings than real ones, which is not shown of the ``largest`` where that
    is ``tied``; the two ``optimizers`` at their best; what helps on ``fixed`` data. None for another corpus, or where
    nothing was compared."""
    if not (FOLDER / GeneralResult.FILE).exists() or GeneralResult.read(FOLDER).corpus != corpus:
        return None
    kinds = (SmallFiles, PublishedTimings, GeneralResult, ListeningResult)
    files, timings, general, heard = (run.shipped(kind, FOLDER) for kind in kinds)
    times = {row.name: row for row in timings.models}
    beside = {row.name: row for row in general.models}
    ngram = next(row for row in general.models if "gram" in row.name)
    ours = [who for who in heard.tellers if who.startswith(f"{FOLDER.name}/")]
    ours.sort(key=lambda who: beside[who].file_bytes)
    plausible = [who for who in ours if order(heard.tellers[who].surprise, heard.tellers.human.surprise) <= 0]
    fluent = plausible[0] if plausible else min(ours, key=lambda who: heard.tellers[who].surprise.value)
    shares = heard.known_groups.better.worth  # how often a beginning saves more on the real ending
    rows = [(model, times[model.name], beside.get(f"{FOLDER.name}/{model.name}")) for model in files.models]
    compared = [one for *_, one in rows if one is not None]
    return {
        "rows": rows,
        "cpus": list(dict.fromkeys(time.cpu for _, time, _ in rows)),
        "stories": files.stories,
        "general": general,
        "stranger": beside[general.general],
        "heard": heard,
        "fluent": fluent,
        "fluent_bytes": beside[fluent].file_bytes,
        "label": lambda who: f"our {count(beside[who].file_bytes / 1000)}{THIN}kB file" if who in ours else who,
        "loose": bool(plausible) and _beyond_half(shares, fluent),
        "largest": ours[-1],
        "tied": not _beyond_half(shares, ours[-1]),
        "ngram": ngram,
        "optimizers": run.shipped(OptimizersResult, FOLDER),
        "fixed": run.shipped(FixedDataResult, FOLDER),
        "below_ngram": next((one for one in compared if order(one.bits_per_byte, ngram.bits_per_byte) < 0), None),
        "below_general": next((one for one in compared if side_of_zero(one.difference) < 0), None),
        "picture": Figure(PICTURE, frontier_words(), "Drawn by `python -m pn_lib refresh`"),
    }


def _beyond_half(shares: Traced, who: str) -> bool:
    """Whether a teller's share of pairs lies above one half even after Bonferroni's correction for all that were asked
    about; its interval is taken for a normal one."""
    share, normal = shares[who], NormalDist()
    wider = normal.inv_cdf(1 - 0.025 / len(shares)) / normal.inv_cdf(0.975)
    return share.value - wider * (share.value - share.low) > 0.5
