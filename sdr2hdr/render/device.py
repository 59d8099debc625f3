"""Which device, which precision, how much memory."""

import contextlib
import ctypes
from pathlib import Path

import psutil
import torch

from sdr2hdr.errors import ModelError
from sdr2hdr.models.spec import ModelSpec

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(name: str) -> torch.device:
    """``auto`` (CUDA if available, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``; raises ModelError for others."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"There is no device {name!r}; use auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ModelError(
                f"Device {name!r} is not there (CUDA devices found: {count}); use --device cpu or auto."
            )
    elif device.type != "cpu":
        raise ModelError(f"Device {name!r} is not supported; use auto, cpu, cuda or cuda:N.")
    return device


def pick_precision(name: str, spec: ModelSpec, device: torch.device) -> str:
    """``auto`` or one that the spec allows. ``auto`` takes bfloat16 if the device computes it natively, else float32."""
    if name == "auto":
        if "bfloat16" not in spec.precisions:
            return "float32"
        if device.type == "cuda":
            return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        return "bfloat16" if _cpu_has_bfloat16() else "float32"
    if name not in PRECISIONS:
        raise ModelError(f"There is no precision {name!r}; use auto, {', '.join(PRECISIONS)}.")
    if name not in spec.precisions:
        raise ModelError(
            f"Model {spec.name} does not run in {name}; use one of {', '.join(spec.precisions)}, or auto."
        )
    return name


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively; emulated it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8").split("flags", 2)[1]
    except (OSError, IndexError):
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken: of the GPU, or of main memory within the control group's limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            free = min(
                free,
                max(0, int(Path(limit).read_text("utf-8")) - int(Path(used).read_text("utf-8"))),
            )
        except (OSError, ValueError):
            continue
    return free


def keep_one_heap() -> None:
    """Let all threads share one heap, and keep what is freed for the next frame.

    glibc gives threads heaps of their own; they fragment apart, and memory grows with work. It also takes every picture's
    memory from the system and hands it back, which costs as much as filling it.
    """
    with contextlib.suppress(
        OSError, AttributeError
    ):  # another C library has no such call, or no such habit
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-8, 1)  # M_ARENA_MAX of malloc.h
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def keep_float32(device: torch.device) -> None:
    """Let convolutions in float32 compute in float32 on a GPU too, where cuDNN would round their inputs to 10 bits (TF32)."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


_NO_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED")
"""What errors of the CPU, of CUDA itself and of its libraries (cuDNN, cuBLAS) hold if memory ran out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch says that memory ran out, on either device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
