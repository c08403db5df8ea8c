"""Probes: the items give nothing away, scores are what hand and brute force find, Pocket foils are impossible."""

import json
import math
import re
from collections import Counter, defaultdict
from random import Random

import pandas as pd
import pytest
import torch

from pn_lib.data import pocket
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation import probes as module
from pn_lib.evaluation.probes import KINDS, Probe, accuracy, load_probes, pocket_probes, score_probes
from pn_lib.models.base import LanguageModel
from pn_lib.models.loading import open_model
from pn_lib.models.transformer import Transformer, TransformerConfig

CLOZES = [kind for kind in KINDS if kind != "grammar"]
BALANCED = {
    "agreement",
    "agreement across a noun",
    "past and participle",
    "pronoun gender",
    "reflexives",
    "determiners and nouns",
    "a and an",
    "case",
}
SOUNDS = Probe("facts", "animals", 'The dog said, "', "Woof", ("Moo", "Baa"))


class Letters:
    """A tokenizer of ASCII characters."""

    vocab_size, separator_id = 128, 0

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(map(chr, ids))


class Unigram(LanguageModel):
    """ "a" has probability 1/2, "b" and "c" 1/8 each, whatever came before; the rest share what is left."""

    name = "unigram"

    def forward(self, ids):
        p = torch.full((Letters.vocab_size,), 0.25 / 125)
        p[[ord(letter) for letter in "abc"]] = torch.tensor([0.5, 0.125, 0.125])
        return p.log().expand(*ids.shape, -1)


def score(*probes, model=None):
    return score_probes(model or Unigram(None), Letters(), probes, context=16)


def test_there_are_enough_of_each():
    for kind in CLOZES:
        assert len(load_probes(kind)) >= 50
        assert all(len(probe.foils) == 3 for probe in load_probes(kind))
    counts = Counter(probe.phenomenon for probe in load_probes("grammar"))
    assert len(counts) >= 8 and min(counts.values()) >= 20


@pytest.mark.parametrize("kind", CLOZES)
def test_beginnings_and_options_fit_together(kind):
    for probe in load_probes(kind):
        assert re.search(r'[A-Za-z,]$|(^| )"$', probe.beginning), probe
        assert probe.beginning.count('"') % 2 == 1 or not probe.beginning.endswith('"'), probe
        assert len({len(option.split()) for option in probe.options}) == 1, probe
        for text in (probe.beginning, *probe.options):
            assert text.isascii() and "  " not in text, probe
        assert all(re.fullmatch(r"[A-Za-z ]+", option) for option in probe.options), probe


@pytest.mark.parametrize("kind", CLOZES)
def test_length_does_not_give_the_answer_away(kind):
    items = load_probes(kind)
    for extreme in (min, max):
        right = 0.0
        for probe in items:
            lengths = [len(option) for option in probe.options]
            right += (lengths[0] == extreme(lengths)) / lengths.count(extreme(lengths))
        assert 0.18 < right / len(items) < 0.32, extreme


def test_order_and_number_of_mentions_do_not_give_the_answer_away():
    items = [probe for probe in load_probes("tracking") if probe.phenomenon != "what was mentioned"]
    right = Counter()
    for probe in items:
        found = [
            [match.start() for match in re.finditer(rf"\b{option}\b", probe.beginning)] for option in probe.options
        ]
        assert all(found), f"a foil that is not mentioned: {probe}"
        for guess, of in {
            "first": lambda at: -at[0],
            "last": lambda at: at[-1],
            "most": len,
            "least": lambda at: -len(at),
        }.items():
            values = [of(at) for at in found]
            right[guess] += (values[0] == max(values)) / values.count(max(values))
    assert all(0.1 < count / len(items) < 0.4 for count in right.values()), right


def test_pairs_are_minimal_and_balanced():
    balance = defaultdict(Counter)
    for probe in load_probes("grammar"):
        good, bad = probe.texts
        assert probe.beginning == "" and re.fullmatch(r"[A-Z][A-Za-z', ]+[.!?]", good), probe
        assert len(good.split()) == len(bad.split()) and good.isascii() and bad.isascii(), probe
        good, bad = (Counter(re.findall(r"[a-z']+", text.lower())) for text in (good, bad))
        assert (good - bad).total() <= 1, probe
        balance[probe.phenomenon].update(good - bad)
        balance[probe.phenomenon].subtract(bad - good)
    assert balance.keys() >= BALANCED
    for phenomenon in BALANCED:
        assert not any(balance[phenomenon].values()), (phenomenon, balance[phenomenon])


