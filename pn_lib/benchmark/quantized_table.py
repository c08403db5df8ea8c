"""The table of decoding from small integers: tokens/s of one sequence, against the same model in float32.

The last model's weights in float32 are more than the caches of most machines hold, so that reading them is what a step
costs.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from pn_lib.benchmark.contenders import Scale, build_ours, mamba_name
from pn_lib.benchmark.decoding_table import STEPS, TURN, WARM_UP, Decoder
from pn_lib.benchmark.tables import Pair
from pn_lib.models.grid import Grid
from pn_lib.models.quantize import quantize
from pn_lib.progress import progress
from pn_lib.training.timing import Contender, alternate

GRIDS = {integers: Grid(integers) for integers in ("int8", "int4", "ternary")}


def measure_quantized(scale: Scale) -> pd.DataFrame:
    """A row for each model and precision, at batch 1: tokens/s, ms a step, and the weights' memory in MB."""
    context, rows = scale.contexts[1], []
    for name, sizes in _models(scale):
        model = build_ours(name, sizes, context)
        models = {"float32": model} | {
            integers: quantize(model, grid) for integers, grid in progress(GRIDS.items(), f"quantizing {name}")
        }
        decoders = {precision: Decoder(each, sizes, context, 1) for precision, each in models.items()}
        contenders = [Contender(precision, decoder, 1) for precision, decoder in decoders.items()]
        timings = alternate(contenders, STEPS // TURN - WARM_UP, description=f"decoding, {name}")
        rows += [
            {
                "model": _label(name, sizes, precision),
                "precision": precision,
                "parameters": model.n_parameters(),
                "batch": 1,
                "context": context,
                **timings[precision].rates(1),
                **timings[precision].milliseconds(),
                "weights_mb": sum(v.nbytes for v in decoder.state.weights if isinstance(v, np.ndarray)) / 1e6,
            }
            for precision, decoder in decoders.items()
        ]
    return pd.DataFrame(rows)


def quantized_pairs(scale: Scale) -> list[Pair]:
    """Each precision beside float32."""
    return [
        Pair(_label(name, sizes, integers), _label(name, sizes, "float32"), ("batch", "context"))
        for name, sizes in _models(scale)
        for integers in GRIDS
    ]


def _models(scale: Scale) -> list[tuple[str, Scale]]:
    large = replace(scale, d_model=scale.large_width, layers=scale.large_layers)
    return [("Transformer", scale), (mamba_name(scale.equal_layers), scale), ("Transformer", large)]


def _label(name: str, sizes: Scale, precision: str) -> str:
    return f"{name}, width {sizes.d_model}, {precision}"
