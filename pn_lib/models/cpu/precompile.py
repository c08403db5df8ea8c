"""Compile the CPU kernels for this processor and keep them on disk: ``python -m pn_lib.models.cpu.precompile``.

``make`` calls it while it installs. Whoever never does waits for each kernel at its first call.
"""

import time

import torch

from pn_lib.hardware import autocast, instructions, resolve_precision
from pn_lib.models.base import LanguageModel
from pn_lib.models.cpu.availability import why_no_kernels
from pn_lib.models.generation import generate
from pn_lib.models.grid import Grid
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.mamba2 import Mamba2, Mamba2Config
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig


def compile_kernels() -> float:
    """Call every kernel once, in each precision that training, evaluation and decoding take here.

    Returns:
        The seconds it took.
    """
    start, precision = time.perf_counter(), resolve_precision("auto", torch.device("cpu"))
    torch.manual_seed(0)
    for model in (
        Transformer(TransformerConfig(vocab_size=64, context=16, d_model=16, n_layers=1, n_heads=2)),
        Mamba(MambaConfig(vocab_size=64, context=16, d_model=16, n_layers=1)),
    ):
        for each in dict.fromkeys(("float32", precision)):
            _use(model, each)
        for integers in ("int8", "int4"):  # ternary weights are decoded as int4
            _decode(quantize(model, Grid(integers)))
    _use(Mamba2(Mamba2Config(vocab_size=64, context=16, d_model=16, n_layers=1, d_state=16, head_dim=16)), "float32")
    return time.perf_counter() - start


def _use(model: LanguageModel, precision: str) -> None:
    tokens = torch.arange(2 * 17).view(2, 17)
    with autocast(torch.device("cpu"), precision):
        model(tokens[:, :-1], tokens[:, 1:]).backward()
        with torch.no_grad():
            model.nats(tokens[:, :-1], tokens[:, 1:])
    _decode(model)


def _decode(model: LanguageModel) -> None:
    generate(model, [[1, 2]], max_new_tokens=2, temperature=0)


if __name__ == "__main__":
    if not why_no_kernels():  # which warns
        print(f"Compiling the kernels for this processor ({instructions()}), once: a minute or two ...", flush=True)
        print(f"... done in {compile_kernels():.0f} s.")