def test_nothing_is_there_twice():
    texts = [probe.texts[0].lower() for kind in KINDS for probe in load_probes(kind)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "facts"', "line 2 is no JSON"),
        ('{"kind": "facts", "phenomenon": "x", "beginning": "A", "answer": "b"}', "line 2: foils is missing"),
        ('{"kind": "wants", "phenomenon": "x", "beginning": "A", "answer": "b", "foils": ["c"]}', "of kind 'wants'"),
        ('{"kind": "facts", "phenomenon": "x", "beginning": "A", "answer": "b", "foils": []}', "no foil"),
        ('{"kind": "facts", "phenomenon": "x", "beginning": "A ", "answer": "b", "foils": ["c"]}', "ends with a space"),
        ('{"kind": "facts", "phenomenon": "x", "beginning": "A", "answer": " b", "foils": ["c"]}', "spaces around"),
        ('{"kind": "facts", "phenomenon": "x", "beginning": "A", "answer": "cat", "foils": ["Cat"]}', "begins another"),
        (
            '{"kind": "facts", "phenomenon": "x", "beginning": "A", "answer": "cats", "foils": ["cat"]}',
            "begins another",
        ),
        (
            '{"kind": "facts", "phenomenon": "x", "beginning": "A", "answer": "b", "foils": ["c", "C"]}',
            "hold one twice",
        ),
        (
            json.dumps({"kind": "facts", "phenomenon": "x", "beginning": "The", "answer": "dog", "foils": ["hen"]}),
            "twice",
        ),
    ],
)
def test_a_faulty_line_is_named(line, message, tmp_path, monkeypatch):
    first = {"kind": "facts", "phenomenon": "x", "beginning": "The", "answer": "dog", "foils": ["cat"]}
    (tmp_path / "facts.jsonl").write_text(json.dumps(first) + "\n" + line + "\n")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        load_probes("facts")
    assert "facts.jsonl, line 2" in str(error.value)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="known are facts, reasoning"):
        load_probes("jokes")


def test_texts_are_joined_as_they_are_written():
    def joined(beginning):
        return Probe("k", "p", beginning, "Yes", ("No",)).texts[0]

    assert joined("") == "Yes" and joined('He said, "') == 'He said, "Yes' and joined("End.\n\n") == "End.\n\nYes"
    assert joined('"Hi," he said.') == '"Hi," he said. Yes' and joined('"Hi!"') == '"Hi!" Yes'
    assert SOUNDS.texts == ['The dog said, "Woof', 'The dog said, "Moo', 'The dog said, "Baa']


def test_margins_are_those_computed_by_hand():
    scores = score(
        Probe("k", "p", "x", "aa", ("ab", "bb")),
        Probe("k", "p", "", "cab", ("bac",)),
        Probe("k", "p", "x", "ba", ("ca", "ac")),
    )
    # The shared "a" of aa and ab counts, for bb has none; cab and bac are equally likely, and so wrong.
    assert scores["margin"].tolist() == pytest.approx([math.log(4), 0, 0], abs=1e-6)
    assert scores["correct"].tolist() == [True, False, False]
    assert scores["chance"].tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 3])
    assert score(Probe("k", "p", "x", "ab", ("aa", "b"))).loc[0, "margin"] == pytest.approx(-math.log(4))


def test_no_probe_is_refused():
    with pytest.raises(InputError, match="no probe"):
        score()


def test_scores_agree_with_whole_texts_one_by_one():
    tokenizer = train_tokenizer(pocket.sample_stories(100, seed=2), 400)
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(tokenizer.vocab_size, context=512, d_model=16, n_layers=1, n_heads=2)).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(5)  # opinions, though wrong ones
    items = [*load_probes("grammar")[::11], *load_probes("facts")[::4]]

    @torch.no_grad()
    def nats(text):
        ids = [tokenizer.separator_id, *tokenizer.encode(text)]
        log_probs = torch.log_softmax(model(torch.tensor([ids[:-1]])).double(), -1)
        return -sum(log_probs[0, t, token].item() for t, token in enumerate(ids[1:]))

    scores = score_probes(model, tokenizer, items, context=512)
    for probe, margin in zip(items, scores["margin"], strict=True):
        answer, *foils = map(nats, probe.texts)
        assert margin == pytest.approx(min(foils) - answer, abs=1e-4)
    assert 0 < scores["correct"].mean() < 1


