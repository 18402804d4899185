"""Which number format and which device a base is loaded in."""

from __future__ import annotations

import contextlib
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neuralforge.errors import UserError

if TYPE_CHECKING:
    import torch

NAMES = ("fp32", "bf16", "fp16")
# Instruction sets that multiply bfloat16 natively: x86 AVX-512 and AMX, Arm's BF16 extension.
_NATIVE = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The torch type for ``fp32``, ``bf16`` or ``fp16``; None asks for the fastest that ``device`` really has.

    Raises:
        UserError: another name.
    """
    import torch

    if name is None:
        return fastest_dtype(device)
    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name not in known:
        raise UserError(f"There is no number format {name!r}.", f"Choose one of {', '.join(NAMES)}, or leave it out.")
    return known[name]


def choose_device(name: str) -> torch.device:
    """The torch device for ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto`` (a GPU where there is one).

    Raises:
        UserError: no such device on this machine.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as failure:
        raise UserError(f"There is no device {name!r}.", "Choose cpu, cuda, mps or auto.") from failure
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(device.type, False):
        raise UserError(
            f"This machine has no usable device {name!r}.",
            "Choose cpu, or install a build of torch and a driver that fit the GPU; `neuralforge doctor` shows both.",
        )
    return device


def fastest_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device has instructions for it, else float32.

    The choice is by what the processor is, not by a stopwatch: timings on a busy machine were off by a factor of a
    hundred, and a choice that flips between two starts would break resuming. Where the instructions exist (AVX-512,
    2 cores) bfloat16 took the default base from 165 to 300 training tokens/s; without them it is emulated and slower.
    float16 is never chosen by itself: its range makes training diverge without loss scaling.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and sys.platform != "darwin" and _NATIVE & _cpu_features():
        return torch.bfloat16
    return torch.float32


def multiplies_int8() -> bool:
    """Whether this processor has instructions for products of 8-bit integers that beat bfloat16's (VNNI)."""
    return "avx512_vnni" in _cpu_features()


@functools.cache
def _cpu_features() -> frozenset[str]:
    """Names of what this processor can do, from the kernel where it tells and from torch where that knows."""
    import torch

    found: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            label, _, value = line.partition(":")
            if label.strip() in ("flags", "Features"):
                found.update(value.split())
                break
    ask = getattr(torch.cpu, "get_capabilities", None)  # newer than the oldest torch we admit
    if ask is not None:
        found.update(name for name, present in ask().items() if present is True)
    return frozenset(found)
