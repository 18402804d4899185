"""The example: what someone typed, with the file's real text around it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

# Seconds from 1970 within which a number is taken for a date (the years 881 to 3058); others are slips.
FARTHEST = 1 << 35
# Names of commits, whole or abbreviated.
COMMIT = r"[0-9a-f]{4,64}"


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: ``completion`` follows ``prefix`` (and precedes ``suffix``) in real text.

    Attributes:
        prefix: text before the completion (for a chat or instruction example, the rendered request).
        completion: the text that is learned, and the only text that is judged.
        suffix: text after the completion, empty when there is none.
        kind: ``hunk`` (an edit), ``definition`` (a whole new function or class), ``file`` (from files without
            history), ``pair`` (context/completion, prefix/middle/suffix, input/output), ``instruction``,
            ``chat`` or ``text`` (no prefix: learn all of it).
        language: lower-case name (``python``, ``javascript`` …), ``text`` when unknown.
        path: repository path at the commit (undecodable bytes as surrogate escapes), or None.
        offset: characters of the file before ``completion`` at that commit, or None. ``prefix`` may be
            clipped to fewer characters than that.
        commit: full hash, or None outside version control.
        author_time: seconds since 1970 UTC, or None.
        author: first 16 hex digits of the SHA-256 of the author's lower-case e-mail address, or None. Lets
            an author's examples be found and erased without storing who they are.
        licence: SPDX identifier, or None when unknown.
    """

    prefix: str
    completion: str
    suffix: str = ""
    kind: str = "pair"
    language: str = "text"
    path: str | None = None
    offset: int | None = None
    commit: str | None = None
    author_time: int | None = None
    author: str | None = None
    licence: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as one JSONL object: ``prefix/middle/suffix`` plus every field that has a value."""
        record: dict[str, Any] = {"prefix": self.prefix, "middle": self.completion, "suffix": self.suffix}
        for item in fields(self):
            if item.name not in ("prefix", "completion", "suffix"):
                value = getattr(self, item.name)
                if value is not None:
                    record[item.name] = value
        return record


@dataclass(slots=True)
class Funnel:
    """How many candidates came in, how many stayed, and why each of the others left.

    ``dropped`` counts by reason, one candidate under exactly one reason, so that
    ``seen == kept + dropped.total()`` holds at every moment.
    """

    seen: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    commits_dropped: Counter[str] = field(default_factory=Counter)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count candidates that leave for ``reason`` (they were not counted as seen before)."""
        self.seen += count
        self.dropped[reason] += count

    def keep(self, count: int = 1) -> None:
        """Count candidates that stay."""
        self.seen += count
        self.kept += count

    def discard(self, reason: str, count: int = 1) -> None:
        """Move candidates that had been kept to ``reason``: a later stage turned them away."""
        self.kept -= count
        self.dropped[reason] += count

    def rows(self) -> Iterator[tuple[str, int]]:
        """Reasons with their counts, most frequent first."""
        yield from sorted(self.dropped.items(), key=lambda row: (-row[1], row[0]))

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for metadata and ``--json``."""
        return {
            "seen": self.seen,
            "kept": self.kept,
            "dropped": dict(self.rows()),
            "commits": self.commits,
            "commits_dropped": dict(sorted(self.commits_dropped.items())),
        }
