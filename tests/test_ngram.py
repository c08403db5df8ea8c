"""Kneser-Ney against its formula in plain Python, as a distribution, as a language model, and on bad input."""

from collections import Counter, defaultdict
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from pn_lib.errors import InputError
from pn_lib.models.loading import load_model
from pn_lib.models.ngram import FALLBACK_DISCOUNTS, NGram, NGramConfig

SEP = 0


def random_stories(count, vocab_size=6, seed=0, mean_length=8):
    """Stories from a source in which each token depends on the two before it."""
    rng = np.random.default_rng(seed)
    source = np.random.default_rng(99).dirichlet(np.full(vocab_size - 1, 0.15), size=(vocab_size, vocab_size))
    stories = []
    for _ in range(count):
        story = [SEP, SEP]
        for _ in range(rng.poisson(mean_length)):
            story.append(1 + int(rng.choice(vocab_size - 1, p=source[story[-2], story[-1]])))
        stories.append(story[2:])
    return stories


def stream(stories):
    return np.array([SEP, *(token for story in stories for token in [*story, SEP])], dtype=np.uint16)


class PlainKneserNey:
    """The formula, with dictionaries and loops: story by story, probability by probability."""

    def __init__(self, stories, order, vocab_size):
        self.order, self.vocab_size = order, vocab_size
        raw, before = Counter(), defaultdict(set)
        for story in stories:
            tokens = (SEP, *story, SEP)
            for k in range(1, order + 1):
                for i in range(1 if k == 1 else 0, len(tokens) - k + 1):
                    gram = tokens[i : i + k]
                    raw[gram] += 1
                    if i > 0:
                        before[gram].add(tokens[i - 1])
        self.count = {
            g: c if len(g) == order or (len(g) > 1 and g[0] == SEP) else len(before[g]) for g, c in raw.items()
        }
        self.discounts = {k: self.estimate(k) for k in range(1, order + 1)}

    def estimate(self, k):
        n = Counter(c for g, c in self.count.items() if len(g) == k)
        if any(n[c] == 0 for c in (1, 2, 3, 4)):
            return FALLBACK_DISCOUNTS
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3))
        return found if all(0 < d <= c for c, d in enumerate(found, start=1)) else FALLBACK_DISCOUNTS

    def __call__(self, word, context):
        """P(word | context), context a tuple of at most order - 1 tokens."""
        discounts = self.discounts[len(context) + 1]
        counts = [self.count.get((*context, w), 0) for w in range(self.vocab_size)]
        lower = 1 / self.vocab_size if not context else self(word, context[1:])
        if sum(counts) == 0:
            return lower
        taken = [discounts[min(c, 3) - 1] if c else 0 for c in counts]
        return (counts[word] - taken[word] + sum(taken) * lower) / sum(counts)

    def table(self, ids):
        contexts = [tuple(ids[max(0, t + 2 - self.order) : t + 1]) if self.order > 1 else () for t in range(len(ids))]
        return torch.tensor([[self(w, h) for w in range(self.vocab_size)] for h in contexts])


def fitted(stories, order=3, vocab_size=6):
    return NGram(NGramConfig(vocab_size, order, SEP)).fit(stream(stories))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_equals_the_formula(order, count):
    stories = [*random_stories(count), []]  # and one empty story: SEP SEP
    plain, model = PlainKneserNey(stories, order, 7), fitted(stories, order, vocab_size=7)  # token 6 is never seen
    ids = [int(t) for t in np.random.default_rng(1).integers(0, 7, 60)]  # seen and unseen contexts, separators anywhere
    torch.testing.assert_close(model(torch.tensor([ids]))[0].exp(), plain.table(ids), rtol=1e-5, atol=1e-6)


def test_the_formula_is_tested_with_estimated_discounts_too():
    found = PlainKneserNey([*random_stories(60), []], 4, 7).discounts
    assert FALLBACK_DISCOUNTS in found.values()
    assert any(d != FALLBACK_DISCOUNTS for d in found.values())


@pytest.mark.parametrize("order", [1, 2, 4])
def test_every_distribution_sums_to_one_and_excludes_nothing(order):
    model = fitted(random_stories(40), order, vocab_size=9)  # tokens 6, 7, 8 are never seen
    contexts = torch.tensor(list(product(range(9), repeat=3)))
    probabilities = model(contexts).exp()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(9**3, 3), rtol=0, atol=1e-5)
    assert probabilities.min() > 0


