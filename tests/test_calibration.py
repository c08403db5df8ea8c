"""A model's next word against the source's: models that believe what they are told to, sums by hand, known tables."""

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch

from pn_lib.data import pocket
from pn_lib.data.tokenizer import pre_tokens, train_tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation import calibration
from pn_lib.evaluation.calibration import at_places, compare, places, reliability, summarise
from pn_lib.models.base import LanguageModel
from pn_lib.models.likelihood import sequence_nats
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

STORIES = pocket.sample_stories(60, seed=21)
LILY = "Long ago, there lived a kind girl named Lily. She"  # goes on with " loved" (4/7) or " liked" (3/7)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES, 400)


@dataclass(frozen=True)
class BelieverConfig:
    vocab_size: int


class Believer(LanguageModel):
    """Behind each place it expects words as it is told to, and anything at all elsewhere."""

    name = "believer"

    def __init__(self, tokenizer, beliefs):
        super().__init__(BelieverConfig(tokenizer.vocab_size))
        self.weights = defaultdict(lambda: defaultdict(float))  # tokens so far: those that follow
        for prefix, words in beliefs.items():
            for word, p in words.items():
                tokens = [tokenizer.separator_id, *tokenizer.encode(prefix)]
                for token in [*tokenizer.encode(word), tokenizer.separator_id]:  # each word may be the last one
                    self.weights[tuple(tokens)][token] += p
                    tokens.append(token)

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, self.config.vocab_size)
        for b, row in enumerate(ids.tolist()):
            for t in range(len(row)):
                if (weights := self.weights.get(tuple(row[: t + 1]))) is not None:
                    logits[b, t] = -torch.inf
                    logits[b, t, list(weights)] = torch.tensor(list(weights.values())).log()
        return logits


def all_places(story):
    words = pre_tokens(story)
    return ["".join(words[:i]) for i in range(len(words) + 1)]


def far_places(n):
    """Places of as many stories, none of them the beginning of another."""
    return [prefix for prefix in places(STORIES, 2 * n, seed=0) if len(prefix) > 150][:n]


def test_places_lie_evenly_and_are_the_same_for_a_seed():
    assert sorted(places(STORIES[:1], len(pre_tokens(STORIES[0])) + 1, seed=5), key=len) == all_places(STORIES[0])
    drawn = places(STORIES, 60, seed=1)
    owners = [[i for i, story in enumerate(STORIES) if prefix in set(all_places(story))] for prefix in drawn]
    assert all(owners) and len({those[0] for those in owners if len(those) == 1}) > 50  # short ones are of several
    shares = sorted(len(prefix) / len(STORIES[those[0]]) for prefix, those in zip(drawn, owners, strict=True))
    assert max(abs(share - (i + 0.5) / 60) for i, share in enumerate(shares)) < 0.1
    assert places(STORIES, 60, seed=1) == drawn != places(STORIES, 60, seed=2)
    assert len(places(STORIES[:2], 5, seed=0)) == 5
    for stories, n in (([], 3), (STORIES, 0)):
        with pytest.raises(InputError, match="at least one"):
            places(stories, n, seed=0)


def test_the_source_itself_is_perfect(tokenizer):
    drawn = far_places(30)
    table = compare(Believer(tokenizer, {prefix: pocket.next_words(prefix) for prefix in drawn}), tokenizer, drawn, 512)
    assert table["q"].to_numpy() == pytest.approx(table["p"].to_numpy(), abs=1e-6)
    for place, rows in table.groupby("place"):
        assert dict(zip(rows["word"], rows["p"], strict=True)) == pocket.next_words(drawn[place])
    for group in summarise(table).values():
        for measure in ("kl", "leak", "overconfidence", "ece"):
            assert np.abs(group[measure]).max() < 1e-5
    diagram = reliability(table)
    assert diagram["q"].to_numpy() == pytest.approx(diagram["p"].to_numpy(), abs=1e-6)