def test_the_order_of_probes_and_foils_does_not_matter():
    items = [SOUNDS, Probe("k", "p", "a", "ab", ("ba", "cc"))]
    turned = [Probe(p.kind, p.phenomenon, p.beginning, p.answer, p.foils[::-1]) for p in items[::-1]]
    assert score(*turned)["margin"].tolist()[::-1] == pytest.approx(score(*items)["margin"].tolist())


def test_accuracy_counts_by_column():
    scores = pd.DataFrame(
        {
            "kind": list("xxxyy"),
            "phenomenon": list("ababa"),
            "chance": [0.5, 0.5, 0.5, 0.25, 0.25],
            "correct": [True, True, False, False, False],
        }
    )
    table = accuracy(scores)
    assert table.index.tolist() == ["x", "y"] and table["n"].tolist() == [3, 2]
    assert table["value"].tolist() == pytest.approx([2 / 3, 0]) and table["chance"].tolist() == [0.5, 0.25]
    assert table.loc["x", "low"] < 2 / 3 < table.loc["x", "high"]
    assert accuracy(scores, by="phenomenon").loc["a", "chance"] == pytest.approx(1.25 / 3)


def test_foils_of_pocket_stories_are_impossible_and_answers_are_not():
    items = pocket_probes(28, seed=5)
    assert len(items) == 56 and items == pocket_probes(28, seed=5) and items[:3] == pocket_probes(3, seed=5)[:3]
    assert items[28:31] == pocket_probes(3, seed=5)[3:] and items != pocket_probes(28, seed=6)
    for probe in items:
        right, *wrong = map(pocket.prefix_log_prob, probe.texts)
        assert math.isfinite(right) and all(p == -math.inf for p in wrong), probe
        assert 0 < probe.distance < len(probe.beginning)
        assert len(probe.foils) == (3 if probe.kind == "facts of the story" else 1)
    assert set(Counter(probe.phenomenon for probe in items[:28]).values()) == {4}


def test_a_foil_with_which_the_answer_begins_is_possible_and_so_left_out():
    gaps = [pocket.fact_gap(Random(seed), ["toy"], 3) for seed in range(150)]
    balloons = [gap for gap in gaps if gap.right == "balloon"]
    assert len(balloons) > 5 and not any("ball" in gap.wrong for gap in balloons)


def test_the_commonest_fact_is_no_better_guess_than_another():
    ranks = {record["name"]: rank for rank, record in enumerate(pocket.POOLS["colour"].options[""])}
    right = 0
    for seed in range(300):
        gap = pocket.fact_gap(Random(seed), ["colour"], 3)
        options = [ranks[option.split()[-1].lower()] for option in (gap.right, *gap.wrong)]
        right += options[0] == min(options)
    assert 0.18 < right / 300 < 0.32


def test_distance_leads_back_to_the_last_mention():
    for probe in pocket_probes(140, seed=1)[:140]:
        if probe.phenomenon == "color":
            start, color = len(probe.texts[0]) - len(probe.answer), probe.answer.split()[-1].lower()
            mention = probe.texts[0][start - probe.distance : start]
            assert re.match(rf"(an? )?{color}\b", mention, re.I)
            assert len(re.findall(rf"\b{color}\b", mention, re.I)) == 1


def test_pronouns_are_asked_where_both_genders_were_heard_of():
    for probe in pocket_probes(40, seed=2)[40:]:
        assert {probe.answer.lower(), probe.foils[0].lower()} in ({"he", "she"}, {"him", "her"}, {"his", "her"})
        people = [record for slot in ("hero", "giver", "helper") for record in pocket.POOLS[slot].options[""]]
        genders = {record["he"] for record in people if re.search(rf"\b{record['name']}\b", probe.beginning, re.I)}
        assert genders == {"he", "she"}, probe


def test_slots_of_pocket_facts_exist():
    slots = [slot for group in module.POCKET_FACTS.values() for slot in group]
    assert len(slots) == len(set(slots)) and set(slots) <= pocket.POOLS.keys()


def test_a_model_of_stories_beats_guessing(stories260k_dir):
    model, tokenizer = open_model(stories260k_dir / "stories260K.bin")
    items = [probe for kind in KINDS for probe in load_probes(kind)]
    table = accuracy(score_probes(model, tokenizer, items, context=512))
    for kind in ("facts", "reasoning", "grammar"):
        assert table.loc[kind, "low"] > table.loc[kind, "chance"], kind
