"""What the notebooks conclude from a run's results, a sentence for each question: the same for the reader's run and for
the reference run that stands beside it.

A sentence ranks nothing where the runs are too small (`pn_lib.evaluation.enough`); then it says so. Bits per byte
throughout; more are worse.
"""

from pn_lib.evaluation.enough import too_small
from pn_lib.evaluation.intervals import verdict
from pn_lib.evaluation.measures import GROUPS
from pn_lib.evaluation.memory_tasks import standing
from pn_lib.run.results.frontier_results import FrontierResult
from pn_lib.run.results.memory_results import BesideParent, MemoryResult
from pn_lib.run.results.mixers_results import MixerPair, MixerSize, MixersResult, MixersTimings
from pn_lib.run.results.result import Estimate
from pn_lib.run.results.stories_results import EvaluationResult
from pn_lib.run.results.study_results import LanguageResult, ScalingResult, StudyResult
from pn_lib.run.results.training_results import RecipeResult, TrainingResult
from pn_lib.run.results.whole_mamba_results import MambaResult
from pn_lib.run.results.zoo_results import ZooResult
from pn_lib.titles import TITLES

STANDING = {"ahead": "ahead of", "behind": "behind", "not told apart": "not told apart from"}


def mark(found: TrainingResult) -> str:
    """Whether the main Transformer beats counting."""
    loss, ngram = found.transformer.loss, found.ngram.bits_per_byte
    said = "beats" if loss.high < ngram else "does not beat"
    return (
        f"after {found.transformer.steps:,} updates the Transformer has {_interval(loss)}, counting {ngram:.3f}, and "
        f"guessing {found.uniform.bits_per_byte:.2f}. It {said} counting."
    )


def ladder(found: RecipeResult) -> str:
    """Where the recipe's rungs lead, which beat counting, and which step is the largest."""
    losses = [rung.bits_per_byte for rung in found.ladder]
    below = sum(loss < found.ngram for loss in losses)
    count = f"none of the {len(losses)} rungs beats" if not below else f"{below} of {len(losses)} rungs beat"
    said = (
        f"{_runs(found.updates, found.seeds)} led from {losses[0]:.3f} to {losses[-1]:.3f}; on the same stories "
        f"counting has {found.ngram:.3f}, and {count} it. "
    )
    if few := too_small(updates=found.updates, seeds=found.seeds):
        return f"{said}Which rungs help is an open question: the run is {few}."
    largest = max(found.gains, key=found.gains.__getitem__)
    return f"{said}The largest step was *{largest}* ({found.gains[largest]:.3f})."


def branches(found: RecipeResult) -> str:
    """Which other changes to the recipe helped."""
    if few := too_small(updates=found.updates, seeds=found.seeds):
        return f"which of {len(found.branches)} changes help is an open question: the run is {few}."
    better, worse = (
        ", ".join(f"*{change}*" for change, judged in found.judgments.items() if judged.verdict == word) or "none"
        for word in ("lowers the loss", "raises the loss")
    )
    return f"of {len(found.branches)} changes, after Holm's correction, better: {better}; worse: {worse}."


def few_stories(found: RecipeResult) -> str:
    """What happens when a few stories are read again and again."""
    few = found.few
    read = f"{few.stories:,} stories, each read {few.epochs} times, are {few.updates:,} updates"
    if lacking := too_small(updates=few.updates):
        return f"{read}: {lacking}."
    turned = sum(curve.rise > 0 for curve in few.curves)
    return f"{read}; validation loss turned upward for {turned} of {len(few.curves)} rates of dropout (one seed each)."


def endings(found: EvaluationResult) -> str:
    """How many of a beginning's names the Transformer's endings take up, beside real ones and the n-gram's."""
    own, human, ngram = (found.completions.tellers[who].names_kept for who in ("transformer", "human", "ngram"))
    if own is None or human is None or ngram is None:
        return "these beginnings have no names that could come back."
    said = f"of a beginning's names {_share(own)} come back in the Transformer's endings"
    if few := too_small(stories=found.completions.beginnings):
        return f"{said}; how that compares is an open question: the run is {few}."
    said += f", {_clearly(found.ahead['human'].names_kept)} than in the real ones ({_share(human)}) and "
    return f"{said}{_clearly(found.ahead['ngram'].names_kept)} than in the 4-gram's ({_share(ngram)})."


def measures(found: EvaluationResult) -> str:
    """Which measure notices which known fault best."""
    if (trial := found.known_groups) is None:
        return "this run was made before measures were tried on known faults."
    sharpest = []
    for fault, words in trial.groups.items():
        tried = {key: row[fault] for key, row in trial.better.items() if fault in GROUPS and row[fault]}
        shares = {key: share.value for key, share in tried.items() if share.low > 0.5}  # the others do not notice it
        if shares:
            best = max(shares, key=lambda key: shares[key])
            sharpest.append(f'for "{words}", {best.replace("_", " ")} ({shares[best]:.2f})')
    return f"the sharpest measure for each fault, with how often it prefers the real ending: {'; '.join(sharpest)}."


