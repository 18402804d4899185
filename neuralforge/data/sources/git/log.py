"""Read ``git log --raw -p -U0 -z`` as a stream: one commit at a time, with the line ranges each one added.

Layout of the stream (git 2.31 and newer, SHA-1 or SHA-256): a header of our own format that starts with byte 1 and ends
with NUL; then, when the commit changed files, a newline, one NUL-terminated raw record a file and an empty one;
then a patch a file in the same order. Added lines are skipped, not kept: their text is read from the blob, and a commit
costs memory by its number of files and removed lines, never by what it adds. Hunk bodies are measured by the counts in
their headers, so nothing that a file contains can pass for structure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from neuralforge.data.records import FARTHEST
from neuralforge.errors import DataError

_CHUNK = 1 << 18
_KEPT_REMOVED_BYTES = 4_000_000
# Stands for removed lines beyond that: something was there, and what it was is not known any more. Without it nobody
# can say whether the added lines were typed, moved or only indented anew.
UNKNOWN = b"-?"
_SEPARATOR = "%x00"
HEADER = f"--format=%x01%H %at %P{_SEPARATOR}%ae{_SEPARATOR}%an{_SEPARATOR}%s{_SEPARATOR}%b{_SEPARATOR}"
PATCH = (
    *("-z", "--raw", "--patch", "--unified=0", "--inter-hunk-context=0", "--find-renames", "-l500", "--full-index"),
    *("--no-abbrev", "--no-ext-diff", "--no-textconv", "--no-show-signature", "--no-color", "--no-color-moved"),
    *("--no-relative", "--submodule=short", "--no-diff-merges", "--no-decorate", "--no-notes", "--encoding=UTF-8"),
    *("--diff-algorithm=myers", "--indent-heuristic", "--no-mailmap", "-O/dev/null"),
)
# A header names a path six times at most, each of up to 4,096 bytes that may be written as four.
_LONGEST_HEADER = 1 << 17
_SECTION = re.compile(
    rb"diff --git [^\n]*\n"
    rb"(?:(?:old mode|new mode|deleted file|new file|similarity|dissimilarity|rename|copy) [^\n]*\n)*"
    rb"(?:index ([0-9a-f]+)\.\.([0-9a-f]+)[^\n]*\n)?"
    rb"(?:(Binary files )[^\n]*\n|--- [^\n]*\n\+\+\+ [^\n]*\n)?"
)
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@[^\n]*\n")
GITLINK, SYMLINK = b"160000", b"120000"


@dataclass(slots=True)
class Hunk:
    """``count`` lines added at line ``start`` (first is 1) of the new file in place of the lines ``removed``.

    ``removed`` holds the old lines as git shows them, each behind a minus sign, and is empty where nothing was removed.
    """

    start: int
    count: int
    removed: bytes = b""


@dataclass(slots=True)
class Change:
    """One file of one commit. ``status`` is git's letter (A, M, D, R, T); oids are hexadecimal bytes."""

    path: bytes
    status: bytes
    mode: bytes
    old_oid: bytes
    new_oid: bytes
    hunks: list[Hunk] = field(default_factory=list)
    binary: bool = False


@dataclass(slots=True)
class Commit:
    """A commit's header and its file changes."""

    oid: str
    parents: int
    author_time: int | None
    email: str
    name: str
    subject: str
    body: str
    changes: list[Change] = field(default_factory=list)