def test_words_that_begin_others_are_told_apart():
    """With bytes for tokens " a" begins " an", "I" begins "It" and so on: each is to have its own probability."""
    bytes_only = train_tokenizer(STORIES, 257)
    drawn = []
    for prefix in (prefix for story in STORIES[:9] for prefix in all_places(story)[30:]):
        words = list(pocket.next_words(prefix))
        if any(other.startswith(word) for word in words for other in words if word != other):
            drawn.append(prefix)
    assert len(drawn) >= 12
    for prefix in drawn:
        words = pocket.next_words(prefix)
        unlike = dict(zip(words, reversed(words.values()), strict=True))  # a belief other than the truth
        table = compare(Believer(bytes_only, {prefix: unlike}), bytes_only, [prefix], 2048)
        assert dict(zip(table["word"], table["q"], strict=True)) == pytest.approx(unlike, abs=1e-6)


def test_divergence_and_leak_by_hand(tokenizer):
    model = Believer(tokenizer, {LILY: {" loved": 0.2, " liked": 0.3, " likes": 0.1, " was": 0.3, "": 0.1}})
    table = compare(model, tokenizer, [LILY], 512)
    assert table["word"].tolist()[:2] == [" loved", " liked"] and "" in table["word"].tolist()
    assert table["p"].tolist() == pytest.approx([4 / 7, 3 / 7] + [0] * (len(table) - 2), abs=1e-6)
    assert table["q"].tolist()[:2] == pytest.approx([0.2, 0.3], abs=1e-6)
    assert table["q"].sum() == pytest.approx(1, abs=1e-6)
    assert table.set_index("word")["q"][""] == pytest.approx(0.1, abs=1e-6)
    [row] = at_places(table).itertuples()
    assert row.options == 2 and row.leak == pytest.approx(0.5, abs=1e-6)
    assert row.entropy == pytest.approx(4 / 7 * math.log2(7 / 4) + 3 / 7 * math.log2(7 / 3), abs=1e-6)
    assert row.kl == pytest.approx(4 / 7 * math.log2(20 / 7) + 3 / 7 * math.log2(10 / 7), abs=1e-5)


def test_the_likeliest_word_may_be_impossible(tokenizer):
    sure = compare(Believer(tokenizer, {LILY: {" loved": 0.3, " Zoe": 0.7}}), tokenizer, [LILY], 512)
    [row] = at_places(sure).itertuples()
    assert (row.confidence, row.truth) == pytest.approx((0.7, 0), abs=1e-6)
    right = compare(Believer(tokenizer, {LILY: {" loved": 0.7, " Zoe": 0.3}}), tokenizer, [LILY], 512)
    [row] = at_places(right).itertuples()
    assert (row.confidence, row.truth) == pytest.approx((0.7, 4 / 7), abs=1e-6)


def test_that_a_word_begins_is_given(tokenizer):
    model = Believer(tokenizer, {LILY: {" loved": 0.5, " liked": 0.5}})
    head = (tokenizer.separator_id, *tokenizer.encode(LILY))
    [letter] = tokenizer.encode("s")
    model.weights[head][letter] = 4.0  # "Shes": another word where the prefix ends
    assert compare(model, tokenizer, [LILY], 512)["q"].tolist() == pytest.approx([0.5, 0.5], abs=1e-6)
    model.weights[(*head, *tokenizer.encode(" loved"))][letter] = 1.5  # three times in four it goes on, "loveds"
    assert compare(model, tokenizer, [LILY], 512)["q"].tolist()[:2] == pytest.approx([0.125, 0.5], abs=1e-6)


def test_uniform_model_by_hand():
    bytes_only = train_tokenizer(STORIES, 257)
    table = compare(NGram(NGramConfig(257)), bytes_only, [LILY], 64)
    share = (257 - 52) / 257  # a letter goes on with the word, any other byte or the separator does not
    for q in table["q"][:2]:
        assert q == pytest.approx(257**-6 * share / share, rel=1e-5)
    assert len(table) == 2 + 257 - 52 and table["q"].sum() == pytest.approx(1, abs=1e-6)
    [row] = at_places(table).itertuples()
    assert row.kl == pytest.approx(6 * math.log2(257) - row.entropy, rel=1e-5)