def likelihoods(found: ZooResult) -> str:
    """What other models need beyond the main Transformer, one run each."""
    beyond = [f"{model.label} {_signed(model.difference)}" for model in found.models.values() if model.difference]
    return f"beyond the Transformer's bits per byte, on the same stories (one run each): {', '.join(beyond)}."


def novelty(found: EvaluationResult) -> str:
    """How much of the Transformer's endings is in the closest training story."""
    own, human = (found.completions.tellers[who].memorisation_rouge2 for who in ("transformer", "human"))
    said = f"{_share(own)} of an ending's word pairs are in the closest training story"
    if few := too_small(stories=found.completions.beginnings):
        return f"{said}; how that compares is an open question: the run is {few}."
    return f"{said}, {_clearly(found.ahead['human'].memorisation_rouge2)} than of a real one's ({_share(human)})."


def sampling(found: EvaluationResult) -> str:
    """The setting that keeps most names."""
    if few := too_small(stories=found.completions.beginnings):
        return f"which setting keeps most names is an open question: the run is {few}."
    shares = {title: row.kept for title, row in found.sampling.items() if title != "real stories" and row.kept}
    if not shares:
        return "what each setting keeps of a beginning was not measured."
    top = max(shares, key=lambda title: shares[title].value)
    return f"most names kept: {_share(shares[top])} with {top}."


def knowledge(found: EvaluationResult) -> str:
    """Which kinds of probes the Transformer answers beyond guessing, and beyond the n-gram."""
    asked = found.probes["transformer"]
    if few := too_small(probes=min(row.n for row in asked.values())):
        return f"which probes it answers is an open question: the run is {few}."
    known = [kind for kind, row in asked.items() if row.low > row.chance]
    ahead = [kind for kind in known if kind in found.beyond_ngram and found.beyond_ngram[kind].low > 0]
    said = [", ".join(kinds) or "none" for kinds in (known, ahead)]
    return f"clearly above guessing: {said[0]}. Above the 4-gram, too: {said[1]}. Asked: {', '.join(asked)}."


def exactly(found: EvaluationResult) -> str:
    """How far the Transformer is from the source, where that is known."""
    if (exact := found.pocket) is None:
        return "the source of natural stories is unknown, so this cannot be measured."
    leak = exact.next_words["transformer"]["all"].leak
    return (
        f"the Transformer needs {_interval(exact.excess_bits_per_byte['transformer'])} bits per byte more than the "
        f"source; {_share(exact.valid_share['transformer'])} of its stories are valid, and it gives {_share(leak)} of "
        "its probability to impossible words."
    )


def study(found: StudyResult) -> str:
    """Which choices in the architecture matter."""
    judged = found.judgments
    few = too_small(updates=found.baseline.updates, seeds=found.baseline.seeds)
    rows = found.differences
    ranked = sorted(rows, key=lambda key: -abs(rows[key]))

    def listed(word: str) -> str:
        keys = [key for key in ranked if judged[key].verdict == word]
        return ", ".join(f"{axis} *{name}* ({rows[axis, name]:+.3f})" for axis, name in keys) or "none"

    if few:
        return f"the run is {few}, so which of {len(judged)} choices matter stays open."
    decided = sum(each.verdict in ("raises the loss", "lowers the loss") for each in judged.values())
    return (
        f"{_runs(found.baseline.updates, found.baseline.seeds)}: **{decided} of {len(judged)} choices matter**, after "
        f"Holm's correction. Raise the loss: {listed('raises the loss')}. Lower it: {listed('lowers the loss')}. Not "
        f"told apart: {listed('not told apart')}; that does not mean equal, a small effect may be hidden."
    )


def growth(found: ScalingResult) -> str:
    """What more parameters, and what more tokens changed."""
    losses = {(row.parameters, row.tokens): row.bits_per_byte for row in found.points}
    sizes, budgets = (sorted(set(values)) for values in zip(*losses, strict=True))
    end, smaller, shorter = (
        losses[at] for at in ((sizes[-1], budgets[-1]), (sizes[0], budgets[-1]), (sizes[-1], budgets[0]))
    )
    return (
        f"{sizes[-1] / sizes[0]:.1f} times the parameters changed the loss by {end - smaller:+.3f}, "
        f"{budgets[-1] / budgets[0]:.1f} times the tokens by {end - shorter:+.3f} (one seed each)."
    )


def law(found: ScalingResult) -> str:
    """What the scaling law advises, if it passes its tests."""
    if not found.law:
        return "too few sizes or budgets to fit a law, so no size is advised."
    if found.faults:
        return f"the law fails: {'; '.join(found.faults)}. So no size is advised from it."
    if not found.best:
        return "the law passes its tests, but one of its terms brings nothing, so no size is best."
    best, sizes = found.best[-1], [row.parameters for row in found.points]
    where = "inside" if min(sizes) <= best.parameters <= max(sizes) else "outside"
    size, low, high = (f"{value / 1e3:,.0f}" for value in (best.parameters, best.low, best.high))
    return (
        f"the law passes its tests. For {best.flops:.1e} FLOPs, more than any of its runs had, it chooses {size} "
        f"thousand parameters [{low}, {high}], {where} the range of sizes that were trained."
    )


