"""What people and programs read: tables, JSON, errors, sizes and times, with control characters made harmless."""

import json
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

# C0 and C1 controls, DEL, lone surrogates, and the marks that reorder text: a file path or an adapter's
# name must not be able to move the cursor, recolour the terminal or disguise what it says.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: object) -> str:
    """``text`` on one line, every character that could act on a terminal written as an escape."""
    return _UNSAFE.sub(lambda found: _escaped(found.group()), str(text))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def line(text: object = "") -> None:
    """Print one line of result to stdout."""
    typer.echo(_encodable(clean(text), sys.stdout.encoding))


def flow(text: str) -> None:
    """Write a piece of text to stdout at once: as it is into a file or pipe, harmless on a terminal."""
    if sys.stdout.isatty():
        text = "".join(part if part in ("\n", "\t") else clean(part) for part in re.split(r"([\n\t])", text))
    typer.echo(_encodable(text, sys.stdout.encoding), nl=False)
    sys.stdout.flush()


def note(text: object) -> None:
    """Print one line beside the result, to stderr."""
    typer.echo(_encodable(clean(text), sys.stderr.encoding), err=True)


def show_json(content: Any) -> None:
    """Print one JSON document to stdout; NaN and infinity, which JSON does not have, become null."""
    typer.echo(json.dumps(_plain(content), indent=2, ensure_ascii=True, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)


def say_error(message: str, hint: str = "") -> None:
    """Print ``Error: …`` and ``Hint: …`` to stderr, each as one paragraph."""
    label = typer.style("Error:", fg="red", bold=True) if sys.stderr.isatty() else "Error:"
    typer.echo(f"{label} {_encodable(clean(_joined(message)), sys.stderr.encoding)}", err=True)
    if hint:
        typer.echo(f" Hint: {_encodable(clean(_joined(hint)), sys.stderr.encoding)}", err=True)


def _joined(text: str) -> str:
    return " ".join(part.strip() for part in text.splitlines() if part.strip())


def _encodable(text: str, encoding: str | None) -> str:
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[str] = ()) -> None:
    """Print aligned columns to stdout, nothing cut off; ``numbers`` names the columns that align to the right."""
    body = [[clean(cell) for cell in row] for row in rows]
    right = {columns.index(name) for name in numbers}
    widths = [max(map(_width, column)) for column in zip(columns, *body, strict=True)]
    heading = _row(columns, widths, right)
    typer.echo(typer.style(heading, bold=True) if sys.stdout.isatty() else heading)
    for row in body:
        typer.echo(_encodable(_row(row, widths, right), sys.stdout.encoding))


def _row(cells: Sequence[str], widths: Sequence[int], right: set[int]) -> str:
    padded = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - _width(cell))
        padded.append(space + cell if index in right else cell + space)
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def size(count: float) -> str:
    """Bytes for people: ``312 B``, ``4.2 MB``, ``1.3 GB`` (powers of 1000)."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.1f} {unit}" if count < 10 else f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: ``4.2 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