def test_words_of_a_story_multiply_to_what_the_model_gives_it(tokenizer):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(tokenizer.vocab_size, context=512, d_model=16, n_layers=1, n_heads=2))
    table = compare(model, tokenizer, all_places(STORIES[0]), 512).set_index(["place", "word"])["q"]
    nats = -sum(math.log(table[place, word]) for place, word in enumerate([*pre_tokens(STORIES[0]), ""]))
    ends = [tokenizer.separator_id]
    assert nats == pytest.approx(sequence_nats(model, [ends + tokenizer.encode(STORIES[0]) + ends], 512)[0], rel=1e-5)
    assert table.groupby("place").sum().max() < 1 + 1e-5


def test_tokens_that_begin_a_word_are_those_of_the_expression(tokenizer):
    kinds = calibration._first_kinds(tokenizer)
    texts = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    words = {word for story in STORIES for word in pre_tokens(story)} - {"'s", "'t", "'ll"}
    assert len(words) > 300
    for word in words:
        begins = calibration._begins(kinds, word)
        for i in range(tokenizer.vocab_size):
            if i != tokenizer.separator_id and re.fullmatch(r"[ -&(-~\n]+", texts[i]):  # all but "'"
                assert begins[i] == (pre_tokens(word + texts[i] + "x")[0] == word), (word, texts[i])
    assert calibration._begins(kinds, "").all() and calibration._begins(kinds, "Sam")[tokenizer.separator_id]


def test_a_model_sees_what_its_context_holds(tokenizer):
    bigram = NGram(NGramConfig(tokenizer.vocab_size, 2, tokenizer.separator_id)).fit(stream(tokenizer, STORIES))
    drawn = far_places(5)
    pd.testing.assert_frame_equal(compare(bigram, tokenizer, drawn, 512), compare(bigram, tokenizer, drawn, 12))
    short = Transformer(TransformerConfig(tokenizer.vocab_size, context=16, d_model=16, n_layers=1, n_heads=2))
    assert len(compare(short, tokenizer, drawn, 16)) and short.training
    with pytest.raises(InputError, match="context of 1 tokens"):
        compare(bigram, tokenizer, drawn, 1)


def test_what_cannot_be_compared(tokenizer):
    model = NGram(NGramConfig(tokenizer.vocab_size))
    for prefix in ("Once upon a tree", "Onc"):
        with pytest.raises(InputError, match=f"no Pocket story has a word that ends with '{prefix}'"):
            compare(model, tokenizer, ["Once", prefix], 512)
    with pytest.raises(InputError, match="give the one it was trained with"):
        compare(NGram(NGramConfig(7)), tokenizer, ["Once"], 512)


def test_longer_contexts_are_closer_to_the_source(tokenizer):
    training = stream(tokenizer, pocket.sample_stories(400, seed=22))
    drawn = places(STORIES, 60, seed=3)
    found = {}
    for order in (1, 2, 4):
        model = NGram(NGramConfig(tokenizer.vocab_size, order)).fit(training)
        found[order] = summarise(compare(model, tokenizer, drawn, 512))["all"]
    for measure in ("kl", "leak"):
        assert found[1][measure].low > found[2][measure].high and found[2][measure].low > found[4][measure].value > 0


def stream(tokenizer, stories):
    """As an n-gram model wants them."""
    return np.array([tokenizer.separator_id, *chain.from_iterable(tokenizer.encode_batch(stories))])


def rows(*places):
    """A table of places, each some (p, q)."""
    return pd.DataFrame(
        [(i, f"{j}", p, q) for i, place in enumerate(places) for j, (p, q) in enumerate(place)],
        columns=["place", "word", "p", "q"],
    )


