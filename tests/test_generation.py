"""Writing: each option does what it says, and a row does not depend on the rows beside it."""

from collections import Counter

import numpy as np
import pytest
import torch

from pn_lib.config import parse_config
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.generation import Completion, Sampling, draw, generate, next_token_probabilities
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

V = 23
PROMPTS = [[1], [2, 3, 4, 5, 6], [7, 8], [9, 10, 11]]
LOGITS = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()


class Constant(LanguageModel):
    """Says the same whatever came before, except that after token 0 it is sure of token 3."""

    def __init__(self, probabilities=(0.4, 0.3, 0.2, 0.1)):
        super().__init__(MambaConfig(vocab_size=len(probabilities)))
        self.logits = torch.tensor(probabilities).log()

    def prefill(self, ids):
        return self.step(ids[:, -1], None)

    def select(self, state, rows):
        return state

    def step(self, ids, state):
        sure = torch.full((len(self.logits),), -50.0).index_fill(0, torch.tensor([3]), 50.0)
        return torch.where((ids == 0)[:, None], sure, self.logits), None


def model(kind: str = "transformer") -> LanguageModel:
    torch.manual_seed(0)
    if kind == "mamba":
        made = Mamba(MambaConfig(V, d_model=16, n_layers=2, d_state=4))
    else:
        options = {"attention": kind} if kind == "linear" else {}
        made = Transformer(TransformerConfig(V, context=24, d_model=16, n_layers=2, n_heads=2, **options))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return made


@pytest.mark.parametrize("kind", ["transformer", "linear", "mamba"])
@pytest.mark.parametrize("options", [{"temperature": 0}, {}, {"top_k": 5, "temperature": 1.5}, {"top_p": 0.7}], ids=str)
def test_batched_equals_one_by_one(kind, options):
    together = generate(model(kind), PROMPTS, 12, stop_id=0, seed=3, **options)
    alone = [
        generate(model(kind), [prompt], 12, stop_id=0, seed=3, rows=[r], **options)[0]
        for r, prompt in enumerate(PROMPTS)
    ]
    assert together == alone
    assert len({tuple(c.ids) for c in together}) > 1


def test_greedy_is_the_argmax_of_forward():
    m = model().eval()
    for prompt, completion in zip(PROMPTS, generate(m, PROMPTS, 10, temperature=0), strict=True):
        ids = list(prompt)
        for token in completion.ids:
            assert token == int(m(torch.tensor([ids]))[0, -1].argmax())
            ids.append(token)
    assert generate(m, PROMPTS, 10, temperature=0) == generate(m, PROMPTS, 10, top_k=1)
    assert generate(m, PROMPTS, 10, temperature=0) == generate(m, PROMPTS, 10, temperature=1e-40)


def test_seed_decides():
    m = model()
    first = generate(m, PROMPTS, 12, seed=5)
    assert generate(m, PROMPTS, 12, seed=5) == first
    assert generate(m, PROMPTS, 12, seed=6) != first
    same = generate(m, [[1], [1]], 12, seed=5)
    assert same[0] != same[1]
    assert generate(m, PROMPTS[2:], 12, seed=5, rows=range(2, len(PROMPTS))) == first[2:]


def test_stop_token_is_not_part_of_the_completion():
    stopped, other = generate(Constant(), [[0], [1]], 5, temperature=0, stop_id=3)
    assert stopped == Completion([], "stop")
    assert other == Completion([0], "stop")  # 0 is the most probable, and 3 follows it
    [completion] = generate(Constant(), [[0]], 1, temperature=0)
    assert completion == Completion([3], "length")


def test_prompt_may_hold_the_stop_token():
    [completion] = generate(Constant(), [[3, 3, 1]], 4, temperature=0, stop_id=3)
    assert completion.ids == [0]


def test_length_and_context_are_limits():
    m = model()
    assert [len(c.ids) for c in generate(m, PROMPTS, 7)] == [7] * 4
    # 24 tokens of context predict a 25th
    completions = generate(m, PROMPTS, 100)
    assert [len(c.ids) for c in completions] == [25 - len(prompt) for prompt in PROMPTS]
    assert {c.finish_reason for c in completions} == {"length"}
    assert len(generate(m, [[1] * 24], 5)[0].ids) == 1
    assert [len(c.ids) for c in generate(model("mamba"), [[1], [2, 3]], 300)] == [300, 300]
    with pytest.raises(InputError, match="prompt 1 is 25 tokens, the model's context is 24"):
        generate(m, [[1], [1] * 25], 5)


