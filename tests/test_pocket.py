"""Pocket stories: the sampler, and the exact scorer made of the same program."""

import hashlib
import math
import re
from collections import Counter, defaultdict
from random import Random

import pytest

from pn_lib.data import pocket
from pn_lib.data.pocket import chooser
from pn_lib.data.pocket.chooser import Enumerator, Reader, Sampler
from pn_lib.data.pocket.content import POOLS, TEMPLATES, records
from pn_lib.data.pocket.templates import Language, Pool
from pn_lib.errors import InputError

PLOTS = re.findall(r"\w+", TEMPLATES["story"].split("[")[1])


@pytest.fixture(scope="module")
def stories() -> list[str]:
    return pocket.sample_stories(2000, seed=0)


def everything(program) -> dict[str, list[float]]:
    """Every text of a small program, with the log-weight of each sequence of choices that yields it."""
    texts = defaultdict(list)
    enumerator = Enumerator()
    for weight in enumerator.runs(program):
        texts[enumerator.text].append(weight)
    return texts


def toy(chooser) -> None:
    """ "ab" in two ways ("a" then "b", and "ab" at once), "aba" and "b" in one."""
    options = ["a", "ab", "b"]
    first = chooser.choose(3, lambda i: options[i])
    chooser.write(options[first])
    if first == 0:
        endings = ["b", "ba"]
        second = chooser.choose(2, lambda i: endings[i])
        chooser.write(endings[second])


# The weights of the first three ranks are 1/3, 1/4 and 1/5.
P_AB = 20 / 47 * 4 / 7 + 15 / 47
P_ABA = 20 / 47 * 3 / 7
P_B = 12 / 47


def cut(start: str, sizes: dict[str, int]) -> Language:
    """The language with short word lists (one word, or `sizes`) and only the first of all paraphrases but `start`'s."""
    templates = dict(TEMPLATES)
    for name in templates.keys() - {start}:
        while "[" in templates[name]:
            templates[name] = re.sub(r"\[([^\[\]|]*)[^\[\]]*\]", r"\1", templates[name])
    return Language(templates, {slot: pool.cut(sizes.get(slot, 1)) for slot, pool in POOLS.items()}, start)


def test_two_derivations_of_one_text_are_summed():
    texts = everything(toy)
    assert {text: len(weights) for text, weights in texts.items()} == {"ab": 2, "aba": 1, "b": 1}
    for text, p in {"ab": P_AB, "aba": P_ABA, "b": P_B}.items():
        assert math.exp(chooser.log_prob(toy, text)) == pytest.approx(p, rel=1e-5)
    assert chooser.log_prob(toy, "a") == chooser.log_prob(toy, "abab") == -math.inf


def test_prefix_probabilities_are_those_of_all_stories_that_begin_so():
    for prefix, p in {"": 1, "a": 1 - P_B, "ab": 1 - P_B, "aba": P_ABA, "b": P_B, "ba": 0}.items():
        assert math.exp(chooser.log_prob(toy, prefix, prefix=True)) == pytest.approx(p, rel=1e-5)


def test_sampling_follows_the_probabilities():
    rng, drawn = Random(0), Counter()
    for _ in range(4000):
        sampler = Sampler(rng)
        toy(sampler)
        drawn[sampler.text] += 1
    for text, p in {"ab": P_AB, "aba": P_ABA, "b": P_B}.items():
        assert abs(drawn[text] / 4000 - p) < 5 * math.sqrt(p * (1 - p) / 4000)


def test_probabilities_of_all_stories_of_a_small_vocabulary_sum_to_one():
    language = cut("story", {"hero": 2, "friend": 2, "colour": 2, "break": 2, "hiding": 2})
    texts = everything(language)
    assert len(texts) > 100
    for text, weights in texts.items():
        assert chooser.log_prob(language, text) == pytest.approx(chooser.log_sum(weights), abs=1e-9)
    total = math.fsum(math.exp(chooser.log_prob(language, text)) for text in texts)
    assert total == pytest.approx(1, abs=1e-9)


def test_probabilities_of_all_paraphrases_sum_to_one():
    language = cut("intro", {"hero": 3, "hobby": 2, "trait": 2})
    texts = everything(language)
    assert len(texts) > 1000
    total = math.fsum(math.exp(chooser.log_prob(language, text)) for text in texts)
    assert total == pytest.approx(1, abs=1e-9)