def test_summary_by_hand():
    table = rows(
        [(1.0, 0.5), (0.0, 0.25)], [(1.0, 0.25), (0.0, 0.75)], [(0.5, 0.72), (0.5, 0.28)], [(0.5, 0.78), (0.5, 0.2)]
    )
    found = summarise(table)
    assert {name: group["places"] for name, group in found.items()} == {"all": 4, "free": 2, "determined": 2}
    assert found["determined"]["kl"].value == pytest.approx((1 + 2) / 2)
    assert found["determined"]["leak"].value == pytest.approx((0.5 + 0.75) / 2)
    assert found["free"]["leak"].value == pytest.approx(0.01)
    assert found["free"]["entropy"] == pytest.approx((1, 1, 1)) and found["determined"]["entropy"] == (0, 0, 0)
    assert found["all"]["overconfidence"].value == pytest.approx((-0.5 + 0.75 + 0.22 + 0.28) / 4)
    # Bins of a tenth: 0.5 comes always; 0.72, 0.75 and 0.78 come with 1/2, 0 and 1/2.
    assert found["all"]["ece"] == pytest.approx((0.5 + (0.22 + 0.75 + 0.28)) / 4)
    assert found["determined"]["kl"].low == 1 and found["determined"]["kl"].high == 2
    assert summarise(rows([(1.0, 1.0)], [(1.0, 1.0)], [(0.5, 0.5), (0.5, 0.5)])).keys() == {"all", "determined"}


def test_confidence_of_one_is_of_the_last_bin():
    table = rows([(1.0, 0.95)], [(0.0, 1.0), (1.0, 1e-9)])  # both are sure, one is right
    assert summarise(table)["all"]["ece"] == pytest.approx((0.95 + 1.0 - 1.0) / 2)


def test_rounding_leaks_nothing():
    assert at_places(rows([(1.0, 1.0000001)]))["leak"].tolist() == [0]


def test_what_a_model_rules_out_costs_without_end():
    assert at_places(rows([(1.0, 0.0)]))["kl"].tolist() == [math.inf]


def test_reliability_by_hand():
    table = rows([(1.0, 0.5), (0.0, 0.05)], [(0.8, 0.4), (0.2, 0.04), (0.0, 1e-5)], [(1.0, 1.0)], [(1.0, 0.06)])
    diagram = reliability(table, edges=(0.01, 0.1, 0.6, 1.0))
    assert diagram["n"].tolist() == [3, 2] and diagram.columns.tolist() == ["n", "q", "p", "low", "high"]
    assert diagram["q"].tolist() == pytest.approx([0.05, 0.45])
    assert diagram["p"].tolist() == pytest.approx([0.4, 0.9])
    assert (diagram["low"] < diagram["p"]).all() and (diagram["p"] < diagram["high"]).all()
    assert reliability(table, edges=(0.01, 0.1, 0.4, 1.0))["n"].tolist() == [3, 3]  # 0.4 and 1 are of the last bin


def test_calibration_needs_no_knowledge(tokenizer):
    """Who expects at every place what comes on average knows nothing and is calibrated all the same."""
    drawn, average, begun = [], defaultdict(float), set()
    for prefix in far_places(40):
        words = pocket.next_words(prefix)
        first = {tokenizer.encode(word)[0] for word in words if word[:1] == " "}  # they may begin anywhere
        if len(first) == len(words) and not first & begun:  # so that everywhere each has a row of its own
            drawn.append(prefix)
            begun |= first
            for word, p in words.items():
                average[word] += p
    average = {word: p / len(drawn) for word, p in average.items()}
    table = compare(Believer(tokenizer, dict.fromkeys(drawn, average)), tokenizer, drawn, 512)
    assert len(drawn) > 8 and len(table) == len(drawn) * len(average)
    diagram = reliability(table)
    assert len(diagram) > 1 and diagram["p"].to_numpy() == pytest.approx(diagram["q"].to_numpy(), rel=1e-5)
    assert summarise(table)["all"]["kl"].value > 3
