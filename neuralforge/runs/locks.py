"""One process at a time in a folder, by an advisory lock that the kernel drops when its holder dies.

There is no stale lock to clean up: ``flock`` (and ``LockFileEx`` behind ``msvcrt`` on Windows) belongs to the open
file, so SIGKILL or a power cut frees it at once. The process id inside the file only tells people who holds it.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from neuralforge.errors import RunError

if sys.platform == "win32":
    import msvcrt

    # Windows locks are mandatory, so the locked byte lies far behind the text that others want to read.
    _LOCKED_BYTE = 1 << 30

    def _acquire(descriptor: int, _shared: bool = False) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _acquire(descriptor: int, shared: bool = False) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; ``what`` names the guarded thing in the refusal.

    Raises:
        RunError: another process (or another open lock of this one) holds it, or the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as failure:
        raise RunError(
            f"Cannot open the lock {path}: {failure.strerror or failure}.",
            "The folder must exist and be writable; choose another one or change its permissions.",
        ) from failure
    try:
        try:
            _acquire_patiently(descriptor)
        except OSError as failure:
            pid = holder(path)
            who = f"process {pid}" if pid else "another process"
            raise RunError(
                f"{what} is in use by {who}.",
                "Wait for it, stop it, or use another folder; the lock is free as soon as that process ends.",
            ) from failure
        with contextlib.suppress(OSError):  # a full disk must not stop someone who only wants to resume
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _acquire_patiently(descriptor: int) -> None:
    """Try for a moment before giving up: someone may just be asking :func:`is_held`."""
    for _ in range(5):
        with contextlib.suppress(OSError):
            return _acquire(descriptor)
        time.sleep(0.02)
    return _acquire(descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds ``path`` now. A missing or unreadable file counts as free."""
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        _acquire(descriptor, True)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(path: Path) -> int | None:
    """The process id written into the lock file, or None when there is none."""
    try:
        with path.open("rb") as handle:
            text = handle.read(32).strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
