"""A process that gives back what it does not use."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_THRESHOLD, _THRESHOLD_LOW = 1 << 20, 128 << 10


def spare_memory(model: nn.Module, low: bool = False) -> None:
    """Make this process return memory to the system, at no price in time that could be measured; ``low``: at some.

    * Weights that are mapped from a file move to memory of their own and the mapping goes. Layers that are joined
      for speed would otherwise be resident twice, in the mapping and as joined.
    * On glibc, blocks above 1 MiB (``low``: 128 KiB) get mappings of their own, which are returned to the system when
      they are freed. By default that bound rises to 32 MiB as soon as such a block was freed once, and the heap of a
      long run only ever grows.
    """
    _libc("mallopt", _M_MMAP_THRESHOLD, _THRESHOLD_LOW if low else _THRESHOLD)
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
