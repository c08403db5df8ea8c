"""What single neurons fire at: their strongest activations in context, and how selective each neuron is.

The neurons of a layer are the hidden units of its MLP after the nonlinearity (for swiglu, after the product with the
gate); in Mamba, which has no MLP, the gated inner channels that enter ``out_proj``. Layers and neurons are counted
from 0. The method is that of Eldan & Li, "TinyStories" (2023), section 5: look where a neuron fires most.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call

from pn_lib.data.tokenizer import Tokenizer
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.hooks import check_sequences, ids_for, inputs_of, reading
from pn_lib.models.mamba import Mamba
from pn_lib.models.transformer import Transformer


def activations(model: LanguageModel, ids: Tensor, layer: int) -> Tensor:
    """The neurons of one layer on token ids (B, T): (B, T, F).

    Raises:
        InputError: the model has no neurons (an n-gram), or no such layer.
    """
    if not isinstance(model, Transformer | Mamba):
        raise InputError(f"a {model.name} has no neurons: give a Transformer or a Mamba")
    if not 0 <= layer < len(model.blocks):
        raise InputError(f"there is no layer {layer}: the model has layers 0 to {len(model.blocks) - 1}")
    block = model.blocks[layer]
    mlp = block.mlp if isinstance(model, Transformer) else None
    with reading(model), inputs_of([block.out_proj if mlp is None else mlp]) as seen:
        model(ids)
        if mlp is None:
            return seen[0]
        # With the identity for its last matrix, the MLP gives what would enter that: whichever nonlinearity it has.
        weight = mlp.down.weight
        down = {"down.weight": torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)}
        if mlp.down.bias is not None:
            down["down.bias"] = weight.new_zeros(weight.shape[1])
        return functional_call(mlp, down, (seen[0],))


def read_neurons(model: LanguageModel, sequences: Sequence[Sequence[int]], layer: int) -> Tensor:
    """The neurons on all tokens of all sequences, one sequence after another: (F, tokens), on the CPU.

    Each neuron's sign is turned so that its strongest activation is positive: in a gated layer the sign of a neuron has
    no meaning, because the next matrix can undo it.

    Raises:
        InputError: there is no sequence, or as in ``activations``.
    """
    check_sequences(sequences)
    pieces = [activations(model, ids_for(model, sequence), layer)[0].float().cpu() for sequence in sequences]
    values = torch.cat(pieces).T.contiguous()
    return values * torch.where(values.amax(1) >= -values.amin(1), 1.0, -1.0)[:, None]


def neuron_table(
    neurons: Tensor, labels: Sequence[Sequence[str]], top: int = 20, shuffled: int | None = None
) -> pd.DataFrame:
    """How selective each of the ``neurons`` (F, tokens) of ``read_neurons`` is: one row per neuron.

    ``labels`` holds a label for each token of each sequence, such as its word (``token_words``) or its kind
    (``token_groups``). Of the ``top`` strongest activations, ``label`` is the commonest label and ``share`` its share;
    ``base`` is that label's share of all tokens, to compare with; ``different`` counts the labels among the top;
    ``activation`` is the mean of the top. A neuron that is above zero at fewer than ``top`` tokens has no share (NaN).
    A ``shuffled`` seed shuffles the labels among the tokens, to show what chance alone reaches.

    Raises:
        InputError: labels that do not fit the tokens, or fewer tokens than ``top``.
    """
    kinds, codes = np.unique([label for row in labels for label in row], return_inverse=True)
    if len(codes) != neurons.shape[1]:
        raise InputError(
            f"the neurons were read on {neurons.shape[1]} tokens, but there are {len(codes)} labels: give "
            "one for each token of the same sequences"
        )
    _check_top(top, neurons)
    base = np.bincount(codes) / len(codes)
    if shuffled is not None:
        codes = np.random.default_rng(shuffled).permutation(codes)
    strongest = neurons.topk(top, dim=1)  # (F, top)
    counts = np.stack([np.bincount(row, minlength=len(kinds)) for row in codes[strongest.indices]])  # (F, labels)
    best, fires = counts.argmax(1), strongest.values[:, -1].numpy() > 0
    return pd.DataFrame(
        {
            "label": kinds[best],
            "share": np.where(fires, counts.max(1) / top, np.nan),
            "base": base[best],
            "different": (counts > 0).sum(1),
            "activation": strongest.values.mean(1).numpy(),
        },
        index=pd.RangeIndex(len(neurons), name="neuron"),
    )


def top_contexts(
    neurons: Tensor,
    tokenizer: Tokenizer,
    sequences: Sequence[Sequence[int]],
    chosen: Sequence[int],
    k: int = 5,
    width: int = 8,
) -> pd.DataFrame:
    """Where the ``chosen`` of the ``neurons`` (F, tokens), read on these sequences, fire most.

    ``k`` rows per neuron, strongest first, with the ``activation``, the ``token``, and up to ``width`` tokens of text
    on either side of it (``left``, ``right``).

    Raises:
        InputError: no such neuron, other sequences than the neurons were read on, or fewer tokens than ``k``.
    """
    places = [(i, t) for i, sequence in enumerate(sequences) for t in range(len(sequence))]
    if len(places) != neurons.shape[1]:
        raise InputError(
            f"the neurons were read on {neurons.shape[1]} tokens, not on these {len(places)}: give the same sequences"
        )
    if not all(0 <= neuron < len(neurons) for neuron in chosen):
        raise InputError(f"there are neurons 0 to {len(neurons) - 1}, but {list(chosen)} were chosen")
    _check_top(k, neurons)
    rows = []
    for neuron in chosen:
        for value, place in zip(*(part.tolist() for part in neurons[neuron].topk(k)), strict=True):
            i, t = places[place]
            left, token, right = (
                tokenizer.decode(sequences[i][a:b])
                for a, b in ((max(0, t - width), t), (t, t + 1), (t + 1, t + 1 + width))
            )
            rows.append({"neuron": neuron, "activation": value, "left": left, "token": token, "right": right})
    return pd.DataFrame(rows)


def _check_top(k: int, neurons: Tensor) -> None:
    if not 1 <= k <= neurons.shape[1]:
        raise InputError(
            f"cannot take the strongest {k} of {neurons.shape[1]} tokens: choose from 1 to {neurons.shape[1]}"
        )
