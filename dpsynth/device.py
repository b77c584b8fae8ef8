"""In which precision networks compute: bfloat16 where the processor multiplies it in hardware, else float32."""

import torch


def kind() -> str:
    """What computes: part of an artifact's name, as bits depend on it."""
    return "cpu"


def precision() -> torch.dtype:
    """bfloat16 if the processor has instructions for it, which take half the time or less; else float32."""
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def autocast(precision: torch.dtype) -> torch.autocast:
    """Context in which matrix products and convolutions are computed in `precision`."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16)
