"""Train a tokenizer on one's own text and save it as transformers reads it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralforge import paths
from neuralforge.data.records import Funnel
from neuralforge.data.texts import read_texts
from neuralforge.errors import DataError, UserError
from neuralforge.files import atomic_folder
from neuralforge.runs.events import Emit, Phase, silent

# Text that the compression is measured on, from the beginning of what was read.
_SAMPLE = 4 << 20


@dataclass(frozen=True, slots=True)
class TrainedTokenizer:
    """What was made: where, how many tokens, what was read and left out, and UTF-8 bytes a token on a sample of it."""

    folder: Path
    vocabulary: int
    funnel: Funnel
    bytes_read: int
    bytes_per_token: float


def train_tokenizer(
    data: Sequence[str | Path],
    save: str | Path,
    *,
    vocab_size: int = 8000,
    min_frequency: int = 2,
    skip_bad: bool = False,
    emit: Emit = silent,
) -> TrainedTokenizer:
    """Learn a byte-level BPE tokenizer from folders, JSONL and text files and write it to the folder ``save``.

    Args:
        data: see `neuralforge.data.texts.read_texts`; streamed, only its distinct words are held in memory.
        save: a folder that does not exist yet.
        vocab_size, min_frequency: see `neuralforge.tokens.tokenizer.train_tokenizer`.
        skip_bad: leave out bad lines of JSONL files.
        emit: told of progress.

    Raises:
        UserError: a number is out of bounds, or ``save`` is taken.
        DataError: a place in ``data`` cannot be read or holds no text.
        RunError: ``save`` cannot be written; it is then as it was.
    """
    from neuralforge.tokens.encoding import plain_ids
    from neuralforge.tokens.tokenizer import train_tokenizer as learn

    folder = paths.expanded(str(save))
    if os.path.lexists(folder):
        raise UserError(f"{folder} already exists.", "Choose another --save folder, or remove this one first.")
    places = [paths.expanded(str(place)) for place in data]
    for place in places:
        if not place.exists():
            raise DataError(f"{place} does not exist.", "Check the path given as --data.")
    funnel = Funnel()
    sample: list[str] = []
    read = sampled = 0

    def texts() -> Iterator[str]:
        nonlocal read, sampled
        for place in places:
            emit(Phase("read", str(place)))
            for text in read_texts(place, skip_bad=skip_bad, funnel=funnel, emit=emit):
                read += len(text.encode("utf-8", "replace"))
                if sampled < _SAMPLE:
                    sample.append(text)
                    sampled += len(text)
                yield text
        emit(Phase("merge", f"{read:,} bytes of text, up to {vocab_size:,} tokens"))

    tokenizer = learn(texts(), vocab_size=vocab_size, min_frequency=min_frequency)
    tokens = sum(map(len, plain_ids(sample, tokenizer)))
    weight = sum(len(text.encode("utf-8", "replace")) for text in sample)
    with atomic_folder(folder) as made:
        saved(tokenizer, made)
    return TrainedTokenizer(folder, len(tokenizer), funnel, read, weight / max(1, tokens))


def saved(part: Any, folder: Path) -> None:
    """Let a model or tokenizer of transformers write itself into ``folder``.

    Raises:
        OSError: it could not, whatever the libraries below call that.
    """
    from neuralforge.models.reading import quiet

    try:
        with quiet():
            part.save_pretrained(str(folder))
    except OSError:
        raise
    except Exception as failure:  # all that the library below says when a disk is full
        raise OSError(str(failure)) from failure
