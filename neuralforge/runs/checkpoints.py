"""Checkpoints that are whole or not there, and say so themselves.

    checkpoints/
      step-00000040/            files of the caller's choosing, and
        checkpoint.json         written last: size and SHA-256 of each, the step, the best step so far
      corrupt-step-00000060/    did not verify; set aside, never read again

A checkpoint is written under a temporary name, every file and the folder are fsynced, then renamed. The rename is
the only moment that counts: a kill before it leaves a temporary folder that the next save removes, a kill after it
leaves a complete checkpoint. Which step was best is carried inside each checkpoint, so going back to an
older one also goes back to what was best then. The store holds bytes and knows nothing of what they mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from neuralforge.errors import DataError, RunError
from neuralforge.files import read_json, sha256, sync_folder
from neuralforge.runs.events import Emit, Note, silent

FORMAT = 1
MANIFEST = "checkpoint.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FOLDER = re.compile(r"step-(\d{8,})(?:\.(\d+))?")
_UNFINISHED = ".saving-"

Content = bytes | Callable[[BinaryIO], None]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One verified checkpoint on disk.

    Attributes:
        path: its folder.
        step: optimiser steps done when it was saved.
        best: folder name of the best checkpoint as of this one, or None when none was marked.
        sizes: bytes of each file by name.
    """

    path: Path
    step: int
    best: str | None
    sizes: Mapping[str, int]

    def file(self, name: str) -> Path:
        """Path of one of its files.

        Raises:
            RunError: this checkpoint has no such file.
        """
        if name not in self.sizes:
            raise RunError(
                f"The checkpoint {self.path} has no {name!r}; it holds {', '.join(sorted(self.sizes))}.",
                "It was written by another version of neuralforge; start the training anew.",
            )
        return self.path / name

    def read(self, name: str) -> bytes:
        """Content of one of its files."""
        try:
            return self.file(name).read_bytes()
        except OSError as failure:
            raise RunError(
                f"Cannot read {name!r} of the checkpoint {self.path}: {failure.strerror or failure}.",
                "Check the folder's permissions.",
            ) from failure


class CheckpointStore:
    """Checkpoints of one run under ``folder``. The caller holds the run's lock: there is one writer.

    Args:
        folder: made on the first save.
        keep: how many of the newest to keep; the best one is kept besides.
        emit: is told when a checkpoint is set aside.
    """

    def __init__(self, folder: Path, keep: int = 2, emit: Emit = silent) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self.folder = folder
        self.keep = keep
        self._emit = emit

    def save(self, step: int, files: Mapping[str, Content], *, best: bool = False) -> Path:
        """Write a checkpoint durably and prune old ones; it replaces an earlier one of the same step.

        Args:
            step: not lower than that of any checkpoint here.
            files: content by name; a callable is given the open file and may write and seek in it.
            best: this is the best checkpoint so far.

        Returns:
            The checkpoint's folder.

        Raises:
            RunError: the disk is full, the folder cannot be written, or a newer step is here. The
                checkpoints that were here are intact.
        """
        wrong = sorted(name for name in files if not _NAME.fullmatch(name) or name == MANIFEST)
        if wrong or not files:
            raise ValueError(f"not names of checkpoint files: {wrong}" if wrong else "a checkpoint needs files")
        present = self._present()
        if present and present[-1][0] > step:
            raise RunError(
                f"{self.folder} holds a checkpoint of step {present[-1][0]}, newer than step {step}.",
                "Resume that run, or train in a new folder.",
            )
        generation = 1 + present[-1][1] if present and present[-1][0] == step else 0
        target = self.folder / (f"step-{step:08d}" + (f".{generation}" if generation else ""))
        best_name = target.name if best else self._best_so_far(present)
        temporary: Path | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove(path for path in self.folder.iterdir() if path.name.startswith(_UNFINISHED))
            temporary = Path(tempfile.mkdtemp(dir=self.folder, prefix=_UNFINISHED))
            self._fill(temporary, step, files, best_name)
            temporary.rename(target)
            temporary = None
            sync_folder(self.folder)
        except OSError as failure:
            raise RunError(
                f"Cannot save the checkpoint of step {step} in {self.folder}: {failure.strerror or failure}.",
                "The earlier checkpoints are intact. Free some space or fix the permissions.",
            ) from failure
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        self._prune()
        return target

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint whose every byte is as it was saved, or None.

        One that is not is renamed to ``corrupt-…`` and reported, and the one before it is tried.

        Raises:
            RunError: the folder cannot be read.
        """
        for _, _, path in reversed(self._present()):
            found = self._verified(path)
            if found is not None:
                return found
        return None

    def best(self) -> Checkpoint | None:
        """The checkpoint that was marked best, as of the latest one; None when none was marked.

        When that one is damaged the latest takes its place, and a warning says so.
        """
        latest = self.latest()
        if latest is None or latest.best is None:
            return None
        if latest.best == latest.path.name:
            return latest
        path = self.folder / latest.best
        found = self._verified(path) if path.is_dir() else None
        if found is None:
            message = f"The best checkpoint, {latest.best}, is gone; the latest (step {latest.step}) takes its place."
            self._emit(Note(message, "warning"))
        return found or latest

    def _fill(self, folder: Path, step: int, files: Mapping[str, Content], best: str | None) -> None:
        listed = {}
        # Digests are computed while the kernel writes: both release the interpreter lock.
        with ThreadPoolExecutor(max_workers=1) as hasher:
            pending = {name: _write(folder / name, content, hasher) for name, content in files.items()}
            for name, digest in pending.items():
                listed[name] = {"digest": digest(), "size": (folder / name).stat().st_size}
        body: dict[str, Any] = {"format": FORMAT, "step": step, "best": best, "files": listed}
        body["digest"] = _digest_of(body)
        _write_synced(folder / MANIFEST, json.dumps(body, indent=2, sort_keys=True).encode())
        sync_folder(folder)

    def _present(self) -> list[tuple[int, int, Path]]:
        """(step, generation, folder) of everything that has a checkpoint's name, oldest first."""
        found = []
        try:
            for path in self.folder.iterdir():
                name = _FOLDER.fullmatch(path.name)
                if name and path.is_dir() and not path.is_symlink():
                    found.append((int(name[1]), int(name[2] or 0), path))
        except FileNotFoundError:
            return []
        except OSError as failure:
            raise RunError(
                f"Cannot read the checkpoints in {self.folder}: {failure.strerror or failure}.",
                "Check the folder's permissions.",
            ) from failure
        return sorted(found)

    def _best_so_far(self, present: list[tuple[int, int, Path]]) -> str | None:
        for _, _, path in reversed(present):
            with contextlib.suppress(DataError, _Damaged):
                return _read_manifest(path).best
        return None

    def _verified(self, path: Path) -> Checkpoint | None:
        """The checkpoint in ``path`` if it is whole; otherwise it is set aside and None returned."""
        try:
            return _verify(path)
        except (DataError, _Damaged, OSError) as failure:
            reason = failure.message if isinstance(failure, DataError) else str(failure)
        aside = path.with_name(f"corrupt-{path.name}")
        number = 1
        while os.path.lexists(aside):
            number += 1
            aside = path.with_name(f"corrupt-{path.name}-{number}")
        with contextlib.suppress(OSError):  # on a read-only disk it stays, and is passed over all the same
            path.rename(aside)
            sync_folder(self.folder)
        self._emit(Note(f"The checkpoint {path.name} is damaged ({reason}); it was set aside.", "warning"))
        return None

    def _prune(self) -> None:
        """Delete what neither is among the newest nor is the best of one of those."""
        present = [path for _, _, path in self._present()]
        newest_of_step = {path.name.partition(".")[0]: path for path in present}
        kept = list(newest_of_step.values())[-self.keep :]
        names = {path.name for path in kept}
        for path in kept:
            names.add(self._best_so_far([(0, 0, path)]) or path.name)
        self._remove(path for path in present if path.name not in names)

    def _remove(self, folders: Iterable[Path]) -> None:
        """Delete folders. Each is renamed first, so that a kill half-way leaves nothing with a checkpoint's name."""
        for folder in list(folders):
            with contextlib.suppress(OSError):
                doomed = folder
                if not folder.name.startswith(_UNFINISHED):
                    doomed = folder.with_name(f"{_UNFINISHED}old-{folder.name}")
                    folder.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)


