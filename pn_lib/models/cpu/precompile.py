"""Compile the CPU kernels for this processor and keep them on disk: ``python -m pn_lib.models.cpu.precompile``.

``make`` calls it while it installs. Whoever never does waits for each kernel at its first call.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

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


def mamba2_kernels() -> None:  # in float32 only, and decoding has none
    _use(Mamba2(Mamba2Config(vocab_size=64, context=16, d_model=16, n_layers=1, d_state=16, head_dim=16)), "float32")


def transformer_kernels() -> None:
    _use_all(Transformer(TransformerConfig(vocab_size=64, context=16, d_model=16, n_layers=1, n_heads=2)))


def mamba_kernels() -> None:
    _use_all(Mamba(MambaConfig(vocab_size=64, context=16, d_model=16, n_layers=1)))


# Each calls every kernel of a model once, in each precision that training, evaluation and decoding take here; together
# they call all there are. The longest comes first, since two processes share them.
KERNELS: tuple[Callable[[], None], ...] = (mamba2_kernels, transformer_kernels, mamba_kernels)


def _use_all(model: LanguageModel) -> None:
    for precision in dict.fromkeys(("float32", resolve_precision("auto", torch.device("cpu")))):
        _use(model, precision)
    for integers in ("int8", "int4"):  # ternary weights are decoded as int4
        _decode(quantize(model, Grid(integers)))


def _use(model: LanguageModel, precision: str) -> None:
    tokens = torch.arange(2 * 17).view(2, 17)
    with autocast(torch.device("cpu"), precision):
        model(tokens[:, :-1], tokens[:, 1:]).backward()
        with torch.no_grad():
            model.nats(tokens[:, :-1], tokens[:, 1:])
    _decode(model)


def _decode(model: LanguageModel) -> None:
    generate(model, [[1, 2]], max_new_tokens=2, temperature=0)


def main() -> None:
    """Compile the kernels of different models side by side."""
    if why_no_kernels():  # which warns
        return
    print(f"Compiling the kernels for this processor ({instructions()}), once: a minute or two ...", flush=True)
    start = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(compile_model) for compile_model in KERNELS]:
            done.result()
    print(f"... done in {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
