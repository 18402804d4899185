"""Adapters installed on this machine: one checked folder each, ``<home>/adapters/NAME@VERSION``."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neuralforge import paths
from neuralforge.adapter.manifest import NAME, VERSION, Manifest, version_key
from neuralforge.adapter.package import MANIFEST, inspect, opened, read_manifest
from neuralforge.errors import NeuralForgeError, RunError, TrustError, UserError
from neuralforge.files import sync_folder

_FOLDER = re.compile(rf"({NAME})@({VERSION})")


@dataclass(frozen=True, slots=True)
class Installed:
    """One installed adapter. ``manifest`` is None when ``problem`` says why it cannot be read."""

    name: str
    version: str
    path: Path
    manifest: Manifest | None
    problem: str = ""

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def size(self) -> int:
        """Bytes of its files on disk."""
        return sum(entry.stat().st_size for entry in self.path.iterdir() if entry.is_file())


def install(source: Path, *, force: bool = False) -> Installed:
    """Check a package or an adapter's folder and put it among the installed ones.

    Installing the same content twice changes nothing.

    Args:
        source: a ``.lora`` file or a folder.
        force: replace other content under the same name and version.

    Raises:
        TrustError: the package is refused, or that version is there with other content.
        RunError: it cannot be written; what was installed is untouched.
    """
    with opened(source) as folder:
        manifest = inspect(folder).manifest
        target = paths.installed_adapters() / f"{manifest.name}@{manifest.version}"
        if os.path.lexists(target):
            if _same(folder, target):
                return _entry(target, manifest)
            if not force:
                raise TrustError(
                    f"{manifest.name} {manifest.version} is installed already, with other content.",
                    "Give the new one another version, or replace the installed one with `--force`.",
                )
        _place(target, lambda fresh: _copy(folder, manifest, fresh))
        return _entry(target, manifest)


def installed() -> list[Installed]:
    """All installed adapters by name and ascending version; damaged ones are listed with their problem."""
    home = paths.installed_adapters()
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in home.iterdir():
            name = _FOLDER.fullmatch(path.name)
            if name and path.is_dir():
                manifest: Manifest | None = None
                problem = ""
                try:
                    read = read_manifest(path)
                    if (read.name, read.version) == (name[1], name[2]):
                        manifest = read
                    else:
                        problem = f"its metadata.json says {read.name} {read.version}"
                except NeuralForgeError as failure:
                    problem = failure.message
                found.append(Installed(name[1], name[2], path, manifest, problem))
    return sorted(found, key=lambda each: (each.name, version_key(each.version)))


def resolve(reference: str | Path) -> Path:
    """A package or adapter folder from ``name``, ``name@version`` (installed) or a path.

    A bare name takes the newest release; a pre-release only when there is nothing else.

    Raises:
        UserError: nothing is there by that name.
    """
    text = str(reference)
    looks_like_path = isinstance(reference, Path) or "/" in text or os.sep in text or text.endswith(".lora")
    if not looks_like_path:
        matches = _matching(text)
        if matches:
            return max(matches, key=lambda each: ("-" not in each.version, version_key(each.version))).path
    path = paths.expanded(text)
    if path.exists() and (looks_like_path or path.is_dir()):
        return path
    if looks_like_path:
        raise UserError(f"There is no adapter at {text!r}.", "Check the path, or see `neuralforge adapters list`.")
    raise _unknown(text)


def show(reference: str | Path) -> Manifest:
    """The manifest of an installed adapter, a package or a folder."""
    return read_manifest(resolve(reference))


def remove(reference: str) -> list[Installed]:
    """Delete ``name@version``, or every version of ``name``; returns what was deleted.

    Raises:
        UserError: no installed adapter has that name.
        RunError: a folder cannot be deleted.
    """
    matches = _matching(reference)
    if not matches:
        raise _unknown(reference)
    for match in matches:
        doomed = match.path.with_name(f".removing-{os.getpid()}-{match.path.name}")
        try:
            match.path.rename(doomed)  # gone at once, even if the deletion is interrupted
            shutil.rmtree(doomed)
        except OSError as failure:
            raise RunError(
                f"Cannot remove {match.path}: {failure.strerror or failure}.", "Check the folder's permissions."
            ) from failure
    return matches


def _matching(reference: str) -> list[Installed]:
    name, _, version = reference.partition("@")
    return [each for each in installed() if each.name == name and version in ("", each.version)]


def _unknown(reference: str) -> UserError:
    known = [each.reference for each in installed()]
    close = difflib.get_close_matches(reference, [*known, *(each.partition("@")[0] for each in known)], n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return UserError(
        f"No adapter named {reference!r} is installed.",
        f"{hint}See `neuralforge adapters list`, or install one with `neuralforge adapters install FILE.lora`.",
    )


def _entry(path: Path, manifest: Manifest) -> Installed:
    return Installed(manifest.name, manifest.version, path, manifest)


def _same(folder: Path, target: Path) -> bool:
    """Equal manifests list equal digests, which ``inspect`` holds against the files."""
    try:
        return inspect(target).manifest == inspect(folder).manifest
    except TrustError:
        return False


def _copy(folder: Path, manifest: Manifest, fresh: Path) -> None:
    for name in [*manifest.files, MANIFEST]:
        with (folder / name).open("rb") as source, (fresh / name).open("xb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
    inspect(fresh)


def _place(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder and give it its name; an older folder of that name stays until the new one is complete."""
    home = target.parent
    fresh, old = "", None
    try:
        home.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(dir=home, prefix=".installing-")
        fill(Path(fresh))
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(fresh, 0o777 & ~umask)
        if os.path.lexists(target):
            old = home / f".replaced-{os.getpid()}-{target.name}"
            target.rename(old)
        Path(fresh).rename(target)
        fresh = ""
        sync_folder(home)
    except OSError as failure:
        if old is not None and not os.path.lexists(target):
            with contextlib.suppress(OSError):
                old.rename(target)
        raise RunError(
            f"Cannot install into {target}: {failure.strerror or failure}.",
            "Check free space and permissions; what was installed is untouched.",
        ) from failure
    finally:
        if fresh:
            shutil.rmtree(fresh, ignore_errors=True)
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
