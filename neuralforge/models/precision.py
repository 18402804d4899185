"""Which number format and which device a base is loaded in."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

from neuralforge.errors import UserError

if TYPE_CHECKING:
    import torch

NAMES = ("fp32", "bf16", "fp16")
# bfloat16 must save at least this share of the time to be worth its 8 bits of mantissa. Processors with instructions
# for it save about half; those without convert back and forth and lose.
_WORTH_IT = 0.8


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
    """bfloat16 where the device multiplies it faster than float32, else float32.

    On a CPU this is timed once a process (about 30 ms), for capability flags say what a processor can do and not
    whether it pays. float16 is never chosen by itself: its range makes training diverge without loss scaling.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and _cpu_gain() < _WORTH_IT:
        return torch.bfloat16
    return torch.float32


@functools.cache
def _cpu_gain() -> float:
    """Seconds of a bf16 matrix product over seconds of the same in fp32, at the width of the default base."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        left, right = torch.ones(256, 576, dtype=dtype), torch.ones(1536, 576, dtype=dtype)
        best = float("inf")
        for _ in range(9):  # the least of several: what else runs on the machine only ever adds
            begin = time.perf_counter()
            torch.nn.functional.linear(left, right)
            best = min(best, time.perf_counter() - begin)
        return best

    with torch.inference_mode():
        return seconds(torch.bfloat16) / seconds(torch.float32)