class _Damaged(Exception):
    """Why a checkpoint does not verify."""


def _write(path: Path, content: Content, hasher: ThreadPoolExecutor) -> Callable[[], str]:
    """Write one file durably; the returned call gives its digest."""
    if isinstance(content, bytes):
        pending = hasher.submit(lambda: f"sha256:{hashlib.sha256(content).hexdigest()}")
        _write_synced(path, content)
        return pending.result
    with path.open("w+b") as handle:
        content(handle)
        handle.flush()
        # Read back from the page cache, so that the caller may seek as it writes.
        pending = hasher.submit(sha256, path)
        os.fsync(handle.fileno())
    return pending.result


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _digest_of(body: Mapping[str, Any]) -> str:
    canonical = json.dumps({key: body[key] for key in sorted(body) if key != "digest"}, sort_keys=True)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Listing:
    step: int
    best: str | None
    files: dict[str, tuple[str, int]]


def _read_manifest(folder: Path) -> _Listing:
    """Parse ``checkpoint.json``; it carries its own digest, so that even its step cannot be wrong unnoticed."""
    body = read_json(folder / MANIFEST, limit=1 << 20)
    if not isinstance(body, dict) or "digest" not in body or body["digest"] != _digest_of(body):
        raise _Damaged(f"{MANIFEST} does not match its own digest")
    if body.get("format") != FORMAT:
        raise _Damaged(f"format {body.get('format')!r} is not {FORMAT}")
    try:
        files = {name: (str(entry["digest"]), int(entry["size"])) for name, entry in body["files"].items()}
        step, best = int(body["step"]), body["best"]
        if any(not _NAME.fullmatch(name) for name in files):
            raise _Damaged("it lists a file name that leaves the folder")
        if best is not None and not _FOLDER.fullmatch(best):
            raise _Damaged("its best checkpoint is not a checkpoint's name")
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise _Damaged(f"{MANIFEST} has another shape") from failure
    return _Listing(step, best, files)


def _verify(folder: Path) -> Checkpoint:
    listing = _read_manifest(folder)
    for name, (digest, size) in listing.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise _Damaged(f"{name} is missing")
        if path.stat().st_size != size:
            raise _Damaged(f"{name} has {path.stat().st_size:,} bytes instead of {size:,}")
        if sha256(path) != digest:
            raise _Damaged(f"the content of {name} has changed")
    return Checkpoint(folder, listing.step, listing.best, {name: size for name, (_, size) in listing.files.items()})
