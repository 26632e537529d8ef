"""Mixed precision: the key ``enable_amp``, and the dtype of a device."""

from __future__ import annotations

import torch


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device computes matrix products faster in bfloat16 than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def set_mixed_precision(device: torch.device, enable_amp: bool | None) -> torch.dtype | None:
    """Set the dtype of autocast on a device.

    RecBole's autocast does not state a dtype, and on a GPU the default is float16.

    Args:
        device: on which the model is trained.
        enable_amp: the key; ``None`` means mixed precision if the device is faster in bfloat16.

    Returns:
        The dtype; ``None`` without mixed precision.
    """
    bfloat16 = computes_in_bfloat16(device)
    if not (bfloat16 if enable_amp is None else enable_amp):
        return None
    dtype = torch.bfloat16 if bfloat16 or device.type == "cpu" else torch.float16
    torch.set_autocast_dtype(device.type, dtype)
    return dtype