def test_next_characters_of_the_whole_language_sum_to_the_prefix(stories):
    alphabet = sorted(set("".join(stories)))
    for index, story in enumerate(stories[:12]):
        prefix = story[: len(story) * index // 12]
        following = [chooser.log_prob(pocket.STORIES, prefix + letter, prefix=True) for letter in alphabet]
        assert chooser.log_sum([p for p in following if p > -math.inf]) == pytest.approx(
            pocket.prefix_log_prob(prefix), abs=1e-9
        )


def test_sampled_stories_score_at_least_what_their_choices_weigh():
    rng = Random(1)
    for _ in range(200):
        sampler = Sampler(rng)
        pocket.STORIES(sampler)
        score = pocket.log_prob(sampler.text)
        assert sampler.log_weight - 1e-9 <= score < 0
        assert pocket.prefix_log_prob(sampler.text) >= score - 1e-9
        assert pocket.explain(sampler.text) is None


@pytest.mark.parametrize("plot", PLOTS)
def test_each_plot_ends_with_facts_of_its_beginning(plot):
    language = Language(TEMPLATES | {"story": f"<intro>{{break}}<{plot}>"}, POOLS)
    sampler = Sampler(Random(plot))
    telling = language(sampler)
    first = {}
    for position, mention in telling.mentions:
        first.setdefault(mention.slot, position)
    late = {mention.slot for position, mention in telling.mentions if position > telling.length * 2 / 3}
    assert len({slot for slot in late if first[slot] < telling.length / 2} - {"hero", "friend", "break"}) >= 1


def test_a_changed_fact_is_outside_the_language(stories):
    colours = [record["name"] for record in POOLS["colour"].options[""]]
    broken = 0
    for story in stories[:60]:
        for colour in colours:
            if story.count(f" {colour} ") < 2:
                continue
            beginning, end = story.rsplit(f" {colour} ", 1)
            for other in ("green", "blue"):
                if other != colour:
                    assert pocket.log_prob(f"{beginning} {other} {end}") == -math.inf
                    broken += 1
    assert broken > 20


def test_other_damage_is_outside_the_language_and_explained(stories):
    story = stories[0]
    assert pocket.log_prob("") == pocket.log_prob(story + " ") == pocket.log_prob(story[:-1]) == -math.inf
    position = story.index(" ", 300) + 1
    departure = pocket.explain(story[:position] + "xylophone " + story[position:])
    assert departure.position == position
    assert departure.found.startswith("xylophone ")
    assert any(story[position:].startswith(option) for option in departure.allowed)
    more = pocket.explain(story + " And then?")
    assert more.found.endswith(" And then?")
    assert any(story.endswith(option) for option in more.allowed)
    assert pocket.explain(story[:position]).found == ""


def test_consistency_probes_have_one_possible_ending():
    for seed in range(40):
        beginning, right, wrong = pocket.consistency_probe(seed)
        assert math.isfinite(pocket.prefix_log_prob(beginning + right))
        assert pocket.prefix_log_prob(beginning + wrong) == -math.inf
        assert right != wrong and not beginning.endswith(" ")
    assert pocket.consistency_probe(7) == pocket.consistency_probe(7) != pocket.consistency_probe(8)


def test_stories_are_fixed_by_their_seed():
    assert pocket.sample_story(3) == pocket.sample_stories(2, 3)[0]
    assert pocket.sample_stories(5, 3) == pocket.sample_stories(9, 3)[:5]
    assert pocket.sample_story(3) != pocket.sample_story(4)
    # Written out, so that another Python version that drew something else would be noticed.
    assert pocket.sample_story(0).startswith(
        "Once there was a helpful girl called Emma. She liked to count the clouds.\n\nBut Emma was afraid of one thing"
    )


@pytest.mark.parametrize(
    ("seed", "digest"),
    [
        (0, "d49d3bd285ca614fbcf41640588b2700927912eeac8c064e881c9c77b2747f4d"),
        (1, "c31fa2c63e5213777fe902dd2dce177c4137031113f6ae14d2f226ea0de22927"),
    ],
)
def test_the_corpus_is_that_of_the_published_results(seed, digest):
    """Whoever means to change a word or a plot writes the new digests down here, and publishes all results again."""
    told = "\0".join(pocket.sample_stories(2000, seed))
    assert hashlib.sha256(told.encode()).hexdigest() == digest


def test_the_probabilities_are_those_of_the_published_results():
    nats = [-54.16223030398552, -51.370971873518734, -50.73514397452396]
    assert [pocket.log_prob(story) for story in pocket.sample_stories(3, 0)] == pytest.approx(nats, rel=1e-12)


def test_words_of_every_story_are_bounded(stories):
    fewest, most = pocket.STORIES.words_range()
    lengths = [len(story.split()) for story in stories]
    assert 60 <= fewest <= min(lengths) and max(lengths) <= most <= 200
    small = cut("intro", {"hero": 4, "hobby": 4})
    lengths = [len(text.split()) for text in everything(small)]
    assert small.words_range()[0] <= min(lengths) <= max(lengths) <= small.words_range()[1]


def test_there_are_more_stories_than_anyone_can_remember(stories):
    assert pocket.STORIES.count() > 10**12
    assert len(set(stories)) == len(stories)
    small = cut("intro", {"hero": 3, "hobby": 2, "trait": 2})
    assert small.count() == sum(map(len, everything(small).values()))
    whole = cut("story", {"hero": 2, "friend": 2, "colour": 2})
    assert 50 < whole.count() <= sum(map(len, everything(whole).values()))


def test_stories_are_clean_english(stories):
    for story in stories:
        assert not re.search(r"  | [,.!?]|[{}\[\]|<>]|\n\n\n| \n|\n ", story), story
        assert story.count('"') % 2 == 0
        assert story[0].isupper() and story[-1] in '.!?"'
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]|\b(\w+) \1\b", story, re.I), story
        assert not re.search(r"[.!?] [a-z]", story), story
    assert {len(story.split("\n\n")) == 1 for story in stories} == {True, False}


