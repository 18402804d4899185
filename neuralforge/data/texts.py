"""Whole texts, streamed: what tokenizers and pre-training read."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from neuralforge.data.jsonl import read_examples
from neuralforge.data.records import Funnel
from neuralforge.data.sources.base import SourceOptions
from neuralforge.data.sources.files import open_source
from neuralforge.errors import DataError
from neuralforge.files import CHUNK
from neuralforge.runs.events import Emit, Progress, silent

JSONL = (".jsonl", ".jsonl.gz", ".ndjson")
# A plain text file is handed on in pieces of about so many characters, cut at line ends.
PIECE = 1 << 18


def read_texts(
    place: Path, *, skip_bad: bool = False, funnel: Funnel | None = None, emit: Emit = silent
) -> Iterator[str]:
    """The texts of a folder (its files, code and prose), a JSONL file (its examples) or a plain text file (in pieces).

    Nothing is held in memory but the text at hand.

    Args:
        place: the folder or file. In a folder, links and generated, vendored, binary and large files (over 1 MiB) are
            left out; a text file that is named itself may have any size.
        skip_bad: leave out and count a bad line of a JSONL file instead of stopping at it.
        funnel: counts what was kept and what was dropped, and why.
        emit: told of progress.

    Raises:
        DataError: the place does not exist, cannot be read, or holds no text.
    """
    funnel = funnel if funnel is not None else Funnel()
    if place.is_dir():
        yield from open_source(str(place), SourceOptions(patterns=("*",))).texts(funnel, emit)
    elif place.name.endswith(JSONL):
        for example in read_examples(place, skip_bad=skip_bad, funnel=funnel):
            yield example.prefix + example.completion + example.suffix
    else:
        yield from _pieces(place, funnel, emit)


def _pieces(path: Path, funnel: Funnel, emit: Emit) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    kept, torn, done, given = "", "", 0, 0
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            while chunk := handle.read(CHUNK):
                before = done - len(decoder.getstate()[0])
                done += len(chunk)
                read = torn + decoder.decode(chunk)
                torn = "\r" if read.endswith("\r") else ""  # its line feed may stand in the next chunk
                kept += read[: len(read) - len(torn)].replace("\r\n", "\n")
                while len(kept) > PIECE:
                    cut = kept.rfind("\n", 0, PIECE) + 1 or PIECE
                    funnel.keep()
                    given += 1
                    yield kept[:cut]
                    kept = kept[cut:]
                emit(Progress(done, size, "bytes"))
        before = done
        kept += torn + decoder.decode(b"", True)
    except UnicodeDecodeError as failure:
        raise DataError(
            f"{path} is not UTF-8 text (byte {before + failure.start:,}).", "Convert it, for example with iconv."
        ) from failure
    except OSError as failure:
        raise DataError(
            f"Cannot read {path}: {failure.strerror or failure}.", "Check the path and its rights."
        ) from failure
    if kept.strip():
        funnel.keep()
        given += 1
        yield kept
    if not given:
        raise DataError(f"{path} is empty.", "Give a file with text.")
