"""Mixed precision: the key ``enable_amp``, and the type in which a device computes."""

from __future__ import annotations

import torch


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster there than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def set_mixed_precision(device: torch.device, enable_amp: bool | None) -> torch.dtype | None:
    """Set the type of autocast on a device.

    RecBole's autocast names no type, and on a GPU that would be float16.

    Args:
        enable_amp: the key; ``None`` means mixed precision where the device computes in bfloat16.

    Returns:
        The type; ``None``: no mixed precision.
    """
    bfloat16 = computes_in_bfloat16(device)
    if not (bfloat16 if enable_amp is None else enable_amp):
        return None
    dtype = torch.bfloat16 if bfloat16 or device.type == "cpu" else torch.float16
    torch.set_autocast_dtype(device.type, dtype)
    return dtype
