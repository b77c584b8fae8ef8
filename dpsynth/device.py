"""Where networks compute, in which precision, and on how many rows at once: the only file that chooses a device.

None of it is a parameter of a run, of its plan or of its certificate: the same run may be made here or there. Artifacts
say which device kind and precision made them, as their bits depend on both.

Environment variables: DPSYNTH_DEVICE=auto|cpu|cuda, where auto is a GPU if there is one; DPSYNTH_PRECISION=auto|
float32|bfloat16, where auto is bfloat16 if the device has instructions for it; DPSYNTH_MICROBATCH=auto|N. Where both
are auto, artifacts that stand are used whatever made them; DPSYNTH_EQUAL_BITS=1 refuses those of other machines.
"""

import gc
import math
import os
from collections.abc import Callable

import torch
from torch import Tensor, nn

KINDS = ("cpu", "cuda")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HOST = torch.device("cpu")
AMPERE = (8, 0)  # the first GPUs with bfloat16
ROWS_ON_GPU = 2048  # at once: few launches, and memory for a 32-pixel network of some million weights

_number = 0  # of the GPU, where there are several


def kind() -> str:
    """The kind of device that networks compute on: "cpu" or "cuda".

    Raises:
        ValueError: DPSYNTH_DEVICE asks for what is not there, or for no such thing.
    """
    asked = _asked("DEVICE", KINDS)
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise ValueError(
            "DPSYNTH_DEVICE=cuda, and torch finds no GPU here; install its driver and a CUDA build of torch, "
            "or set DPSYNTH_DEVICE=cpu"
        )
    return asked or ("cuda" if there else "cpu")


def own(number: int) -> str:
    """Let this process compute on GPU number `number` of its machine, as one of several; what carries messages of the
    host and of the device among them, as `torch.distributed` names it.

    Raises:
        ValueError: there is no such GPU.
    """
    if not on_gpu():
        return "gloo"
    if number >= (there := torch.cuda.device_count()):
        raise ValueError(
            f"process {number} of this machine has no GPU: torch finds {there} here; start torchrun with "
            f"--nproc-per-node {there}, or set DPSYNTH_DEVICE=cpu"
        )
    torch.cuda.set_device(number)
    global _number
    _number = number
    return "cpu:gloo,cuda:nccl"


def on_gpu() -> bool:
    """Whether networks compute on a GPU."""
    return kind() == "cuda"


def put(tensor: Tensor) -> Tensor:
    """`tensor` where networks compute; a copy to a GPU does not wait for what that is at."""
    if not on_gpu() or tensor.is_cuda:
        return tensor
    return tensor.pin_memory().to(_place(), non_blocking=True)


def host(tensor: Tensor) -> Tensor:
    """`tensor` in the memory of the processor."""
    return tensor.to(HOST)


def placed(network: nn.Module) -> nn.Module:
    """`network` where networks compute, in the memory format that convolutions are quickest in; one that has shapes
    alone keeps them."""
    shapes_alone = any(weight.is_meta for weight in network.parameters())
    return network.to(None if shapes_alone else _place(), memory_format=torch.channels_last)


def finish() -> None:
    """Wait for what a GPU is at."""
    if on_gpu():
        torch.cuda.synchronize()


def host_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_bytes() -> int:
    """The memory where networks compute: of the GPU, or of the machine."""
    return torch.cuda.get_device_properties().total_memory if on_gpu() else host_bytes()


def card() -> str:
    """What computes: the name of the GPU and the version of its kernels, or "processor"."""
    return f"{torch.cuda.get_device_name()}, cuDNN {torch.backends.cudnn.version()}" if on_gpu() else "processor"


def forget_peak() -> None:
    """Count the largest memory from now on."""
    if on_gpu():
        torch.cuda.reset_peak_memory_stats()


def peak_gib() -> float:
    """The largest memory that tensors took on the GPU since `forget_peak`; NaN where there is none."""
    return torch.cuda.max_memory_allocated() / 2**30 if on_gpu() else math.nan


def free() -> None:
    """Give back what no tensor holds any more."""
    gc.collect()
    if on_gpu():
        torch.cuda.empty_cache()


def busy_seconds(work: Callable[[], None]) -> float:
    """Seconds that the GPU computed in `work`; NaN where there is none."""
    if not on_gpu():
        return math.nan
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        finish()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def compiled(function: Callable) -> Callable:
    """`function` of tensors of fixed shapes as a GPU is quickest with; on the CPU as it is."""
    return torch.compile(function, dynamic=False) if on_gpu() else function


def precision() -> torch.dtype:
    """What matrix products and convolutions are computed in: bfloat16 where it is quick, else float32."""
    if asked := _asked("PRECISION", tuple(PRECISIONS)):
        return PRECISIONS[asked]
    if on_gpu():
        able = torch.cuda.get_device_capability() >= AMPERE
    elif hasattr(torch.cpu, "get_capabilities"):
        instructions = torch.cpu.get_capabilities()
        able = instructions.get("avx512_bf16") or instructions.get("amx_bf16")
    else:  # torch before 2.12
        able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if able else torch.float32


def machine() -> str:
    """What bits depend on beside the code: device kind and precision, as the names of artifacts hold them."""
    return f"{kind()} {precision()}"


def machines() -> tuple[str, ...]:
    """This machine first, then those whose artifacts may stand for its own: of whatever was not asked for."""
    kinds = [asked] if (asked := _asked("DEVICE", KINDS)) else KINDS
    precisions = [asked] if (asked := _asked("PRECISION", tuple(PRECISIONS))) else PRECISIONS
    every = (f"{one} {PRECISIONS[name]}" for one in kinds for name in precisions)
    return tuple(dict.fromkeys([machine(), *every]))


def equal_bits() -> bool:
    """Whether what another kind of machine made is refused, as its bits are others: DPSYNTH_EQUAL_BITS=1."""
    if (asked := os.environ.get("DPSYNTH_EQUAL_BITS", "0")) not in ("0", "1"):
        raise ValueError(f"DPSYNTH_EQUAL_BITS={asked}: expected 0 or 1")
    return asked == "1"


def autocast(dtype: torch.dtype, like: Tensor) -> torch.autocast:
    """Context in which matrix products and convolutions, where `like` is, are computed in `dtype`."""
    where = kind() if like.is_meta else like.device.type
    return torch.autocast(where, torch.bfloat16, enabled=dtype == torch.bfloat16)


def at_once(rows: int) -> int:
    """How many rows a network computes on at once where `rows` suit a core: more on a GPU."""
    asked = os.environ.get("DPSYNTH_MICROBATCH", "auto")
    if asked == "auto":
        return max(rows, ROWS_ON_GPU) if on_gpu() else rows
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"DPSYNTH_MICROBATCH={asked}: expected auto, or a whole number above 0")
    return int(asked)


def _place() -> torch.device:
    """Where networks compute: on a GPU by its number, as a thread that torch did not start knows but the first."""
    return torch.device("cuda", _number) if on_gpu() else HOST


def _asked(what: str, known: tuple[str, ...]) -> str | None:
    """The value of DPSYNTH_<what>; None for auto."""
    asked = os.environ.get(f"DPSYNTH_{what}", "auto")
    if asked not in ("auto", *known):
        raise ValueError(f"DPSYNTH_{what}={asked}: expected auto, {' or '.join(known)}")
    return None if asked == "auto" else asked