def test_unfitted_it_is_uniform():
    logits = NGram(NGramConfig(5, 3))(torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(logits.exp(), torch.full((1, 3, 5), 0.2))


def test_nothing_before_the_separator_matters():
    model = fitted(random_stories(40), 4)
    fresh = model(torch.tensor([[SEP, 1, 2]]))
    for before in ([1, 2], [3, 3], [SEP, 5]):
        torch.testing.assert_close(model(torch.tensor([[*before, SEP, 1, 2]]))[:, 2:], fresh)


def test_many_contexts_count_for_more_than_many_occurrences():
    """Kneser and Ney's own point: 2 is frequent, but only after 1; 3 is rarer, and follows everything."""
    stories = [[1, 2]] * 10 + [[4, 3], [5, 3], [1, 3]]
    after_unseen = fitted(stories, 2)(torch.tensor([[2, 2]]))[0, -1]
    assert after_unseen[3] > after_unseen[2]


def test_longer_contexts_help_on_held_out_stories():
    train, held_out = (
        random_stories(2000, seed=0),
        torch.from_numpy(stream(random_stories(300, seed=1)).astype(np.int64)),
    )
    ids, targets = held_out[None, :-1], held_out[None, 1:]
    losses = [fitted(train, order).nats(ids, targets).mean().item() for order in (1, 2, 3)]
    assert all(longer < shorter - 0.05 for shorter, longer in pairwise(losses))
    # the source has no third order to learn: a longer context must cost next to nothing
    assert abs(fitted(train, 5).nats(ids, targets).mean().item() - losses[-1]) < 0.03


@pytest.mark.parametrize("order", [1, 2, 4])
def test_with_the_state_kept_equals_without(order):
    model = fitted(random_stories(40), order)
    ids = torch.from_numpy(np.random.default_rng(2).integers(0, 6, (3, 9)))
    expected = model(ids)
    for k in range(1, 10):
        logits, state = model.prefill(ids[:, :k])
        torch.testing.assert_close(logits, expected[:, k - 1])
        for t in range(k, 9):
            logits, state = model.step(ids[:, t], state)
            torch.testing.assert_close(logits, expected[:, t])


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model = fitted(random_stories(40), 4)
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    ids = torch.from_numpy(np.random.default_rng(2).integers(0, 6, (3, 9)))
    assert isinstance(loaded, NGram)
    assert loaded.config == model.config
    assert torch.equal(loaded(ids), model(ids))
    assert loaded.n_parameters() == model.n_parameters() > 0


def test_a_damaged_file_is_one_clear_sentence(tmp_path):
    fitted(random_stories(5), 3).save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:200])
    with pytest.raises(InputError, match="damaged"):
        load_model(tmp_path)


def test_fitting_again_forgets():
    first, second = random_stories(30, seed=0), random_stories(20, seed=1)
    ids = torch.tensor([[SEP, 1, 2, 3]])
    assert torch.equal(fitted(first).fit(stream(second))(ids), fitted(second)(ids))


def test_two_tokens_are_a_stream():
    model = NGram(NGramConfig(6, 2, SEP)).fit(np.array([SEP, 1]))
    [[[probabilities]]] = [model(torch.tensor([[SEP]])).softmax(-1).tolist()]
    assert max(range(6), key=probabilities.__getitem__) == 1


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([1, 2, 0], "begins with token 0"), ([0], "begins with token 0"), ([0, 6, 0], "range to 6"), ([[0, 1]], "stream")],
)
def test_bad_streams_are_refused(tokens, message):
    with pytest.raises(InputError, match=message):
        NGram(NGramConfig(6)).fit(np.array(tokens))


@pytest.mark.parametrize("settings", [{"order": 0}, {"vocab_size": 0}, {"separator_id": 6}, {"order": 30}])
def test_impossible_configs_are_refused(settings):
    with pytest.raises(InputError):
        NGramConfig(**{"vocab_size": 6, **settings})


def test_ids_outside_the_vocabulary_are_refused():
    with pytest.raises(InputError, match="token ids"):
        fitted(random_stories(5))(torch.tensor([[0, 6]]))
