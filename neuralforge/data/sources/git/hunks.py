"""From the lines a commit added to a file to examples: what someone typed, with the file's text around it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuralforge.data.records import Example, Funnel
from neuralforge.data.segments import MAX_CHARS, Piece, cut, is_comment, is_definition, left_out
from neuralforge.data.sources.git.log import UNKNOWN, Change, Hunk

PREFIX_CHARS = 6_000
SUFFIX_CHARS = 2_000

_MOVED_SHARE = 0.8
_TELLING_CHARS = 8  # shorter lines ("else:", "}") are found anywhere and say nothing about a move
_LEAST_CHARS = 16  # non-blank characters of a completion that has something to learn
_WORD = re.compile(r"[^\W\d]{3,}")
_VERSION = re.compile(
    r"""\s*["']?[\w.-]*version[\w.-]*["']?\s*[:=]\s*(?:\w+\()?["']?v?\d[\w.+, '"-]*\)?,?;?\s*""", re.IGNORECASE
)
_LICENCE_HEADER = re.compile(r"copyright|\blicen[sc]e|SPDX-", re.IGNORECASE)
_HEADER_REACH = 400  # characters into a file within which a comment may be its licence header


@dataclass(frozen=True, slots=True)
class Origin:
    """What all examples of one file in one commit have in common."""

    language: str
    path: str
    commit: str
    author_time: int | None
    author: str
    licence: str | None


def removed_lines(changes: Sequence[Change]) -> frozenset[str]:
    """Lines that a commit took away anywhere and that say enough to be recognised, without their indentation."""
    found: set[str] = set()
    for change in changes:
        for hunk in change.hunks:
            if hunk.removed:
                for line in hunk.removed.split(b"\n"):
                    bare = line[1:].strip()
                    if len(bare) >= _TELLING_CHARS:
                        found.add(bare.decode("utf-8", "replace"))
    return frozenset(found)


def examples_of(
    text: str,
    hunks: Sequence[Hunk],
    origin: Origin,
    removed: frozenset[str],
    funnel: Funnel,
    *,
    allow_mid_line: bool = False,
) -> Iterator[Example]:
    r"""Examples from one file of one commit, top to bottom.

    For each, ``prefix + completion + suffix`` is a stretch of ``text``, the completion consists of whole added lines
    (its last newline belongs to the suffix) and ``offset`` is its place in ``text``.

    Args:
        text: the file after the commit, line endings as ``\n``.
        hunks: what the commit added to it, in order.
        origin: commit, path and the rest.
        removed: from ``removed_lines``, to recognise moved code.
        funnel: counts what is kept and why the rest is not.
        allow_mid_line: a changed line's completion begins where it first differs from the old line.
    """
    lines = text.split("\n")
    at_line, at_char = 0, 0  # position reached: index of a line and of its first character
    for hunk in hunks:
        if not hunk.count:
            continue
        first, after = hunk.start - 1, hunk.start - 1 + hunk.count
        if hunk.removed == UNKNOWN:
            funnel.drop("too much removed")
            continue
        if hunk.removed and _same_but_blanks(hunk.removed, lines[first:after]):
            funnel.drop("white space only")
            continue
        pieces = list(cut(lines, first, after))
        if not pieces:
            blank = not any(line.strip() for line in lines[first:after])
            funnel.drop("white space only" if blank else "over-long")
            continue
        if overlong := left_out(lines, first, after, pieces):
            funnel.drop("over-long", overlong)
        for piece in pieces:
            at_char += sum(map(len, lines[at_line : piece.start])) + piece.start - at_line
            at_line = piece.start
            start, stop = at_char, at_char + piece.chars - 1
            if allow_mid_line and hunk.removed and piece.start == first:
                start += _shared_start(hunk.removed, lines[first])
            reason = _piece_reason(lines[piece.start : piece.end], text[start:stop], at_char, removed)
            if reason is not None:
                funnel.drop(reason)
                continue
            funnel.keep()
            yield _example(text, start, stop, _kind(piece, hunk, lines), origin)


def _example(text: str, start: int, stop: int, kind: str, origin: Origin) -> Example:
    """Cut prefix and suffix at line borders within their bounds."""
    before = 0
    if start > PREFIX_CHARS:
        line_start = text.find("\n", start - PREFIX_CHARS - 1, start)
        before = line_start + 1 if line_start >= 0 else start
    end = len(text)
    if end - stop > SUFFIX_CHARS:
        line_end = text.rfind("\n", stop, stop + SUFFIX_CHARS)
        end = line_end if line_end >= 0 else stop
    return Example(
        prefix=text[before:start],
        completion=text[start:stop],
        suffix=text[stop:end],
        kind=kind,
        language=origin.language,
        path=origin.path,
        offset=start,
        commit=origin.commit,
        author_time=origin.author_time,
        author=origin.author,
        licence=origin.licence,
    )


def _kind(piece: Piece, hunk: Hunk, lines: Sequence[str]) -> str:
    """``definition`` only when it is new: lines that replace others of the same definition are an edit."""
    if not piece.definition:
        return "hunk"
    if hunk.removed:
        old = (line[1:].decode("utf-8", "replace") for line in hunk.removed.split(b"\n"))
        headers = {line.strip().partition("(")[0] for line in old if is_definition(line)}
        if any(line.strip().partition("(")[0] in headers for line in lines[piece.start : piece.end]):
            return "hunk"
    return "definition"


def _piece_reason(lines: Sequence[str], completion: str, offset: int, removed: frozenset[str]) -> str | None:
    """Why a piece is left out, or None."""
    if len(completion) > MAX_CHARS:
        return "over-long"
    bare = [line.strip() for line in lines]
    if sum(map(len, completion.split())) < _LEAST_CHARS or _WORD.search(completion) is None:
        return "trivial"
    if len(lines) == 1 and _VERSION.fullmatch(completion[:200]):
        return "version bump"
    if removed:
        telling = [line for line in bare if len(line) >= _TELLING_CHARS]
        total = sum(map(len, telling))
        if total and sum(len(line) for line in telling if line in removed) >= _MOVED_SHARE * total:
            return "moved"
    if (
        offset < _HEADER_REACH
        and _LICENCE_HEADER.search(completion)
        and all(is_comment(line) for line in lines if line)
    ):
        return "licence header"
    return None


def _same_but_blanks(removed: bytes, added: Sequence[str]) -> bool:
    """Whether old and new lines differ in nothing but white space."""
    old = b"".join(part for line in removed.split(b"\n") for part in line[1:].split())
    return old == "".join("".join(added).split()).encode("utf-8", "replace")


def _shared_start(removed: bytes, line: str) -> int:
    """Characters of ``line`` before the first word in which it differs from the old line; 0 when it is all new."""
    old = removed.partition(b"\n")[0][1:].decode("utf-8", "replace")
    shared = 0
    for one, other in zip(old, line, strict=False):
        if one != other:
            break
        shared += 1
    while shared and shared < len(line) and line[shared - 1].isalnum() and line[shared].isalnum():
        shared -= 1
    if not line[:shared].strip():
        return 0
    return shared
