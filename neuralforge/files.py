"""Files that are either wholly written or not there: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from neuralforge.errors import DataError, RunError

CHUNK = 1 << 20


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under ``path`` only when the block ends without an error.

    Raises:
        RunError: the folder cannot be written or the disk is full; ``path`` is then as it was.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = ""
        sync_folder(path.parent)
    except OSError as failure:
        raise RunError(
            f"Cannot write {path}: {failure.strerror or failure}.",
            "Check free space and permissions of the folder; what was there before is untouched.",
        ) from failure
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder that appears under ``path`` with all that was put into it when the block ends without an error.

    Raises:
        RunError: it cannot be written, or ``path`` has been taken meanwhile; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            yield made
            for file in made.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            made.rename(path)
            sync_folder(path.parent)
    except OSError as failure:
        raise RunError(
            f"Cannot write the folder {path}: {failure.strerror or failure}.",
            "Free some space, or choose a folder that can be written.",
        ) from failure


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically and durably."""
    with atomic_writer(path) as handle:
        handle.write(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, atomically and durably."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON with a stable key order."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path, limit: int = 16 << 20) -> Any:
    """Parse a JSON file of at most ``limit`` bytes.

    Raises:
        DataError: missing, larger than ``limit``, or not JSON.
    """
    try:
        if path.stat().st_size > limit:
            raise DataError(f"{path} is larger than {limit:,} bytes.", "This file should be small; was it replaced?")
        return json.loads(path.read_bytes())
    except OSError as failure:
        raise DataError(f"Cannot read {path}: {failure.strerror or failure}.", "Check the path.") from failure
    except (ValueError, RecursionError) as failure:
        raise DataError(f"{path} is not valid JSON: {failure}.", "The file is damaged or of another kind.") from failure


def sha256(path: Path) -> str:
    """Digest of a file's content as ``sha256:<64 hex digits>``."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable (POSIX ``fsync`` on the directory; a no-op where unsupported)."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