def test_entropy_agrees_with_itself_within_its_error():
    one, other = pocket.entropy(300, seed=1), pocket.entropy(300, seed=2)
    assert 60 < one.bits_per_story < 110 and one.stories == 300
    assert 0 < one.standard_error < 1
    assert abs(one.bits_per_story - other.bits_per_story) < 4 * math.hypot(one.standard_error, other.standard_error)
    assert abs(one.bits_per_byte - other.bits_per_byte) < 4 * math.hypot(
        one.bits_per_byte_error, other.bits_per_byte_error
    )
    with pytest.raises(InputError, match="at least 2"):
        pocket.entropy(1, seed=0)


def test_the_friend_is_never_the_hero():
    rng = Random(5)
    for _ in range(300):
        telling = pocket.STORIES(Sampler(rng))
        assert telling.facts["hero"] != telling.facts["friend"]
        spots = [telling.facts[slot]["name"] for slot in ("spot", "wrong", "empty") if slot in telling.facts]
        assert len(spots) == len(set(spots))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("A {wombat}.", "no word list holds {wombat}"),
        ("A {word.plural}.", "no word list holds {word.plural}"),
        ("A [dog|cat.", "never closed"),
        ("A dog|cat].", "no \\[ opens"),
        ("A <nothing>.", "<nothing>"),
    ],
)
def test_a_faulty_template_is_named(template, message):
    with pytest.raises(InputError, match=message):
        Language({"story": template}, {"word": Pool({"": ({"name": "dog"},)})})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"forms": "name past", "words": "dance / danced\nsing"}, "list [tricks] of the Pocket stories: 'sing'"),
        ({"forms": "name he", "words": "Mia / they"}, "Mia must be she or he, not they"),
    ],
)
def test_a_faulty_word_list_is_named(entry, message):
    with pytest.raises(InputError, match=re.escape(message)):
        records("tricks", entry)


def test_a_template_remembers_and_inflects():
    words = Pool({"": ({"name": "owl", "many": "owls"},)})
    assert list(
        everything(
            Language(
                {"story": "{A bird}!\n\nTwo\n{bird.many}. {Bird}."},
                {"bird": words, "break": Pool({"": ({"name": "\n\n"},)})},
            )
        )
    ) == ["An owl!\n\nTwo owls. Owl."]


def test_a_reader_follows_only_what_fits():
    reader = Reader(pocket.sample_story(0))
    assert len(list(reader.runs(pocket.STORIES))) >= 1
    assert not reader.pending
