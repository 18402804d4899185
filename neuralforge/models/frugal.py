"""A process that gives back what it does not use."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
# Blocks of their own from this size; free memory at the heap's end that is kept. The activations of one layer stay
# below both: mapped anew each time, their page faults cost a twentieth of a step.
_OWN_BLOCK, _OWN_BLOCK_LOW, _KEPT_FREE = 8 << 20, 128 << 10, 64 << 20


def spare_memory(model: nn.Module, low: bool = False) -> None:
    """Make this process return memory to the system; ``low``: at once, at some price in time.

    * Weights that are mapped from a file move to memory of their own and the mapping goes. Layers that are joined
      for speed would otherwise be resident twice, in the mapping and as joined.
    * On glibc, blocks above 8 MiB (``low``: 128 KiB) get mappings of their own, which are returned to the system when
      they are freed. By default that bound rises to 32 MiB as soon as such a block was freed once, and the heap of a
      long run only ever grows.
    """
    _libc("mallopt", _M_MMAP_THRESHOLD, _OWN_BLOCK_LOW if low else _OWN_BLOCK)
    if not low:
        _libc("mallopt", _M_TRIM_THRESHOLD, _KEPT_FREE)
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def give_back() -> None:
    """Return what the heap has free to the system: worth it between two phases of a long command (glibc only)."""
    _libc("malloc_trim", 0)


def _libc(function: str, *arguments: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            getattr(ctypes.CDLL(None), function)(*arguments)
