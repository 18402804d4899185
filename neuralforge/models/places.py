"""Where the bases in folders and files of this machine lie.

An adapter names such a base by its own name and digest, not by the folders it lies in: packages travel, and paths tell
about people. On this machine the digest leads back to it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from neuralforge import files, paths
from neuralforge.errors import NeuralForgeError


def remember(digest: str, place: Path) -> None:
    """Note that the base of ``digest`` lies at ``place``. A read-only home is no error: then nothing is noted."""
    known = _read()
    if known.get(digest) != str(place):
        with contextlib.suppress(NeuralForgeError):
            files.write_json(_file(), known | {digest: str(place)})


def find(digest: str) -> Path | None:
    """Where the base of ``digest`` was last seen, if something is still there; the digest says whether it is that."""
    place = _read().get(digest)
    return Path(place) if place is not None and Path(place).exists() else None


def _file() -> Path:
    return paths.models_cache() / "places.json"


def _read() -> dict[str, str]:
    with contextlib.suppress(NeuralForgeError):
        known = files.read_json(_file(), 1 << 20)
        if isinstance(known, dict):
            return {digest: place for digest, place in known.items() if isinstance(place, str)}
    return {}
