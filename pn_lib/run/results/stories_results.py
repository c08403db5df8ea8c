"""Results of notebook 05: what can be counted of the stories."""

from typing import ClassVar

from pydantic import Field, create_model

from pn_lib.evaluation.measures import MEASURES
from pn_lib.run.results.result import Estimate, Part, Result


class Ending(Part):
    text: str = Field(description="what was written after the beginning")
    ended: bool = Field(description="it came to its end within the limit")


class CompletionsResult(Result):
    """All endings, for the judge and for readers."""

    FILE: ClassVar = "completions.json"
    beginnings: list[str] = Field(description="beginnings of held-out stories")
    temperature: float = Field(description="temperature of sampling")
    tellers: dict[str, list[list[Ending]]] = Field(description="by model, for each beginning, its endings")


class Sampling(Part):
    kept: Estimate | None = Field(
        description="names of the beginning that come again, or content words where there are no names; null in runs "
        "made before these were measured"
    )
    distinct_2: float = Field(description="different word pairs among all of all endings")
    repetition: float = Field(description="four-word runs that repeat an earlier one, share")
    ended: float = Field(description="share of endings that came to their end within the limit")


Measures = create_model(
    "Measures",
    __base__=Part,
    __doc__="Means over endings, with intervals over beginnings; null where no ending has a value.",
    **{name: (Estimate | None, Field(description=words)) for name, words in MEASURES.items()},
)


class KnownGroups(Part):
    """Whether measures tell endings of known faults from the real endings of the same beginnings."""

    groups: dict[str, str] = Field(description="groups beside the real endings, with their names for readers")
    better: dict[str, dict[str, Estimate | None]] = Field(
        description="by measure and group: how often the real ending is the better one, ties half; null: no pair"
    )


class Completions(Part):
    beginnings: int = Field(description="beginnings given to every model")
    repeats: int = Field(description="endings of each, by each model")
    temperature: float = Field(description="temperature of sampling")
    training_stories: int = Field(description="training stories that endings were compared with")
    tellers: dict[str, Measures] = Field(description="by model, with the real endings")


class Copies(Part):
    longest: dict[str, int] = Field(
        description="by model, the longest run of words that an ending took over from a training story"
    )


class ProbeScore(Part):
    value: float = Field(description="share of right answers")
    low: float = Field(description="lower end of its 95 % interval")
    high: float = Field(description="upper end")
    n: int = Field(description="probes of this kind")
    chance: float = Field(description="share of right answers by guessing")


class NextWords(Part):
    places: int = Field(description="places in held-out stories")
    entropy: Estimate = Field(description="the source's own, bits a word")
    kl: Estimate = Field(description="divergence of the model from the source, bits a word")
    leak: Estimate = Field(description="probability given to impossible words")
    overconfidence: Estimate = Field(description="probability of the likeliest word, less the exact one")
    ece: float = Field(description="expected calibration error, with exact outcomes")


class Pocket(Part):
    """What only a source whose probabilities are known can tell."""

    excess_bits_per_byte: dict[str, Estimate] = Field(description="by model, bits per byte above the source's own")
    valid_share: dict[str, Estimate] = Field(description="by model, share of stories that the source could have told")
    tried: int = Field(description="stories sampled from each model")
    reasons: list[tuple[str, int]] = Field(description="first faults of the Transformer's stories, with their number")
    broken_facts: dict[str, dict[str, int]] = Field(description="by model, stories by the fact that they break first")
    next_words: dict[str, dict[str, NextWords]] = Field(
        description="by model: all places, free ones, and determined ones, where one word alone is possible"
    )


class Example(Part):
    beginning: str = Field(description="the beginning")
    endings: dict[str, str] = Field(description="by model, an ending")


class Failure(Part):
    title: str = Field(description="what is wrong with it")
    beginning: str = Field(description="the beginning")
    text: str = Field(description="the main Transformer's ending")


class EvaluationResult(Result):
    """Stories without a judge: measures, copies, sampling, probes, and the exact source."""

    FILE: ClassVar = "evaluation.json"
    names: dict[str, str] = Field(description="models, with their names for readers")
    recall: dict[str, tuple[int, int]] = Field(description="faults made on purpose: noticed by the checker, and tried")
    known_groups: KnownGroups | None = Field(
        description="which measures tell known groups of endings apart; null in runs made before this was asked"
    )
    sampling: dict[str, Sampling] = Field(description="by setting, and of real stories")
    completions: Completions = Field(description="endings of held-out beginnings")
    copies: Copies = Field(description="runs of words copied from training stories")
    probes: dict[str, dict[str, ProbeScore]] = Field(description="by model and kind of probe")
    ahead: dict[str, Measures] = Field(description="the main Transformer minus another model, by beginning")
    beyond_ngram: dict[str, Estimate] = Field(description="by kind of probe, right answers more than the n-gram's")
    pocket: Pocket | None = Field(description="against the exact source; null for any other corpus")
    gallery: list[Example] = Field(description="beginnings with an ending by each model, not selected")
    failures: list[Failure] = Field(description="endings selected as the worst, each by a measure")
