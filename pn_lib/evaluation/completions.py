"""Completions of held-out beginnings, and measures of them that need no judge.

The protocol of TinyStories (Eldan & Li 2023): a model gets the beginning of a story it never saw and writes on; the
true endings, put through the same measures, show what values real stories have.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import pandas as pd

from pn_lib.data.tokenizer import Coder
from pn_lib.evaluation import diversity, grammar
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.diversity import words
from pn_lib.evaluation.intervals import Interval, bootstrap_interval, wilson_interval
from pn_lib.evaluation.measures import MEASURES
from pn_lib.evaluation.names import names_in, names_kept, told
from pn_lib.models.base import LanguageModel
from pn_lib.models.generation import generate
from pn_lib.progress import progress

BATCH = 64  # completions written at once; bounds memory, changes nothing else
TURN = 1 << 32  # between the random numbers of a row and those that it has when its context was full
SHARES = tuple(MEASURES)[:7]


class Ending(NamedTuple):
    """What was written after a beginning, and whether it came to its end (or was cut at the limit)."""

    text: str
    ended: bool


def cut_beginning(story: str, share: float = 0.4) -> tuple[str, str]:
    """``story`` cut at that share of its characters, moved back to a word border: (beginning, ending).

    The ending keeps its space or line break, so the two joined are the story again. A story whose first word is longer
    than the share is cut inside it.
    """
    place = int(share * len(story))
    border = max(story.rfind(" ", 1, place + 1), story.rfind("\n", 1, place + 1))
    return (story[:border], story[border:]) if border > 0 else (story[:place], story[place:])


def complete(
    model: LanguageModel,
    tokenizer: Coder,
    beginnings: Sequence[str],
    repeats: int = 1,
    *,
    max_bytes: int,
    name: str = "Writing",
    **sampling: float,
) -> list[list[Ending]]:
    """``repeats`` endings for each beginning: (beginnings, repeats). ``sampling`` (temperature, top_p, seed, ...) goes
    to ``generate``.

    An ending is cut at ``max_bytes`` of UTF-8, which is the same amount of text for every tokenizer. A model with a
    context reads at most half of it of a beginning, its end, and goes on from its own last half when the context is
    full. Row n of the list has random numbers of its own, whatever stands beside it.
    """
    prompts = [prompt_of(tokenizer, beginning, model.max_length) for beginning in beginnings for _ in range(repeats)]
    endings = []
    for first in progress(range(0, len(prompts), BATCH), name, unit="batch"):
        endings += _write(model, tokenizer, prompts[first : first + BATCH], first, max_bytes, sampling)
    return [endings[i : i + repeats] for i in range(0, len(endings), repeats)]


def _write(
    model: LanguageModel, tokenizer: Coder, prompts: list[list[int]], first: int, max_bytes: int, sampling: dict
) -> list[Ending]:
    """Turn by turn, until every row has ended or has its bytes; a turn fills the context, if there is one."""
    room = model.max_length
    ids: list[list[int]] = [[] for _ in prompts]
    endings: dict[int, Ending] = {}
    for turn in count():
        going = [row for row in range(len(prompts)) if row not in endings]
        if not going:
            return [endings[row] for row in range(len(prompts))]
        read = [[*prompts[row], *ids[row]][-max(1, room // 2) if room and turn else 0 :] for row in going]
        streams = [first + row + turn * TURN for row in going]
        told = generate(model, read, room or max_bytes, stop_id=tokenizer.separator_id, rows=streams, **sampling)
        for row, story in zip(going, told, strict=True):
            ids[row] += story.ids
            text, ended = written(tokenizer, prompts[row], ids[row]), story.finish_reason == "stop"
            if ended or len(text.encode()) > max_bytes or len(ids[row]) > max_bytes:
                endings[row] = cut_at(text, ended, max_bytes)


def cut_at(text: str, ended: bool, max_bytes: int) -> Ending:
    """The ending in so many bytes of UTF-8, without part of a character; one that is longer has not come to its end."""
    data = text.encode()
    return Ending(data[:max_bytes].decode(errors="ignore"), ended and len(data) <= max_bytes)


def written(tokenizer: Coder, prompt: list[int], ids: list[int]) -> str:
    """The text of ``ids`` behind the prompt; alone, some tokenizers would take its first space away."""
    return tokenizer.decode([*prompt, *ids])[len(tokenizer.decode(prompt)) :]


def prompt_of(tokenizer: Coder, beginning: str, window: int | None = None) -> list[int]:
    """The separator and the beginning's tokens, the last of them that fit into half of the window."""
    ids = [tokenizer.separator_id, *tokenizer.encode(beginning)]
    return ids if window is None else ids[-max(1, window // 2) :]


@dataclass(frozen=True)
class Yardstick:
    """What the training stories say about completions: their index, their names, and their commonest words."""

    index: StoryIndex
    names: frozenset[str]
    common: frozenset[str]

    @classmethod
    def of(cls, stories: Sequence[str], index: StoryIndex) -> "Yardstick":
        return cls(index, frozenset(names_in(stories)), common_words(stories))


def common_words(stories: Iterable[str], share: float = 0.1) -> frozenset[str]:
    """Words that occur in more than that share of the stories. What is left of a text without them and without its
    names are its content words: mostly the things, places and deeds it is about."""
    counts, n = Counter(), 0
    for story in stories:
        n += 1
        counts.update(set(words(story)))
    return frozenset(word for word, count in counts.items() if count > share * n)


def measure(
    beginnings: Sequence[str], told: Sequence[Sequence[Ending]], references: Sequence[str], yardstick: Yardstick
) -> pd.DataFrame:
    """Every one of ``MEASURES`` for every completion: a row each, with ``beginning`` and ``repeat``.

    ``references`` are the true endings; a beginning may have no completion. NaN where a measure has no value: no name
    to carry over, or a measure of the set that stands in the first row of its beginning alone (``distinct_2`` over all
    completions of a beginning, ``self_rouge2`` among the first completions of all).
    """
    some = [b for b, endings in enumerate(told) if endings]
    alike = dict(zip(some, diversity.self_rouge2([told[b][0].text for b in some]), strict=True))
    rows = []
    for b, (beginning, endings, reference) in enumerate(zip(beginnings, told, references, strict=True)):
        of_set = {
            "distinct_2": diversity.distinct_n([ending.text for ending in endings], 2),
            "self_rouge2": alike.get(b),
        }
        for r, ending in enumerate(endings):
            one = measure_one(beginning, ending, yardstick)
            one["rouge2_reference"] = diversity.rouge2_precision(ending.text, reference)
            rows.append(
                {"beginning": b, "repeat": r, **one, **(of_set if r == 0 else dict.fromkeys(of_set, float("nan")))}
            )
    return pd.DataFrame(rows, columns=["beginning", "repeat", *MEASURES])


def measure_one(beginning: str, ending: Ending, yardstick: Yardstick) -> dict[str, float]:
    """The measures of a single completion that need no other."""
    text, story = ending.text, beginning + ending.text
    return {
        "ended": float(ending.ended),
        "finished": float(finished(text)),
        "quotes_close": float(quotes_close(story)),
        "loops": float(diversity.loops(text)),
        "known_words": yardstick.index.known_words(text),
        "words": float(len(words(text))),
        "repetition": diversity.repetition(text),
        "grammar_faults": grammar.faults_per_100_words(beginning, text),
        "memorisation_rouge2": yardstick.index.nearest(text)[1],
        "longest_copy": float(len(yardstick.index.longest_copied_span(text).words)),
        **carried_over(beginning, text, yardstick),
    }


def finished(text: str) -> bool:
    """Whether the text ends as a sentence does: with . ! ? or …, closing quotes and brackets aside."""
    return re.search(r"[.!?…][\"'”’)\]*]*\s*$", text) is not None


def quotes_close(text: str) -> bool:
    """Whether every quotation is closed: straight quotes in pairs, curly ones in turn."""
    curly = "".join(re.findall("[“”]", text))
    return text.count('"') % 2 == 0 and curly.replace("“”", "") == ""


def carried_over(beginning: str, text: str, yardstick: Yardstick) -> dict[str, float]:
    """Which names and content words of the beginning come again, as shares (NaN if it has none), and how many names
    the completion has of its own."""
    spelled = {word for name in yardstick.names for word in words(name)}
    content = set(words(beginning)) - yardstick.common - spelled
    again = set(words(text))
    return {
        "names_kept": names_kept(beginning, text, yardstick.names),
        "words_kept": len(content & again) / len(content) if content else float("nan"),
        "names_new": float(len(told(text, yardstick.names) - told(beginning, yardstick.names))),
    }


def summarise(table: pd.DataFrame) -> dict[str, Interval | None]:
    """The mean of every measure with its bootstrap interval over beginnings, as the completions of one beginning are
    not independent; None where no completion has a value, or only one beginning does.

    Resampling a share that is 0 or 1 throughout shows no spread, which proves nothing: its interval is Wilson's,
    one trial per beginning."""
    means: dict[str, Interval | None] = {}
    for name in MEASURES:
        groups = table.dropna(subset=[name]).groupby("beginning")[name]
        sums, counts = groups.sum().to_numpy(), groups.count().to_numpy()
        if len(sums) < 2:
            means[name] = None
        elif name in SHARES and sums.sum() in (0, counts.sum()):
            means[name] = wilson_interval(len(sums) if sums.any() else 0, len(sums))
        else:
            means[name] = bootstrap_interval(sums, counts)
    return means


def paired(first: pd.DataFrame, second: pd.DataFrame, measure: str) -> Interval | None:
    """By how much a measure is higher for the first model, paired by beginning: the mean difference of the two means
    of each beginning, with its bootstrap interval over beginnings. None where fewer than two beginnings have both."""
    means = [table.groupby("beginning")[measure].mean() for table in (first, second)]
    differences = (means[0] - means[1]).dropna()
    return bootstrap_interval(differences.to_numpy()) if len(differences) > 1 else None


EDGES = (0, 5, 10, 15, 20, 30, 40, 60, 100)  # of the histogram of copied runs, words


def copy_lengths(table: pd.DataFrame, edges: Sequence[int] = EDGES) -> list[int]:
    """Histogram of the longest copied runs: how many completions have edges[i] <= length < edges[i + 1], the last
    open-ended."""
    counts, _ = np.histogram(table["longest_copy"], [*edges, np.inf])
    return counts.tolist()