def test_filters_against_a_distribution_worked_out_by_hand():
    def kept(**options) -> list[float]:
        return next_token_probabilities(LOGITS, Sampling(**options))[0].tolist()

    for options, expected in (
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0}, [1, 0, 0, 0]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_k": 9}, [0.4, 0.3, 0.2, 0.1]),
        ({"top_p": 0.3}, [1, 0, 0, 0]),
        ({"top_p": 0.65}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"top_p": 1.0}, [0.4, 0.3, 0.2, 0.1]),
        ({"min_p": 0.6}, [4 / 7, 3 / 7, 0, 0]),
        ({"min_p": 1.0}, [1, 0, 0, 0]),
        # top_p counts in what top_k left: 4/7 < 0.6 where 0.4 + 0.3 of four would be enough already
        ({"top_k": 2, "top_p": 0.6}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_k": 2, "top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_k": 3, "min_p": 0.6}, [4 / 7, 3 / 7, 0, 0]),
        # temperature first: 16/30 alone passes 0.5
        ({"temperature": 0.5, "top_p": 0.5}, [1, 0, 0, 0]),
    ):
        assert kept(**options) == pytest.approx(expected, abs=1e-6), options


def test_tokens_that_hold_just_top_p_are_enough():
    even = next_token_probabilities(torch.zeros(1, 4), Sampling(top_p=0.5))
    assert even[0].tolist() == [0.5, 0.5, 0, 0]


def test_filters_keep_the_order_of_ids():
    shuffled = LOGITS[:, [2, 0, 3, 1]]
    probabilities = next_token_probabilities(shuffled, Sampling(top_k=2))
    assert probabilities[0].tolist() == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=1e-6)


def test_draw_inverts_the_cumulative_distribution():
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).expand(5, 5)
    u = torch.tensor([0.0, 0.499, 0.5, 0.75, 1 - 2**-53], dtype=torch.float64)
    assert draw(p, u).tolist() == [1, 1, 3, 3, 3]


def test_frequencies_follow_the_probabilities():
    probabilities = (0.4, 0.3, 0.2, 0.1)
    m = Constant(probabilities)
    n = 4000
    first = Counter(c.ids[0] for c in generate(m, [[1]] * n, 1, seed=1))
    chi_square = sum((first[k] - n * p) ** 2 / (n * p) for k, p in enumerate(probabilities))
    assert chi_square < 16.3  # the 0.999 quantile at 3 degrees of freedom
    # and along a row: token 0 is always followed by 3, the other tokens by anything
    [row] = generate(m, [[1]], n, seed=1)
    free = Counter(b for a, b in zip(row.ids, row.ids[1:], strict=False) if a != 0)
    total = sum(free.values())
    assert sum((free[k] - total * p) ** 2 / (total * p) for k, p in enumerate(probabilities)) < 16.3
    assert all(b == 3 for a, b in zip(row.ids, row.ids[1:], strict=False) if a == 0)


def test_training_mode_comes_back_and_dropout_is_off():
    torch.manual_seed(0)
    m = Transformer(TransformerConfig(V, context=24, d_model=16, n_layers=2, n_heads=2, dropout=0.5)).train()
    assert generate(m, PROMPTS, 8, seed=1) == generate(m, PROMPTS, 8, seed=1)
    assert m.training


def test_prompts_may_be_arrays():
    assert generate(model(), [np.array([1, 2])], 3, seed=1) == generate(model(), [[1, 2]], 3, seed=1)
    assert generate(model(), [], 3) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.2}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"seed": -1}, "seed"),
        ({"prompts": [[1], []]}, "prompt 1 is empty"),
        ({"prompts": [[V]]}, "0..22"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(options, word):
    with pytest.raises(InputError, match=word):
        generate(model(), **{"prompts": [[1]], "max_new_tokens": 3, **options})


def test_sampling_from_a_mapping():
    assert parse_config(Sampling, {"temperature": 0.8, "top_p": 0.9}, "profile") == Sampling(0.8, top_p=0.9)
    with pytest.raises(InputError, match="unknown key 'topk'"):
        parse_config(Sampling, {"topk": 3}, "profile")
    with pytest.raises(InputError, match=r"profile: .*top_k must be"):
        parse_config(Sampling, {"top_k": 0}, "profile")
