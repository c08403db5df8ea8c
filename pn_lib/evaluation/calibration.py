"""Does a model know what may come next, and how sure it may be? Its next word against the source's own, on Pocket
stories: their source gives the exact probability of every word at every place, so that no outcome need be sampled.

A *place* is the beginning of a story up to the end of a word. Words are pre-tokens, with the space before them; marks
are words too, and so is the end of the story, "". After a place P the model's probability of the word w is that of
writing the tokens of w and then beginning another word (or ending), given that it begins a word at all:

    q(w | P) = p(tokens of w | P) p(a word begins | P w) / p(a word begins | P)

Words that begin others (" I", and " It" if that is two tokens) have thus no share in one another's probability; all q
of a place sum to 1; and those of the words of a whole story multiply to exactly what the model gives to its tokens, as
what stands below each fraction has stood above the one before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pn_lib.data import pocket
from pn_lib.data.tokenizer import Tokenizer, pre_tokens
from pn_lib.errors import InputError
from pn_lib.evaluation.intervals import Interval, bootstrap_interval
from pn_lib.models.base import LanguageModel, check_tokenizer
from pn_lib.models.hooks import ids_for, reading
from pn_lib.progress import progress

FLOOR = 1e-4  # impossible words with less than this have no row
EDGES = 10.0 ** np.arange(-4, 0.1, 0.5)  # of the reliability diagram's bins, two a decade
BATCH = 32  # sequences read at once
ECE_BINS = 10  # bins of the expected calibration error, of equal width


def places(stories: Sequence[str], n: int, seed: int) -> list[str]:
    """``n`` places of the stories, spread evenly from first words to ends; the same ones for the same seed.

    No story gives a second place before each has given one.

    Raises:
        InputError: there is no story, or ``n`` is below 1.
    """
    if n < 1 or not stories:
        raise InputError(f"{n} places in {len(stories)} stories: ask for at least one, and give at least one story")
    rng = np.random.default_rng(seed)
    rounds = -(-n // len(stories))
    order = np.concatenate([rng.permutation(len(stories)) for _ in range(rounds)])[:n]
    depths = (rng.permutation(n) + rng.random(n)) / n  # one in each n-th part of [0, 1)
    cut = [(pre_tokens(stories[i]), depth) for i, depth in zip(order, depths, strict=True)]
    return ["".join(words[: int(depth * (len(words) + 1))]) for words, depth in cut]  # behind the last word is a place


def compare(model: LanguageModel, tokenizer: Tokenizer, prefixes: Sequence[str], context: int) -> pd.DataFrame:
    """A row for each word that may come at each of the places ``prefixes``: place (its number), word, p (the source's
    probability) and q (the model's).

    Rows with p = 0 are words that cannot come. Those with the same first token are taken together, ``word`` being the
    token's text and "…", where they have a q of at least ``FLOOR``. The model sees the last tokens of a long place, so
    many that ``context`` holds them and the word.

    Raises:
        InputError: a tokenizer that is not the model's, a prefix that is no place of a Pocket story, or a context too
            short for a word.
    """
    check_tokenizer(model, tokenizer)
    candidates = _candidates(tokenizer, prefixes, context)
    first_kinds, separator = _first_kinds(tokenizer), tokenizer.separator_id
    q, rest = np.zeros(len(candidates)), np.zeros((len(prefixes), tokenizer.vocab_size))
    for i, log_p in _read(model, candidates):
        place, tokens = candidates[i].place, candidates[i].tokens
        begins = _begins(first_kinds, prefixes[place])
        opens, closes = np.logaddexp.reduce(log_p[0, begins]), 0.0
        if tokens != [separator]:  # nothing has to end after it
            closes = np.logaddexp.reduce(log_p[-1, _begins(first_kinds, candidates[i].word)])
        q[i] = np.exp(log_p[range(len(tokens)), tokens].sum() + closes - opens)
        rest[place, begins] = np.exp(log_p[0, begins] - opens)
    for candidate, its_q in zip(candidates, q, strict=True):
        rest[candidate.place, candidate.tokens[0]] -= its_q
    rows = [(each.place, each.word, each.p, its_q) for each, its_q in zip(candidates, q, strict=True)]
    rows += [
        (place, "" if i == separator else tokenizer.decode([i]) + "…", 0.0, rest[place, i])
        for place, i in np.argwhere(rest >= FLOOR).tolist()
    ]
    return pd.DataFrame(sorted(rows, key=lambda row: row[0]), columns=["place", "word", "p", "q"])


@dataclass(frozen=True)
class _Candidate:
    """A word that may come at a place: the place's number and what the model sees of it, the word and its tokens."""

    place: int
    head: list[int]
    word: str
    tokens: list[int]
    p: float


def _candidates(tokenizer: Tokenizer, prefixes: Sequence[str], context: int) -> list[_Candidate]:
    found = []
    for place, prefix in enumerate(progress(prefixes, "Asking the source", unit="place")):
        truth = pocket.next_words(prefix)
        if not truth:
            raise InputError(f"no Pocket story has a word that ends with {prefix[-40:]!r}: take prefixes from `places`")
        spelled = [tokenizer.encode(word) or [tokenizer.separator_id] for word in truth]
        room = context - max(map(len, spelled))
        if room < 1:
            raise InputError(f"a context of {context} tokens cannot hold {prefix[-40:]!r} and the next word; raise it")
        head = [tokenizer.separator_id, *tokenizer.encode(prefix)][-room:]
        found += [
            _Candidate(place, head, word, tokens, p) for (word, p), tokens in zip(truth.items(), spelled, strict=True)
        ]
    return found


def _read(model: LanguageModel, candidates: Sequence[_Candidate]) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each candidate, the shortest first, with log p of every token behind the place and behind each
    token of the word: float64 (1 + its tokens, V), nats."""
    sequences = [[*each.head, *each.tokens] for each in candidates]
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    with reading(model):
        for batch in progress(batches, "Asking the model", unit="batch"):
            ids = np.zeros((len(batch), len(sequences[batch[-1]])), np.int64)
            for row, i in zip(ids, batch, strict=True):
                row[: len(sequences[i])] = sequences[i]  # padding is on the right, where no causal model sees it
            logits = model(ids_for(model, ids)[0])  # (B, T, V)
            for row, i in zip(logits, batch, strict=True):
                asked = row[len(candidates[i].head) - 1 : len(sequences[i])].cpu().double().numpy()
                yield i, asked - np.logaddexp.reduce(asked, axis=1, keepdims=True)


def _kind(character: str) -> str:
    """What GPT-2's expression tells apart: a word is a run of one kind, with a space before it."""
    if not character or character.isspace():
        return "space"
    return "letter" if character.isalpha() else "digit" if character.isnumeric() else "mark"


def _first_kinds(tokenizer: Tokenizer) -> np.ndarray:
    """The kind of each token's first character (V,), str; the separator, which begins a story, counts as a space."""
    kinds = np.array([_kind(tokenizer.decode([i])[0]) for i in range(tokenizer.vocab_size)])
    kinds[tokenizer.separator_id] = "space"
    return kinds


def _begins(first_kinds: np.ndarray, text: str) -> np.ndarray:
    """Which tokens begin a new word behind ``text``: bool (V,). A space always does, and so does another kind."""
    return (first_kinds == "space") | (first_kinds != _kind(text[-1:]))


def at_places(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each place of ``compare``'s table: options, entropy, kl, leak, confidence, truth.

    ``options`` counts the words that can come, ``entropy`` (bits) is the source's own uncertainty, ``kl`` the
    divergence KL(p || q) (bits), ``leak`` what the model gives to impossible words, ``confidence`` the q of its
    likeliest row, be that of a possible word or not, and ``truth`` that row's p.
    """
    possible = table[table["p"] > 0]
    with np.errstate(divide="ignore"):  # infinite where the model rules out a possible word
        log_p, log_q = np.log2(possible["p"]), np.log2(possible["q"])
    terms = pd.DataFrame(
        {
            "place": possible["place"],
            "options": 1,
            "entropy": possible["p"] * (0 - log_p),
            "kl": possible["p"] * (log_p - log_q),
            "leak": possible["q"],
        }
    )
    sums = terms.groupby("place").sum()
    sums["leak"] = (1 - sums["leak"]).clip(lower=0)
    top = table.loc[table.groupby("place")["q"].idxmax()].set_index("place")
    return sums.assign(confidence=top["q"], truth=top["p"])


def summarise(table: pd.DataFrame) -> dict[str, dict[str, Interval | float]]:
    """Figures over "all" places of ``compare``'s table, the "free" ones, where more than one word can come, and the
    "determined" ones, where a model need only know the language and keep the story in mind.

    ``entropy``, ``kl`` (bits a word), ``leak`` and ``overconfidence`` (confidence less truth), see ``at_places``, are
    means with the bootstrap interval over places; ``ece`` is the expected calibration error of Guo et al. (2017), with
    the exact probability in the place of outcomes: places binned by confidence, the mean of |mean confidence - mean
    truth|, weighted by places. A group of fewer than two places is left out.
    """
    rows = at_places(table).assign(overconfidence=lambda each: each["confidence"] - each["truth"])
    groups = {"all": rows, "free": rows[rows["options"] > 1], "determined": rows[rows["options"] == 1]}
    means = ("entropy", "kl", "leak", "overconfidence")
    return {
        name: {"places": len(group), **{key: bootstrap_interval(group[key]) for key in means}, "ece": _ece(group)}
        for name, group in groups.items()
        if len(group) > 1
    }


def _ece(rows: pd.DataFrame) -> float:
    bins = np.minimum((rows["confidence"] * ECE_BINS).astype(int), ECE_BINS - 1)
    return float(rows["overconfidence"].groupby(bins).sum().abs().sum() / len(rows))


def reliability(table: pd.DataFrame, edges: Sequence[float] = EDGES) -> pd.DataFrame:
    """Of all words to which the model gives about q, what share comes true? A row for each bin of q between ``edges``.

    Columns: n (rows of ``compare``'s table in the bin), the means q and p, and ``low``, ``high``, the bootstrap
    interval of p over places. p = q is perfect calibration, p below q overconfidence. Bins with rows of fewer than two
    places are left out.
    """
    bins = np.minimum(np.searchsorted(edges, table["q"], side="right"), len(edges) - 1)  # q = 1 is of the last bin
    rows = []
    for _, group in table[bins > 0].groupby(bins[bins > 0]):
        of_place = group.groupby("place")["p"].agg(["sum", "count"])
        if len(of_place) > 1:
            p = bootstrap_interval(of_place["sum"], of_place["count"])
            rows.append((len(group), group["q"].mean(), *p))
    return pd.DataFrame(rows, columns=["n", "q", "p", "low", "high"])
