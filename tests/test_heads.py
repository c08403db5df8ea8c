"""What heads look at, on maps worked out by hand; ablation and induction against plain computations."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation import heads
from pn_lib.evaluation.heads import (
    ablated,
    attention_maps,
    distance_share,
    head_importance,
    head_table,
    induction_score,
    uniform_head,
)
from pn_lib.evaluation.names import Span
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

NAMES = [[Span("Tom", 1, 2), Span("Tom", 3, 4)]]
IDS = [[7, 1, 2, 1]]  # the last token occurred before, and 2 followed it
MAP = torch.tensor([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 0.2, 0.7, 0.1]])


def make(**options):
    torch.manual_seed(0)
    defaults = {"vocab_size": 300, "context": 32, "d_model": 16, "n_layers": 2, "n_heads": 4}
    model = Transformer(TransformerConfig(**defaults | options))
    for p in model.parameters():  # larger than at the beginning of training, so that heads differ
        torch.nn.init.normal_(p, std=0.5)
    return model


@pytest.fixture
def given_map(monkeypatch):
    """``head_table`` of one head with the map above, whatever the model."""
    monkeypatch.setattr(heads, "attention_maps", lambda model, sequence: MAP[None, None])


def test_habits_by_hand(given_map):
    row = head_table(None, IDS, NAMES).loc[0, 0]
    assert row["distance"] == pytest.approx((0.5 + 1 + (0.2 * 2 + 0.7)) / 3)
    assert row["previous"] == pytest.approx((0.5 + 1 + 0.7) / 3)
    assert row["first"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert row["same"] == row["same_name"] == pytest.approx(0.2)
    assert row["induction"] == pytest.approx(0.7)
    entropy = (1 + 0 - sum(p * math.log2(p) for p in (0.2, 0.7, 0.1))) / 3
    assert row["entropy"] == pytest.approx(entropy)
    assert row["spread"] == pytest.approx(entropy / ((1 + math.log2(3) + 2) / 3))


def test_uniform_head_by_hand():
    uniform = uniform_head(IDS, NAMES)
    assert uniform["distance"] == pytest.approx((0.5 + 1 + 1.5) / 3)
    assert uniform["spread"] == pytest.approx(1.0)
    assert uniform["same"] == uniform["same_name"] == uniform["induction"] == pytest.approx(0.25)


def test_a_name_of_several_tokens(given_map):
    # tokens 1 and 2 are the earlier name, token 3 another: nothing to look for; then the same one, read at token 3
    assert math.isnan(head_table(None, IDS, [[Span("Tom", 1, 3), Span("Tim", 3, 4)]]).loc[0, 0]["same_name"])
    assert head_table(None, IDS, [[Span("Tom", 1, 3), Span("Tom", 3, 4)]]).loc[0, 0]["same_name"] == pytest.approx(0.9)


def test_stories_count_alike_and_those_without_a_place_not(given_map):
    both = head_table(None, [*IDS, [7, 1, 2, 3]], [*NAMES, []]).loc[0, 0]
    assert both["same"] == pytest.approx(0.2) and both["induction"] == pytest.approx(0.7)


def from_scores(scores):
    T = len(scores)
    return scores.masked_fill(~torch.ones(T, T, dtype=torch.bool).tril(), -torch.inf).softmax(-1)


def test_a_head_of_distance_alone_is_explained_whole():
    T, f = 40, torch.randn(40, generator=torch.Generator().manual_seed(0))
    back = (torch.arange(T)[:, None] - torch.arange(T)).clamp(min=0)
    maps = torch.stack([from_scores(2 * f[back]), from_scores(-0.3 * back), torch.eye(T)])[None]
    torch.testing.assert_close(distance_share([maps, maps[..., :25, :25]]), torch.ones(1, 3), atol=1e-3, rtol=0)


def test_a_head_of_content_alone_is_not_explained():
    generator = torch.Generator().manual_seed(1)
    stories = [from_scores(3 * torch.randn(60, generator=generator).expand(60, 60))[None, None] for _ in range(16)]
    assert 0 <= distance_share(stories).item() < 0.15  # the fit follows chance a little


def test_distance_share_by_hand():
    # Two looks apart from the first token: row 1 has no choice, row 2 looks back 1 with 3/4. Distance explains all.
    maps = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.6, 0.2]])[None, None]
    assert distance_share([maps]).item() == pytest.approx(1.0, abs=1e-4)
    # Two stories that disagree about it, 3/4 and 1/4: the best fit is the uniform head itself.
    other = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.2, 0.6]])[None, None]
    assert distance_share([maps, other]).item() == pytest.approx(0.0, abs=1e-4)
    # What stands on the first token counts for nothing.
    rested = torch.tensor([[1, 0, 0], [0.9, 0.1, 0], [0.2, 0.6, 0.2]])[None, None]
    assert distance_share([rested, other]).item() == pytest.approx(0.0, abs=1e-4)


def test_kind_follows_the_distance(monkeypatch):
    T = 20
    back = torch.arange(T)[:, None] - torch.arange(T)
    content = from_scores(torch.randn(T, generator=torch.Generator().manual_seed(0)).mul(3).expand(T, T))
    maps = torch.stack([from_scores(-0.5 * back), content])[None]
    monkeypatch.setattr(heads, "attention_maps", lambda model, sequence: maps)
    assert head_table(None, [list(range(T))], [[]])["kind"].tolist() == ["distance", "semantic"]


def test_maps_are_refused_where_there_are_none():
    with pytest.raises(InputError, match="no attention heads"):
        attention_maps(Mamba(MambaConfig(vocab_size=20, d_model=8, n_layers=1)), [1, 2])
    with pytest.raises(InputError, match="can be negative"):
        attention_maps(make(attention="linear"), list(range(30)))
    with pytest.raises(InputError, match="no sequence"):
        head_table(make(), [], [])


@pytest.mark.parametrize(
    "options",
    [{}, {"n_kv_heads": 2}, {"bias": True, "norm_position": "post"}, {"attention": "linear", "position": "learned"}],
)
def test_ablation_is_a_head_without_output(options):
    model = make(**options).eval()
    ids = torch.arange(20)[None]
    before = model(ids)
    with ablated(model, 1, 2):
        without = model(ids)
    assert torch.equal(model(ids), before)
    with torch.no_grad():
        model.blocks[1].attention.out.weight[:, 8:12] = 0  # the columns that read head 2
    torch.testing.assert_close(without, model(ids))
    assert not torch.allclose(without, before)


def test_ablation_ends_with_an_error_too():
    model = make()
    with pytest.raises(InputError, match="context is 32"), ablated(model, 0, 0):
        model(torch.zeros(1, 99, dtype=torch.int64))
    assert not model.blocks[0].attention.out._forward_pre_hooks
    with pytest.raises(InputError, match="no head 4 in layer 0"), ablated(model, 0, 4):
        pass


def test_importance_is_the_rise_in_loss():
    model = make(dropout=0.3).train()
    with torch.no_grad():
        model.blocks[0].attention.out.weight[:, :4] = 0  # head 0 of layer 0 says nothing already
    sequences = [list(range(a, a + 20)) for a in (0, 50, 100)]
    table = head_importance(model, sequences)
    assert model.training and table.loc[(0, 0)].tolist() == [0.0, 0.0, 0.0]
    model.eval()

    def loss():
        return np.mean(
            [F.cross_entropy(model(torch.tensor([s[:-1]]))[0], torch.tensor(s[1:])).item() for s in sequences]
        )

    whole = loss()
    with ablated(model, 1, 3):
        assert table.loc[(1, 3), "loss"] == pytest.approx(loss() - whole, abs=1e-5)
    assert (table["low"] <= table["loss"]).all() and (table["loss"] <= table["high"]).all()


class Copier(NGram):
    """Knows that whatever followed a token before follows it again, and nothing else."""

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, self.config.vocab_size)
        for b, row in enumerate(ids.tolist()):
            for t, token in enumerate(row):
                if token in row[:t]:
                    logits[b, t, row[row.index(token) + 1]] = 20.0
        return logits


def test_induction_by_hand():
    found = induction_score(Copier(NGramConfig(vocab_size=50)), range(1, 50), separator_id=0, length=12, repeats=4)
    assert found.first == pytest.approx(math.log(50), rel=1e-5)
    assert found.again == pytest.approx(math.log1p(49 * math.exp(-20)), abs=1e-5)
    assert found.gain.value == pytest.approx(found.first - found.again) and found.heads is None
    assert found.uniform == pytest.approx(np.mean([1 / (t + 1) for t in range(13, 25)]))
    plain = induction_score(NGram(NGramConfig(vocab_size=50)), range(1, 50), 0, length=12, repeats=4)
    assert plain.gain == pytest.approx((0, 0, 0), abs=1e-5)


def test_induction_heads_are_read_at_the_right_place(monkeypatch):
    length, T = 10, 21
    maps = torch.zeros(1, 2, T, T)
    for t in range(length + 1, T):
        maps[0, 0, t, t - length + 1] = 1.0  # the token after the earlier occurrence
        maps[0, 1, t, t - length] = 1.0  # the earlier occurrence itself

    def given(model, sequence):
        assert sequence[0] == 0 and len(sequence) == T
        assert list(sequence[1 : length + 1]) == list(sequence[length + 1 :])
        assert len(set(sequence[1:].tolist())) == length
        return maps

    monkeypatch.setattr(heads, "attention_maps", given)
    assert induction_score(make(), range(1, 300), 0, length, repeats=2).heads.tolist() == [[1.0, 0.0]]


def test_induction_is_repeatable_and_refuses():
    model = make()
    a, b, c = (induction_score(model, range(1, 300), 0, 10, 3, seed) for seed in (1, 1, 2))
    assert a.gain == b.gain and np.array_equal(a.heads, b.heads) and a.gain != c.gain
    with pytest.raises(InputError, match="at most the 5 different"):
        induction_score(model, [1, 2, 3, 4, 5, 5], 0, 6)
    with pytest.raises(InputError, match="context is 32"):
        induction_score(model, range(1, 300), 0, 20)


def test_equals_the_definitions_of_notebook_05():
    tokenizer = train_tokenizer(["Tom had a ball. Tom saw a cat."], 270)
    model, ids = make(), torch.tensor(tokenizer.encode("Tom had a cat. Tom had"))[:32]
    maps, back = attention_maps(model, ids.tolist()), torch.arange(len(ids))[:, None] - torch.arange(len(ids))
    twins = ((ids[:, None] == ids) & (back > 0)).float()
    same = (maps * twins).sum(-1)[..., twins.any(-1)].mean(-1)
    table = head_table(model, [ids.tolist()], [[]])
    np.testing.assert_allclose(table["same"], same.flatten(), rtol=1e-5)
    np.testing.assert_allclose(table["distance"], (maps * back).sum(-1)[..., 1:].mean(-1).flatten(), rtol=1e-5)
