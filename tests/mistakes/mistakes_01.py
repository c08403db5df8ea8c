"""Typical wrong answers to the exercises of notebook 01, and a piece of the message that each must get."""

import hashlib
import math
import re
from collections import Counter, defaultdict
from itertools import pairwise
from random import Random

from pn_lib.course.checks import data_exploration as checks


def spoken(story, pattern=r'["“]([^"“”]*)["”]', size=lambda text: len(text.split())):
    words = size(story)
    return sum(size(part) for part in re.findall(pattern, story)) / words if words else 0.0


def spoken_until_a_word_ends_with_a_mark(story):
    count, inside = 0, False
    for word in story.split():
        inside = inside or word[0] in '"“'
        count += inside
        inside = inside and word[-1] not in '"”'
    return count / max(1, len(story.split()))


def by_hash(stories, count, key):
    chosen = set(sorted(stories, key=key)[:count])
    return [story for story in stories if story not in chosen], [story for story in stories if story in chosen]


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def fair(stories, count, seed):
    return by_hash(stories, count, lambda story: digest(f"{seed} {story}"))


def in_order_of_hash(stories, count, seed):
    ordered = sorted(stories, key=lambda story: digest(f"{seed} {story}"))
    return ordered[count:], ordered[:count]


def shuffled_in_place(stories, count, seed):
    Random(seed).shuffle(stories)
    return stories[count:], stories[:count]


def sampled(stories, count, seed):
    chosen = Random(seed).sample(stories, count)
    return [story for story in stories if story not in chosen], chosen


def another_each_time(stories, count, seed):
    chosen = Random().sample(stories, count)
    return [story for story in stories if story not in chosen], chosen


def bits(text, probability, log=math.log2, size=lambda text: len(text.encode()), context=lambda text, i: text[:i]):
    chances = [probability(context(text, i), letter) for i, letter in enumerate(text)]
    return sum(-log(p) if p else math.inf for p in chances) / max(1, size(text))


def bits_of_the_product(text, probability):
    return -math.log2(math.prod(probability(text[:i], letter) for i, letter in enumerate(text))) / len(text.encode())


def bits_of_the_mean(text, probability):
    chances = [probability(text[:i], letter) for i, letter in enumerate(text)]
    return -math.log2(sum(chances) / len(chances)) * len(text) / len(text.encode())


def bits_without_care(text, probability):
    return sum(-math.log2(probability(text[:i], letter)) for i, letter in enumerate(text)) / len(text.encode())


def bits_from_the_second_letter_on(text, probability):
    chances = [0.5] + [probability(text[:i], text[i]) for i in range(1, len(text))]
    return sum(-math.log2(p) for p in chances) / len(text.encode())


def conditional(text, log=math.log2, firsts=lambda text: text[:-1]):
    pairs, first = Counter(pairwise(text)), Counter(firsts(text))
    return -sum(n * log(n / first[a]) for (a, _), n in pairs.items()) / sum(pairs.values())


def given_the_letter_after(text):
    pairs, second = Counter(pairwise(text)), Counter(text[1:])
    return -sum(n * math.log2(n / second[b]) for (_, b), n in pairs.items()) / sum(pairs.values())


def joint(text):
    pairs = Counter(pairwise(text))
    total = sum(pairs.values())
    return conditional(text) and -sum(n / total * math.log2(n / total) for n in pairs.values())


def of_single_letters(text):
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def counted(stories, longest, shortest=0, end=True):
    counts = defaultdict(Counter)
    for story in stories:
        for i, letter in enumerate(story):
            for k in range(min(shortest, i), min(longest, i) + 1):
                counts[story[i - k : i] if end else story[:k]][letter] += 1
    return counts


def one_length(stories, alphabet, k=3, added=1.0, size=None):
    counts, size = counted(stories, k, k), size or len(alphabet)

    def probability(context, letter):
        seen = counts.get(context[max(0, len(context) - k) :], Counter())
        return (seen[letter] + added) / (seen.total() + added * size)

    return probability


def never_smoothed(stories, alphabet):
    return one_length(stories, alphabet, 1, added=0.0)


def not_normalised(stories, alphabet):
    return one_length(stories, alphabet, 1, size=1)


def without_context(stories, alphabet):
    return one_length(stories, alphabet, 0)


def the_start_of_the_context(stories, alphabet):
    learned = one_length(stories, alphabet, 1)
    return lambda context, letter: learned(context[:1], letter)


def the_last_story_only(stories, alphabet):
    return one_length(stories[-1:], alphabet, 1)


def only_known_contexts(stories, alphabet):
    counts = dict(counted(stories, 1))
    return lambda context, letter: (counts[context[-1:]][letter] + 1) / (counts[context[-1:]].total() + len(alphabet))


