"""Which number format a device computes in fast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Of the process, not of a context: optimizers work in threads of their own.
_recorded: str | None = None


@contextmanager
def precision_as_recorded(precision: str | None) -> Iterator[None]:
    """Has what follows compute as a machine did that recorded this precision.

    Without fast bf16 that takes several times as long, for the same figures but for rounding.

    Args:
        precision: "bf16", "fp32", or None for what suits this machine.
    """
    global _recorded
    before, _recorded = _recorded, precision
    try:
        yield
    finally:
        _recorded = before


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bf16 faster than of fp32."""
    if _recorded is not None:
        return _recorded == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
