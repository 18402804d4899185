"""A smaller process, for machines with little memory."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_THRESHOLD_BYTES = 128 << 10


def spare_memory(model: nn.Module) -> None:
    """Give back what is not in use, at the price of some time.

    * Weights that are mapped from a file move to memory of their own and the mapping goes. Layers that are joined
      for speed would otherwise be resident twice, in the mapping and as joined.
    * On glibc, blocks above 128 KiB get mappings of their own, which are returned to the system when they are freed.
      By default that bound rises to 32 MiB as soon as such a block was freed once, and the heap only ever grows.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
