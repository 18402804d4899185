"""Converted bases under the neuralforge home, one folder each: wholly there, or not there at all.

A conversion happens in a hidden temporary folder and is renamed when everything in it is on disk. A lock keeps
processes from converting the same base at once; the second one waits and finds the work done. What a killed
conversion left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralforge import files, paths
from neuralforge.errors import DataError, RunError, TrustError
from neuralforge.models.digest import weights_digest
from neuralforge.models.providers.base import BaseFiles
from neuralforge.runs import locks
from neuralforge.runs.events import Emit, Note, silent

RECORD = "base.json"
FORMAT = 1
# Notes that live beside the bases: remembered digests, and which commit of a hub repository was fetched.
NOT_BASES = frozenset({"digests", "hub"})
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a conversion says about its result; ``digest`` is that of the source file, so it holds on every machine."""

    identity: str
    digest: str
    licence: str | None


def lookup(key: str) -> BaseFiles | None:
    """The converted base under ``key``, checked against its record, or None when there is none.

    Raises:
        TrustError: the weights are not those that were written.
    """
    folder = folder_of(key)
    if not (folder / RECORD).is_file():
        return None
    record = _read_record(folder)
    if weights_digest(folder) != record["weights"]:
        raise TrustError(
            f"The converted base in {folder} was changed or damaged after it was written.",
            f"Remove it with `neuralforge models remove {key}`; the next use converts it again.",
        )
    return BaseFiles(folder, record["identity"], record["digest"], record["licence"])


def converted(key: str, build: Callable[[Path], Origin], *, emit: Emit = silent) -> BaseFiles:
    """The base under ``key``, made by ``build(folder)`` if it is not there yet.

    Raises:
        RunError: the disk is full or the cache cannot be written; nothing half-made is left.
        NeuralForgeError: whatever ``build`` raises.
    """
    ready = lookup(key)
    if ready is not None:
        return ready
    target = folder_of(key)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _turn(target.parent / f".{key}.lock", key, emit):
            ready = lookup(key)
            if ready is not None:
                return ready
            _make(key, target, build)
    except OSError as failure:
        raise RunError(
            f"Cannot convert {key} into {target.parent}: {failure.strerror or failure}.",
            "Free some disk space or set NEURALFORGE_HOME to a folder that can be written; nothing half-made was left.",
        ) from failure
    ready = lookup(key)
    if ready is None:
        raise RunError(f"{target} disappeared right after it was written.", "Is another program clearing the cache?")
    return ready


def installed() -> list[str]:
    """Keys of all converted bases, in name order."""
    return [key for key in folders() if (folder_of(key) / RECORD).is_file()]


def folders() -> list[str]:
    """Keys of all folders in the cache that are or once were converted bases, sound or not."""
    root = paths.models_cache()
    if not root.is_dir():
        return []
    inside = (path for path in root.iterdir() if path.is_dir() and path.name not in NOT_BASES)
    return sorted(path.name for path in inside if _KEY.fullmatch(path.name))


def remove(key: str) -> int:
    """Delete the converted base under ``key``; returns the bytes freed (0 when there was none)."""
    folder = folder_of(key)
    if not folder.is_dir():
        return 0
    size = folder_size(folder)
    try:
        with _turn(folder.parent / f".{key}.lock", key, silent):
            # Out of sight first: a reader sees the whole base or none.
            doomed = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{key}.", suffix=".tmp"))
            os.replace(folder, doomed / "removed")
            shutil.rmtree(doomed)
    except OSError as failure:
        raise RunError(f"Cannot remove {folder}: {failure.strerror or failure}.", "Check its permissions.") from failure
    return size


def folder_of(key: str) -> Path:
    """Where the base with this key is or would be."""
    if not _KEY.fullmatch(key):
        raise DataError(f"{key!r} cannot name a folder of the cache.", "Keys are lower-case letters, digits, '.-_'.")
    return paths.models_cache() / key


def folder_size(folder: Path) -> int:
    """Bytes of all regular files under ``folder``, links followed."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _make(key: str, target: Path, build: Callable[[Path], Origin]) -> None:
    for stale in target.parent.glob(f".{key}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{key}.", suffix=".tmp"))
    try:
        origin = build(work)
        record = {
            "format": FORMAT,
            "identity": origin.identity,
            "digest": origin.digest,
            "licence": origin.licence,
            "weights": weights_digest(work, remember=False),
        }
        files.write_json(work / RECORD, record)
        umask = os.umask(0)
        os.umask(umask)
        for path in work.iterdir():
            os.chmod(path, 0o644 & ~umask)
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        os.chmod(work, 0o755 & ~umask)
        files.sync_folder(work)
        if target.exists():  # a folder without a record is not ours to trust
            shutil.rmtree(target)
        os.replace(work, target)
        files.sync_folder(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_record(folder: Path) -> dict[str, Any]:
    record = files.read_json(folder / RECORD, 1 << 20)
    texts = ("identity", "digest", "weights")
    sound = (
        isinstance(record, dict)
        and record.get("format") == FORMAT
        and all(isinstance(record.get(key), str) for key in texts)
        and isinstance(record.get("licence"), str | None)
    )
    if not sound:
        raise DataError(
            f"{folder / RECORD} is not a record that this version understands.",
            f"Remove the base with `neuralforge models remove {folder.name}`; the next use converts it again.",
        )
    assert isinstance(record, dict)
    return record


@contextlib.contextmanager
def _turn(lock: Path, what: str, emit: Emit) -> Iterator[None]:
    """Hold ``lock``, waiting for whoever has it: they are doing the same work."""
    told, free = False, 0
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locks.exclusive(lock, what))
                break
            except RunError:
                # Refused though nobody holds it: once may be a race, more often it cannot be opened at all.
                free += not locks.is_held(lock)
                if free > 3:
                    raise
            if not told:
                emit(Note(f"Another process is preparing {what}; waiting for it."))
                told = True
            time.sleep(0.2)
        yield
