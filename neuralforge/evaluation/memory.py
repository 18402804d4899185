"""How much memory this process took at its highest, and how large an adapter is."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from neuralforge.models.base import BaseModel

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes.

    Attributes:
        peak: largest resident set of this process since it started, base model and all.
        resident: resident set now.
        base_weights: weights of the base model.
        adapter_weights: weights that the attached adapter adds to it.
        package: the adapter's file or folder on disk.
    """

    peak: int
    resident: int
    base_weights: int
    adapter_weights: int
    package: int

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, in bytes."""
        return asdict(self)


def measure_memory(base: BaseModel, package: Path) -> Memory:
    """Memory of this process with ``base`` and its attached adapter loaded."""
    own = adapter = 0
    for name, weight in base.model.named_parameters():
        size = weight.numel() * weight.element_size()
        if "lora_" in name:
            adapter += size
        else:
            own += size
    return Memory(peak_memory(), psutil.Process().memory_info().rss, own, adapter, stored_size(package))


def peak_memory() -> int:
    """Largest resident set of this process so far, in bytes.

    On Linux from ``VmHWM``: ``ru_maxrss`` survives ``exec``, so a small program started by a large one would be
    charged with its parent's memory.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    on_windows = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if on_windows is not None:
        return int(on_windows)
    import resource  # not on Windows

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def stored_size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
    return path.stat().st_size