class _Stream:
    """A growing window over a pipe."""

    __slots__ = ("_buffer", "_ended", "_pipe", "_position")

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._buffer = b""
        self._position = 0
        self._ended = False

    def _fill(self) -> bool:
        chunk: bytes = b"" if self._ended else self._pipe.read1(_CHUNK)  # type: ignore[attr-defined]
        if not chunk:
            self._ended = True
            return False
        self._buffer = self._buffer[self._position :] + chunk if self._position < len(self._buffer) else chunk
        self._position = 0
        return True

    @property
    def ended(self) -> bool:
        """Whether the pipe is known to give no more."""
        return self._ended

    def match(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Take what ``pattern`` matches here; it must match within ``_LONGEST_HEADER`` bytes."""
        while len(self._buffer) - self._position < _LONGEST_HEADER and self._fill():
            pass
        found = pattern.match(self._buffer, self._position)
        if found is not None:
            self._position = found.end()
        return found

    def peek(self, count: int = 1) -> bytes:
        """The next ``count`` bytes without taking them; fewer only at the end."""
        while len(self._buffer) - self._position < count:
            if not self._fill():
                break
        return self._buffer[self._position : self._position + count]

    def until(self, mark: bytes) -> bytes:
        """Everything before the next ``mark`` byte, which is taken too."""
        searched = self._position
        while (found := self._buffer.find(mark, searched)) < 0:
            length = len(self._buffer) - self._position
            if not self._fill():
                raise EOFError
            searched = length
        taken = self._buffer[self._position : found]
        self._position = found + 1
        return taken

    def skip_lines(self, count: int) -> None:
        """Take ``count`` lines and forget them."""
        position = self._position
        find = self._buffer.find
        while count:
            position = find(b"\n", position) + 1
            if position:
                count -= 1
                continue
            self._position = len(self._buffer)  # what is left of the line is forgotten; its newline is still to come
            if not self._fill():
                raise EOFError
            find = self._buffer.find
        self._position = position

    def lines(self, count: int) -> bytes:
        """Take ``count`` lines, newlines included."""
        end = self._position
        while count:
            found = self._buffer.find(b"\n", end)
            if found < 0:
                read = len(self._buffer) - self._position
                if not self._fill():
                    raise EOFError
                end = read
                continue
            end = found + 1
            count -= 1
        taken = self._buffer[self._position : end]
        self._position = end
        return taken


def read_commits(pipe: IO[bytes]) -> Iterator[Commit]:
    """Commits in the order git gives them.

    Raises:
        DataError: the stream is not what git writes for ``HEADER`` and ``PATCH``.
        EOFError: it ends inside a commit (git stopped; ask the process why).
    """
    stream = _Stream(pipe)
    while start := stream.peek():
        if start == b"\0":
            stream.until(b"\0")  # the terminator of a commit that changed nothing
            continue
        if start != b"\x01":
            if stream.ended:
                raise EOFError  # broken off inside a patch
            raise DataError("git log gave output that cannot be understood.", "git 2.31 or newer is needed.")
        commit = _header(stream)
        if stream.peek(2) == b"\0\n":
            stream.until(b"\n")
            commit.changes = _records(stream)
            _patches(stream, commit.changes)
        yield commit


def _header(stream: _Stream) -> Commit:
    oid, time, *parents = stream.until(b"\0")[1:].decode("ascii").split(" ")
    email, name, subject, body = (stream.until(b"\0").decode("utf-8", "replace") for _ in range(4))
    seconds = int(time) if time.lstrip("-").isdigit() and abs(int(time)) <= FARTHEST else None
    return Commit(oid, len([one for one in parents if one]), seconds, email, name, subject, body)


def _records(stream: _Stream) -> list[Change]:
    changes = []
    while record := stream.until(b"\0"):
        _, mode, old, new, status = record.split(b" ")
        path = stream.until(b"\0")
        if status[:1] in b"RC":
            path = stream.until(b"\0")  # after the old name comes the new one
        changes.append(Change(path, status[:1], mode, old, new))
    return changes


def _patches(stream: _Stream, changes: list[Change]) -> None:
    """Attach to each change the hunks of its patch; the two are matched by the blob ids on the ``index`` line."""
    upcoming = 0
    kept = 0
    while (section := stream.match(_SECTION)) is not None:
        target: Change | None = None
        old, new, binary = section.groups()
        if old is not None:  # a patch without blob ids has no hunks either: a pure rename or a change of mode
            upcoming, target = _matching(changes, upcoming, old, new)
            if binary and target is not None:
                target.binary = True
        while (hunk := stream.match(_HUNK)) is not None:
            kept += _hunk(stream, hunk, target, keep_removed=target is not None and kept < _KEPT_REMOVED_BYTES)


def _matching(changes: list[Change], first: int, old: bytes, new: bytes) -> tuple[int, Change | None]:
    """Where the search goes on, and the change from ``first`` on that a patch with these blob ids belongs to."""
    for place in range(first, len(changes)):
        change = changes[place]
        if change.status == b"T":  # shown as a deletion followed by a creation; what was typed is in the second
            if change.new_oid == new:
                return place + 1, change
            if change.old_oid == old:
                return place, None
        elif change.new_oid == new and change.old_oid == old:
            return place + 1, change
    raise DataError("git log gave a patch for a file it did not list.", "Please report this with your git version.")


def _hunk(stream: _Stream, header: re.Match[bytes], target: Change | None, *, keep_removed: bool) -> int:
    """Read the body of one hunk; returns the bytes of removed lines kept."""
    before, start, after = header.groups()
    removed_count = 1 if before is None else int(before)
    count = 1 if after is None else int(after)
    removed = b""
    if removed_count:
        if keep_removed:
            removed = stream.lines(removed_count)
        else:
            stream.skip_lines(removed_count)
            removed = UNKNOWN
        if stream.peek() == b"\\":
            stream.until(b"\n")
    if count:
        stream.skip_lines(count)
        if stream.peek() == b"\\":
            stream.until(b"\n")
    if target is not None:
        target.hunks.append(Hunk(int(start), count, removed))
    return len(removed)
