"""Cut a run of lines into pieces worth completing: whole definitions, and short groups of statements between them.

Works on indentation, which well-kept code has in every language, with a table of words that begin a definition.
No parser: a run may begin anywhere and be in any language, and thousands are cut each second. Where indentation
misleads (text inside multi-line strings), a piece is cut at a poorer place, never with wrong content.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAX_CHARS = 1_600
_WORTH_ALONE = 120  # a shorter definition is joined with its neighbours
_GROUP_CHARS = 600
_ENOUGH = 240  # a group this long ends at the next blank line
_LOOK = 300  # characters of a line that patterns see: a hostile line cannot make them slow
_MAX_PIECES = 3  # a statement that is not a definition and needs more pieces than this is a table, not typing

_DEFINITION = re.compile(
    r"\s*(?:(?:export|default|declare|public|private|protected|internal|static|final|abstract|async|override|virtual"
    r"|inline|extern|unsafe|partial|sealed|open|data|pub(?:\([\w: ]+\))?|const|constexpr|suspend|mutating|local)\s+)*"
    r"(?:(?:def|class|func|fn|function\*?|fun|interface|struct|enum|trait|impl|module|namespace|object|record|protocol"
    r"|extension|defmodule|defp|defmacro|sub|proc|macro_rules!|type(?=\s+\w+\s+(?:struct|interface)))\b"
    r"|(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:function\b|\([^()]*\)\s*(?::\s*[\w<>\[\], |]+)?\s*=>|\w+\s*=>)"
    # A typed signature that opens a block, as in C, C++, C#, Java; keywords that look the same are excluded.
    r"|(?!(?:if|for|while|switch|catch|return|else|elif|with|do|try|new|throw|await|yield|assert|del|in|not|case|when"
    r"|using|lock|foreach|unless|until|raise|print|import|from)\b)"
    r"(?:[A-Za-z_][\w:<>,.*&\[\]?~]*\s+[*&]*)+~?[\w:]+\s*\([^;=]*(?:\)[^;=]*\{?\s*|,\s*)$)"
)
_LEADING = re.compile(
    r"\s*(?:@\w|#\[|//|/\*|\*|#|--|;;|\[\w[\w.]*(?:\(.*\))?\]\s*$|template\s*<|<!--|\"\"\"[^\"]*\"\"\"\s*$)"
)
_COMMENT = re.compile(r"\s*(?://|/\*|\*|#(?!\[|include|define|if|endif|else|pragma|import)|--|;;|<!--|%)")
_CONTINUING = re.compile(
    r"\s*(?:[)\]}>]|\{|end\b|else\b|elif\b|elsif\b|except\b|finally\b|catch\b|rescue\b|ensure\b|then\b|do\b|fi\b|done\b"
    r"|esac\b|</|\.\w|&&|\|\||[?:]\s|->|=>|where\b|\"\"\"|''')"
)


class Piece(NamedTuple):
    """Lines ``start`` to ``end`` (end excluded) of the file; ``definition`` when they are one whole definition.

    ``chars`` counts the lines with one newline each.
    """

    start: int
    end: int
    definition: bool
    chars: int


def indentation(line: str) -> int:
    """Characters of white space before the first other one."""
    return len(line) - len(line.lstrip())


def is_comment(line: str) -> bool:
    """Whether the line looks like nothing but a comment in any common language."""
    return _COMMENT.match(line, 0, _LOOK) is not None


def is_definition(line: str) -> bool:
    """Whether the line begins a function, class or the like in any common language."""
    return _DEFINITION.match(line, 0, _LOOK) is not None


def cut(lines: Sequence[str], start: int, end: int) -> Iterator[Piece]:
    """Pieces of at most ``MAX_CHARS`` of the lines ``start`` to ``end``; lines that fit in none are left out.

    Args:
        lines: all lines of the file without their newlines; lines after ``end`` decide whether a definition is whole.
        start: index of the first line of the run.
        end: index after its last.
    """
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    if end - start <= 1:  # most edits
        if start < end and len(lines[start]) < MAX_CHARS:
            yield Piece(start, end, False, len(lines[start]) + 1)
        return
    group: Piece | None = None
    for unit in _fitting(lines, start, end):
        if unit.definition and unit.chars >= _WORTH_ALONE:
            if group is not None:
                yield group
                group = None
            yield unit
        elif group is None:
            group = unit
        else:
            apart = unit.start > group.end
            chars = _chars(lines, group.start, unit.end)
            if chars > _GROUP_CHARS or (apart and group.chars >= _ENOUGH) or _skipped(lines, group.end, unit.start):
                yield group
                group = unit
            else:
                group = Piece(group.start, unit.end, False, chars)
    if group is not None:
        yield group


def left_out(lines: Sequence[str], start: int, end: int, pieces: Sequence[Piece]) -> int:
    """Stretches with content between ``start`` and ``end`` that none of ``pieces`` (from ``cut``) covers."""
    ends = [start, *(piece.end for piece in pieces)]
    starts = [*(piece.start for piece in pieces), end]
    return sum(_skipped(lines, one, other) for one, other in zip(ends, starts, strict=True))


def _chars(lines: Sequence[str], start: int, end: int) -> int:
    """Characters of lines, with one newline each."""
    return sum(map(len, lines[start:end])) + end - start


def _skipped(lines: Sequence[str], start: int, end: int) -> bool:
    """Whether lines with content lie between two pieces (they were too long for any)."""
    return any(line.strip() for line in lines[start:end])


def _fitting(lines: Sequence[str], start: int, end: int) -> Iterator[Piece]:
    """Units within the size bound, longer ones replaced by what they contain."""
    for unit in _units(lines, start, end):
        if unit.chars <= MAX_CHARS:
            yield unit
        elif unit.end - unit.start > 1:
            header = _header(lines, unit)
            if header is not None or unit.chars <= _MAX_PIECES * MAX_CHARS:
                yield from _inside(lines, unit, unit.start if header is None else header)


def _inside(lines: Sequence[str], unit: Piece, header: int) -> Iterator[Piece]:
    """The parts of a unit that is too long: its opening line with what follows it, then the units of its body."""
    body = header + 1
    while body < unit.end and lines[body].strip() and _CONTINUING.match(lines[body], 0, _LOOK):
        body += 1
    opening_chars = _chars(lines, unit.start, body)
    opened = opening_chars > MAX_CHARS
    for part in _fitting(lines, body, unit.end):
        if opened:
            yield part
            continue
        opened = True
        together = _chars(lines, unit.start, part.end)
        if not part.definition and together <= MAX_CHARS and not _skipped(lines, body, part.start):
            yield Piece(unit.start, part.end, False, together)
        else:
            yield Piece(unit.start, body, False, opening_chars)
            yield part
    if not opened:
        yield Piece(unit.start, body, False, opening_chars)


def _units(lines: Sequence[str], start: int, end: int) -> Iterator[Piece]:
    """Each least-indented line with the deeper lines below it and the comments and decorators above it."""
    first = base = -1
    last = start  # after the last line with content
    leading = gap = False
    for place in range(start, end):
        line = lines[place]
        stripped = line.lstrip()
        if not stripped:
            gap = True
            continue
        indent = len(line) - len(stripped)
        if first < 0:
            first, base, leading = place, indent, _LEADING.match(line, 0, _LOOK) is not None
        elif indent > base:
            leading = False
        elif leading and not gap and indent == base:
            leading = _LEADING.match(line, 0, _LOOK) is not None
        elif indent < base or not _CONTINUING.match(line, 0, _LOOK):
            yield _unit(lines, first, last, base)
            first, base, leading = place, indent, _LEADING.match(line, 0, _LOOK) is not None
        last, gap = place + 1, False
    if first >= 0:
        yield _unit(lines, first, last, base)


def _unit(lines: Sequence[str], start: int, end: int, base: int) -> Piece:
    chars = _chars(lines, start, end)
    piece = Piece(start, end, False, chars)
    if _header(lines, piece) is None:
        return piece
    return Piece(start, end, _ends_here(lines, end, base), chars)


def _header(lines: Sequence[str], unit: Piece) -> int | None:
    """Index of the line that begins the definition which the unit is, or None when it is none."""
    for place in range(unit.start, unit.end):
        line = lines[place]
        if not _LEADING.match(line, 0, _LOOK) and line.strip():
            return place if _DEFINITION.match(line, 0, _LOOK) else None
    return None


def _ends_here(lines: Sequence[str], end: int, base: int) -> bool:
    """Whether a block of indentation ``base`` is over at line ``end``, so that the run holds all of it."""
    for line in lines[end : end + 20]:
        if line.strip():
            return indentation(line) < base or (indentation(line) == base and not _CONTINUING.match(line, 0, _LOOK))
    return True
