"""The kernels that `make` compiles while it installs are all there are."""

from numba.core.dispatcher import Dispatcher

from pn_lib.models.cpu import attention_kernels, block_kernels, decoding_kernels, mamba2_kernels, scan_kernels
from pn_lib.models.cpu.precompile import compile_kernels


def test_every_kernel_is_compiled():
    compile_kernels()
    compiled = {
        f"{module.__name__}.{name}": bool(kernel.overloads)
        for module in (attention_kernels, block_kernels, decoding_kernels, mamba2_kernels, scan_kernels)
        for name, kernel in vars(module).items()
        if isinstance(kernel, Dispatcher) and kernel.targetoptions.get("parallel")
    }
    assert len(compiled) > 10
    assert [name for name, done in compiled.items() if not done] == []
