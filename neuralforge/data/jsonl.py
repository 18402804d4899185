"""JSON Lines in and out, one line in memory at a time (https://jsonlines.org)."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

from neuralforge.data.formats import BadRecord, to_example
from neuralforge.data.records import Example, Funnel
from neuralforge.errors import DataError
from neuralforge.files import CHUNK, atomic_writer

MAX_LINE = 16 << 20

_BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (b"\xff\xfe", b"\xfe\xff")


def read_examples(path: Path, *, skip_bad: bool = False, funnel: Funnel | None = None) -> Iterator[Example]:
    """Stream the examples of a ``.jsonl`` (or ``.jsonl.gz``) file in any shape of `neuralforge.data.formats`.

    Args:
        path: the file. Blank lines, CRLF ends and a UTF-8 byte order mark are fine.
        skip_bad: leave out a line that is no example, and count it, instead of stopping at it.
        funnel: counts every line as kept or as dropped for ``bad line: <reason>``.

    Raises:
        DataError: the file cannot be read or holds no example; or, naming file, line and reason, a line is bad.
    """
    if path.is_dir():
        raise DataError(
            f"{path} is a folder, not a JSONL file.", "Name a .jsonl file; for a folder of code use `files`."
        )
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Check the path.")
    return _stream(path, skip_bad, funnel if funnel is not None else Funnel())


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write one example a line, atomically; a name ending in ``.gz`` is compressed. Returns how many.

    `read_examples` gives back equal examples: non-ASCII and undecodable path bytes are written as escapes.
    """
    with ExitStack() as stack:
        out: IO[bytes] = stack.enter_context(atomic_writer(path))
        if path.suffix == ".gz":
            # No name and no time in the header: equal examples give equal files.
            out = cast(IO[bytes], stack.enter_context(gzip.GzipFile("", "wb", 6, out, mtime=0)))
        count = 0
        for example in examples:
            out.write(json.dumps(example.to_json(), separators=(",", ":")).encode("ascii") + b"\n")
            count += 1
    return count


def parse_line(line: bytes) -> Example:
    """Read one line's bytes as an example.

    Raises:
        BadRecord: not UTF-8, not JSON, or no example.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as failure:
        raise BadRecord("not UTF-8", f"byte {failure.start} is not valid UTF-8") from failure
    try:
        record = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError as failure:
        raise BadRecord("nested too deeply", "its JSON is nested too deeply") from failure
    except json.JSONDecodeError as failure:
        raise BadRecord("not JSON", f"it is not JSON: {failure.msg} at character {failure.pos}") from failure
    except ValueError as failure:  # an integer with more digits than Python converts
        raise BadRecord("not JSON", f"it cannot be read: {failure}") from failure
    return to_example(record)


def _stream(path: Path, skip_bad: bool, funnel: Funnel) -> Iterator[Example]:
    found, bad = 0, 0
    for number, line in _lines(path):
        try:
            if line is None:
                raise BadRecord("line too long", f"it is longer than {MAX_LINE >> 20} MiB")
            example = parse_line(line)
        except BadRecord as failure:
            if not skip_bad:
                raise DataError(f"{path}, line {number}: {failure.message}.", failure.hint) from failure
            bad += 1
            funnel.drop(f"bad line: {failure.reason}")
            continue
        found += 1
        funnel.keep()
        yield example
    if not found and bad:
        raise DataError(
            f"{path}: none of its {bad:,} lines is an example.", "Run without --skip-bad to see the reason."
        )
    if not found:
        raise DataError(f"{path} is empty: it holds no example.", "Check how the file was made.")


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Number and content of every line that is not blank; None for one longer than `MAX_LINE`."""
    number = 0
    try:
        with _opened(path) as handle:
            while line := handle.readline(MAX_LINE + 1):
                number += 1
                if number == 1:
                    if line.startswith(_WIDE_BOMS):
                        raise DataError(f"{path} is UTF-16 text.", "Convert it to UTF-8, for example with iconv.")
                    line = line.removeprefix(_BOM)
                if len(line) > MAX_LINE and not line.endswith(b"\n"):
                    while (rest := handle.readline(CHUNK)) and not rest.endswith(b"\n"):
                        pass
                    yield number, None
                elif stripped := line.strip():
                    yield number, stripped
    except (gzip.BadGzipFile, EOFError, zlib.error) as failure:
        raise DataError(
            f"{path}, after line {number}: damaged gzip data: {failure}.", "Copy the file again."
        ) from failure
    except OSError as failure:
        raise DataError(
            f"Cannot read {path}: {failure.strerror or failure}.", "Check the path and its permissions."
        ) from failure


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadRecord("duplicate key", f"the key {twice[:60]!r} stands twice in one object")
    return record


def _no_constant(name: str) -> float:
    raise BadRecord("not JSON", f"{name} is not JSON")