def in_sorted_order(stories, alphabet):
    stories.sort()
    return one_length(stories, alphabet, 1)


def one_letter_back(stories, alphabet):
    return one_length(stories, alphabet, 1)


MISTAKES = [
    (checks.spoken_share, lambda story: spoken(story, size=len), "not characters"),
    (checks.spoken_share, lambda story: spoken(story, r'"(.*)"'), "the first quotation mark to the last"),
    (checks.spoken_share, lambda story: spoken(story, r'"([^"]*)"'), "Curly"),
    (checks.spoken_share, spoken_until_a_word_ends_with_a_mark, "A comma may follow"),
    (checks.spoken_share, lambda story: spoken(story) if story else 1 / 0, "you divided by their number"),
    (checks.spoken_share, lambda story: None, "returned None"),
    (checks.spoken_share, lambda story: "1/6", "of type str"),
    (checks.hold_out, lambda stories, count, seed: fair(stories, count, seed)[::-1], "wrong way around"),
    (checks.hold_out, lambda stories, count, seed: (stories, fair(stories, count, seed)[1]), "in both lists"),
    (checks.hold_out, lambda stories, count, seed: (stories[count:], stories[:count]), "not on its place"),
    (checks.hold_out, sampled, "6 of the 6 held out changed"),
    (checks.hold_out, another_each_time, "You need no random numbers"),
    (checks.hold_out, shuffled_in_place, "changed the list"),
    (checks.hold_out, in_order_of_hash, "are not in the order"),
    (checks.hold_out, lambda stories, count, seed: by_hash(stories, count, digest), "The seed must be part of"),
    (
        checks.hold_out,
        lambda stories, count, seed: by_hash(stories, count, lambda story: hash((seed, story))),
        "each time Python starts",
    ),
    (checks.hold_out, lambda stories, count, seed: None, "returned None"),
    (checks.hold_out, lambda stories, count, seed: fair(stories, count, seed)[1], "Return two lists"),
    (checks.bits_per_byte, lambda text, probability: bits(text, probability, math.log), "in nats"),
    (checks.bits_per_byte, lambda text, probability: -bits(text, probability), "is a minus missing"),
    (checks.bits_per_byte, lambda text, probability: bits(text, probability, size=lambda text: 1), "per byte"),
    (checks.bits_per_byte, lambda text, probability: bits(text, probability, size=len), "bits per character"),
    (
        checks.bits_per_byte,
        lambda text, probability: bits(text, probability, context=lambda text, i: text[: i + 1]),
        "sees the answer",
    ),
    (
        checks.bits_per_byte,
        lambda text, probability: bits(text, probability, context=lambda text, i: text),
        "future included",
    ),
    (
        checks.bits_per_byte,
        lambda text, probability: bits(text, probability, context=lambda text, i: text[max(0, i - 1) : i]),
        "the context is *everything* that came before",
    ),
    (checks.bits_per_byte, bits_from_the_second_letter_on, "the first letter has a surprise, too"),
    (checks.bits_per_byte, bits_of_the_mean, "logarithm of the average"),
    (checks.bits_per_byte, bits_of_the_product, "Sum the logarithms"),
    (checks.bits_per_byte, bits_without_care, "0 has no logarithm"),
    (checks.bits_per_byte, lambda text, probability: bits(text, probability) if text else 1 / 0, "0 bytes"),
    (checks.next_letter_entropy, joint, "entropy of the *pair*"),
    (checks.next_letter_entropy, lambda text: conditional(text, math.log), "in nats"),
    (checks.next_letter_entropy, lambda text: -conditional(text), "never negative"),
    (checks.next_letter_entropy, lambda text: conditional(text, firsts=lambda text: text), "but 7 pairs"),
    (checks.next_letter_entropy, given_the_letter_after, "given the one *after* it"),
    (checks.next_letter_entropy, of_single_letters, "of a letter on its own"),
    (checks.next_letter_entropy, lambda text: None, "returned None"),
    (checks.learn_letters, never_smoothed, "Leave every letter of the alphabet a little"),
    (checks.learn_letters, only_known_contexts, "KeyError: this context was never seen"),
    (checks.learn_letters, lambda stories, alphabet: one_length(stories, alphabet, 1, 0.0)("", "a"), "got float"),
    (checks.learn_letters, not_normalised, "add up to"),
    (checks.learn_letters, without_context, "must look at the context"),
    (checks.learn_letters, the_start_of_the_context, "the *end* of the context"),
    (checks.learn_letters, the_last_story_only, "count in all of them"),
    (checks.learn_letters, in_sorted_order, "changed its list of stories"),
    (checks.learn_letters, one_letter_back, "look further"),
    (checks.learn_letters, one_length, "One length of context"),
]