def language(found: LanguageResult) -> str:
    """How far the largest model's stories stay inside the language of Pocket stories."""
    row = found.sizes[-1]
    return (
        f"after {found.tokens:,} tokens the largest model of Pocket stories ({row.parameters:,} parameters) wrote "
        f"{row.words.value:.1f} words on average before the first fault; "
        f"{row.valid.value:.0%} of its stories had none."
    )


def pairs(found: list[MixerPair], few: str | None) -> str:
    """Which architectures are ahead of which."""
    if few:
        return f"{few}."
    told = [
        (pair.first, pair.second, -pair.difference.value)
        if pair.verdict == "ahead"
        else (pair.second, pair.first, pair.difference.value)
        for pair in found
        if pair.verdict in ("ahead", "behind")
    ]
    said = [f"{TITLES[one]} is ahead of {TITLES[other]} by {gap:.3f}" for one, other, gap in told]
    rest = len(found) - len(told)
    return "; ".join([*said, f"{rest} of {len(found)} pairs cannot be told apart"] if rest else said) + "."


def mixers(found: MixersResult) -> str:
    """The architectures at equal parameters and tokens, size by size."""
    said = [
        f"{size.budget:,} parameters in the layers and {size.tokens:,} tokens ({size.seeds} seeds): "
        f"{pairs(size.pairs, _few(size))}"
        for size in found.sizes
    ]
    return f"with {' With '.join(said)}"


def mixers_by_bytes(found: MixersResult) -> str:
    """The smallest size at equal bytes."""
    return pairs(found.equal_bytes.pairs, _few(found.sizes[0]))


def mixers_in_time(found: MixersResult, timings: MixersTimings) -> str:
    """The smallest size at equal seconds."""
    return pairs(timings.equal_seconds.pairs, _few(found.sizes[0]))


def whole_mamba(found: MambaResult) -> str:
    """A whole Mamba beside the main Transformer, one run each."""
    said = f"its loss minus the main Transformer's is {_signed(found.model.difference)} bits per byte"
    names = found.measures.names_kept
    kept = f"{_share(names)} of a beginning's names come back in its endings" if names else "no beginning has a name"
    return f"{said}, and {kept} (one run each, which ranks neither)."


def memory(found: MemoryResult) -> str:
    """Right answers at the longest length, and the hybrid beside what it mixes, task by task."""
    longest, seeds = max(row.length for row in found.rows), min(row.seeds for row in found.rows)
    said = []
    for name, task in found.tasks.items():
        rows = [row for row in found.rows if (row.task, row.length) == (name, longest)]
        shares = ", ".join(f"{TITLES[row.architecture]} {row.mean:.0%}" for row in rows)
        few = too_small(updates=task.steps, seeds=seeds)
        if hybrid := [each for each in found.hybrid if each.task == name]:
            shares += f"; the hybrid: {few or _beside(hybrid)}"
        said.append(f"*{name}*, {shares}")
    return f"right answers at {longest} tokens ({seeds} seed{'s' * (seeds > 1)}). {'. '.join(said)}."


def rounding(found: FrontierResult) -> str:
    """What fewer bits cost the two large models, and what compensation wins back."""
    if few := too_small(stories=found.stories):
        return f"what it costs is an open question: the run is {few}."
    costs, gains = (
        "; ".join(
            f"{row.model.capitalize()} in {row.precision} by {_change(getattr(row, key))}"
            for row in found.rounded
            if row.method == method
        )
        for method, key in (("rounding", "difference"), ("compensation", "gain"))
    )
    return f"it changes the loss of the {costs}. Compensation changes that again: {gains}."


def _change(gap: Estimate) -> str:
    """A difference of two losses on the same stories, one run each."""
    words = {"worse": "it rises", "better": "it falls", "not told apart": "no difference shown"}
    return f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] ({words[verdict(gap.low, gap.high)]})"


def _beside(hybrid: list[BesideParent]) -> str:
    return " and ".join(f"{STANDING[standing(each.difference)]} {TITLES[each.parent]}" for each in hybrid)


def _few(size: MixerSize) -> str | None:
    return too_small(updates=size.updates, seeds=size.seeds)


def _share(one: Estimate) -> str:
    return f"{one.value:.0%} [{one.low:.0%}, {one.high:.0%}]"


def _signed(one: Estimate) -> str:
    return f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def _clearly(gap: Estimate) -> str:
    return "clearly more" if gap.low > 0 else "clearly less" if gap.high < 0 else "not clearly more or less"


def _interval(one: Estimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _runs(updates: int, seeds: int) -> str:
    return f"{updates:,} updates ({seeds} seed{'s' * (seeds > 1)})"
