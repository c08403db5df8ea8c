"""RMSNorm (Zhang & Sennrich, 2019) as ``nn.RMSNorm`` has it, in one pass over the data where a kernel can run."""

from torch import Tensor, nn

from pn_lib.models.cpu.availability import can_fuse


class RMSNorm(nn.RMSNorm):
    """x (..., D) divided by its root mean square over D, times a learned gain."""

    def forward(self, x: Tensor) -> Tensor:
        if not can_fuse(x):
            return super().forward(x)
        from pn_lib.models.cpu.fused_blocks import can_split, rms_norm  # needs Numba, which need not be there

        return rms_norm(x, self.weight, self.eps) if can_split(x.shape[-1]) else super().forward(x)
