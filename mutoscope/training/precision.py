"""Which number format a device computes in fast."""

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies matrices of bf16 faster than of fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
