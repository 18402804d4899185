"""The event log: one JSON object a line, written as it happens, read back live or afterwards.

    {"time": 1764000000.123, "event": "Step", "step": 12, "steps": 60, "loss": 2.41, …}

``time`` is seconds since 1970 UTC. A number that JSON cannot hold (an infinite loss) is written as null and read
back as NaN. A process that dies may leave half a last line: the next one to open the log ends that line, and
readers pass over what does not parse.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_origin

from neuralforge.errors import RunError
from neuralforge.runs.events import Event, Finished

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}
_LONGEST_LINE = 1 << 20
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Logged:
    """An event and when it happened (seconds since 1970 UTC)."""

    time: float
    event: Event


class EventLog:
    """An ``Emit`` that appends to a file; each event is with the operating system when the call returns.

    A log that cannot be written any more (the disk is full) falls silent and keeps the reason in ``failure``: the
    run matters more than its diary, and a checkpoint will meet the same disk.

    Raises:
        RunError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure: str | None = None
        self._turn = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torn = _ends_torn(path)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            if torn:
                os.write(self._descriptor, b"\n")
        except OSError as failure:
            raise RunError(
                f"Cannot write the event log {path}: {failure.strerror or failure}.",
                "Check free space and permissions of the run's folder.",
            ) from failure

    def __call__(self, event: Event) -> None:
        record = {"time": round(time.time(), 3), "event": type(event).__name__, **asdict(event)}
        line = json.dumps(_finite(record), ensure_ascii=True, default=str).encode() + b"\n"
        with self._turn:
            if self.failure is None and self._descriptor >= 0:
                try:
                    # One write a line: lines of two threads, or of a resumed run, never interleave.
                    if os.write(self._descriptor, line) != len(line):
                        self.failure = "the disk is full"
                except OSError as failure:
                    self.failure = failure.strerror or str(failure)

    def close(self) -> None:
        """Stop logging; later events are dropped."""
        with self._turn:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_events(
    path: Path,
    follow: bool = False,
    *,
    alive: Callable[[], bool] | None = None,
    pause: float = 0.2,
) -> Iterator[Logged]:
    """Events of a log in order, skipping lines that are torn, overlong or of an unknown kind.

    Args:
        path: the log. With ``follow`` it need not exist yet.
        follow: wait for more at the end, until the last event is ``Finished`` or ``alive`` says no.
        alive: whether somebody still writes, for instance ``RunDirectory.in_use``.
        pause: seconds between looks at a file that has not grown.

    Raises:
        RunError: the file is missing (without ``follow``) or cannot be read.
    """
    last: Logged | None = None

    def over() -> bool:
        return (last is not None and isinstance(last.event, Finished)) or (alive is not None and not alive())

    for line in _lines(path, follow, over, pause):
        logged = parse(line)
        if logged is not None:
            last = logged
            yield logged


def parse(line: bytes) -> Logged | None:
    """One line of a log, or None when it is not one. Keys that a newer version added are ignored."""
    try:
        record = json.loads(line)
        kind = _KINDS[record["event"]]
        moment = float(record["time"])
        values = {}
        for item in fields(kind):
            if item.name in record:
                values[item.name] = _typed(record[item.name], item.type)
            elif item.default is MISSING and item.default_factory is MISSING:
                return None
        return Logged(moment, kind(**values))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _lines(path: Path, follow: bool, over: Callable[[], bool], pause: float) -> Iterator[bytes]:
    """Complete lines, without a last one that nobody ended."""
    buffer = b""
    skipping = False
    try:
        while follow and not path.exists():
            if over():
                return
            time.sleep(pause)
        with path.open("rb") as handle:
            while True:
                # Asked before reading: whoever died after this look had written everything before it.
                last_look = not follow or over()
                chunk = handle.read(_CHUNK)
                if not chunk:
                    if last_look or over():
                        return
                    time.sleep(pause)
                    continue
                *whole, buffer = (buffer + chunk).split(b"\n")
                for line in whole:
                    if not skipping:
                        yield line
                    skipping = False
                if len(buffer) > _LONGEST_LINE:
                    buffer, skipping = b"", True
    except OSError as failure:
        raise RunError(
            f"Cannot read the event log {path}: {failure.strerror or failure}.",
            "Give the folder that the training printed.",
        ) from failure


def _ends_torn(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as handle:
        if handle.seek(0, os.SEEK_END):
            handle.seek(-1, os.SEEK_END)
            return handle.read(1) != b"\n"
    return False


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _typed(value: Any, wanted: Any) -> Any:
    """``value`` if it is of an event field's type; ints serve as floats and null as NaN."""
    options = get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    for option in options:
        plain = get_origin(option) or option
        if plain is float:
            if value is None:
                return math.nan
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return float(value)
        elif plain is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        elif isinstance(value, plain):
            return value
    raise TypeError(f"{value!r} is not {wanted}")
