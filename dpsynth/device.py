"""Where networks compute, and in which precision: the only file that names a device.

Artifacts say both, as their bits depend on them.
"""

import torch


def kind() -> str:
    """The kind of device that networks compute on: "cpu"."""
    return "cpu"


def precision() -> torch.dtype:
    """bfloat16 if the processor has instructions for it, which take half the time or less; else float32."""
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def autocast(dtype: torch.dtype) -> torch.autocast:
    """Context in which matrix products and convolutions are computed in `dtype`."""
    return torch.autocast(kind(), torch.bfloat16, enabled=dtype == torch.bfloat16)
