"""How far back the past reaches: exactly known for an n-gram; Mamba's step sizes against its own recurrence."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from pn_lib.errors import InputError
from pn_lib.evaluation.memory import dt_table, effective_memory, memory_reach, step_sizes
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

RNG = np.random.default_rng(0)
SEQUENCES = [[0, *RNG.integers(1, 20, 39).tolist()] for _ in range(5)]


def mamba(**options):
    torch.manual_seed(0)
    return Mamba(MambaConfig(**{"vocab_size": 20, "d_model": 16, "n_layers": 2, "d_state": 4} | options))


def transformer(**options):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(vocab_size=20, context=40, d_model=16, n_layers=2, n_heads=2, **options))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return model


@pytest.mark.parametrize("order", [2, 4])
def test_an_ngram_remembers_its_order_and_nothing_more(order):
    model = NGram(NGramConfig(vocab_size=20, order=order)).fit(np.concatenate([*SEQUENCES, [0]]))
    curve = effective_memory(model, SEQUENCES, [1, 2, 3, 4, 5, 20])
    inside = curve["distance"] < order
    assert (curve["bits"][inside] > 0).all() and (curve[["bits", "low", "high"]][~inside] == 0).all(axis=None)
    assert memory_reach(curve, share=1e-9) == order


def test_a_window_bounds_a_transformers_memory():
    curve = effective_memory(transformer(window=3), SEQUENCES, [1, 4, 5, 6, 30])  # two layers: 1 + 2 + 2 tokens
    assert curve["bits"].to_numpy() == pytest.approx(np.r_[curve["bits"][:3], 0, 0], abs=1e-9)
    assert (curve["bits"][:3] > 1e-6).all()


class Echo(NGram):
    """Expects the token of three places ago with probability 1/2, all others alike."""

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, self.config.vocab_size)
        logits[:, 2:].scatter_(2, ids[:, :-2, None], math.log(self.config.vocab_size - 1))
        return logits


def test_bits_by_hand():
    curve = effective_memory(Echo(NGramConfig(vocab_size=20)), SEQUENCES, [1, 2, 3, 4])
    # of 1/2 and 1/38 in the two places that differ: 1/2 log2 19 - 1/38 log2 19
    expected = (1 / 2 - 1 / 38) * math.log2(19)
    assert curve["bits"].tolist() == pytest.approx([0, 0, expected, 0], abs=1e-6)
    assert curve.loc[2, ["low", "high"]].tolist() == pytest.approx([expected] * 2)  # whatever is exchanged


@pytest.mark.parametrize("make", [mamba, transformer])
def test_neural_models_repeatably_and_in_evaluation_mode(make):
    model = make().train()
    curve = effective_memory(model, SEQUENCES, [1, 8], seed=1)
    assert model.training and (curve["bits"] > 0).all() and (curve["low"] <= curve["bits"]).all()
    pd.testing.assert_frame_equal(curve, effective_memory(model, SEQUENCES, [1, 8], seed=1))
    assert not curve.equals(effective_memory(model, SEQUENCES, [1, 8], seed=2))


def test_reach_by_hand():
    curve = pd.DataFrame({"distance": [1, 2, 4, 8], "bits": [1.0, 0.05, 0.2, 0.05]})
    assert memory_reach(curve, share=0.1) == 8  # at 2 it is small, but not from there on
    assert memory_reach(curve, share=0.5) == 2
    assert memory_reach(curve, share=0.01) is None


def test_what_cannot_be_measured_is_refused():
    model = transformer()
    with pytest.raises(InputError, match="needs 48"):
        effective_memory(model, SEQUENCES, [1, 40])
    with pytest.raises(InputError, match="needs 12"):
        effective_memory(model, [sequence[:11] for sequence in SEQUENCES], [4])
    assert len(effective_memory(model, [sequence[:12] for sequence in SEQUENCES], [4])) == 1
    with pytest.raises(InputError, match="at least 1"):
        effective_memory(model, SEQUENCES, [0, 1])
    with pytest.raises(InputError, match="single token"):
        effective_memory(model, [[0] + [3] * 20] * 2, [1])
    with pytest.raises(InputError, match="no step sizes"):
        step_sizes(model, torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(InputError, match="no sequence"):
        effective_memory(model, [], [1])
    with pytest.raises(InputError, match="200 tokens but 1 group"):
        dt_table(mamba(), SEQUENCES, [["word"]])


def test_step_sizes_by_hand():
    model, ids = mamba(), torch.tensor([SEQUENCES[0]])
    found = step_sizes(model, ids)
    assert [dt.shape for dt in found] == [(1, 40, 32)] * 2
    block, W = model.blocks[0], {name: p.detach() for name, p in model.blocks[0].named_parameters()}
    with torch.no_grad():
        x = model.norms[0](model.embedding(ids))[0] @ W["in_proj.weight"][:32].T  # (T, E), the half that is scanned
        for t in (0, 1, 25):
            taps = [x[t - k] * W["conv.weight"][:, 0, 3 - k] for k in range(4) if t >= k]
            convolved = F.silu(sum(taps) + W["conv.bias"])
            low_rank = W["x_proj.weight"][: model.config.rank] @ convolved
            dt = torch.log1p(torch.exp(W["dt_proj.weight"] @ low_rank + W["dt_proj.bias"]))
            torch.testing.assert_close(found[0][0, t], dt, atol=1e-6, rtol=1e-4)
    assert not block.x_proj._forward_pre_hooks


def test_dt_table_by_hand():
    model, groups = mamba(), [["separator"] + ["word", "name", "word"] * 13] * 5
    with torch.no_grad():
        for block in model.blocks:  # a step size that is the same at every token, 0.5, but for one channel: 0.25
            block.dt_proj.weight.zero_()
            block.dt_proj.bias.fill_(math.log(math.expm1(0.5)))
            block.A_log.copy_(torch.tensor([2.0, 4.0, 8.0, 16.0]).log().expand(32, 4))
        model.blocks[1].dt_proj.bias[7] = math.log(math.expm1(0.25))
    table = dt_table(model, SEQUENCES, groups)
    assert table.index.tolist() == [(layer, g) for layer in (0, 1) for g in ("name", "separator", "word")]
    assert table["tokens"].tolist() == [65, 5, 130] * 2
    np.testing.assert_allclose(table["dt"], [0.5] * 3 + [0.5 * 0.5 ** (1 / 32)] * 3, rtol=1e-5)
    np.testing.assert_allclose(table[["ratio", "low", "high", "extreme"]], 1.0, rtol=1e-5)
    np.testing.assert_allclose(table["half_life"], math.log(2) / (0.5 * 2), rtol=1e-5)  # exp(-0.5 * 2 * n) = 1/2


def test_a_channel_that_opens_at_names_is_found():
    model = mamba()
    ids = [[0] + [3, 5, 4] * 13] * 3
    groups = [["separator"] + ["word", "name", "word"] * 13] * 3
    sizes = step_sizes(model, torch.tensor(ids[:1]))[1][0].log()  # (T, E)
    by_channel = (sizes[2::3].mean(0) - sizes.mean(0)).detach().numpy()
    row = dt_table(model, ids, groups).loc[(1, "name")]
    assert row["ratio"] == pytest.approx(math.exp(by_channel.mean()), rel=1e-4)
    assert row["low"] == pytest.approx(row["ratio"]) == pytest.approx(row["high"])  # the stories are all the same
    assert row["channel"] == np.abs(by_channel).argmax()
    assert row["extreme"] == pytest.approx(math.exp(by_channel[int(row["channel"])]), rel=1e-4)
