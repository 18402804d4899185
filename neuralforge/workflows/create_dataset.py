"""Turn a folder of source files, a hub data set or any other source into a JSONL data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from neuralforge.data.pipeline import CleaningOptions
from neuralforge.data.sources.base import SourceOptions
from neuralforge.runs.events import Emit, silent
from neuralforge.workflows.extract_dataset import WrittenDataset, write_dataset


def create_dataset(
    source: str | Path,
    output: str | Path,
    *,
    kind: str = "files",
    pattern: str | None = None,
    languages: Sequence[str] | None = None,
    paths: Sequence[str] = (),
    max_examples: int | None = None,
    skip_bad: bool = False,
    secrets: Literal["drop", "redact", "keep"] = "drop",
    emit: Emit = silent,
) -> WrittenDataset:
    """Read ``source`` through the source plugin ``kind``, clean what it gives and write ``output``, atomically.

    Args:
        source: a folder for ``files``; otherwise what that kind of source takes.
        output: the JSONL file to write.
        kind: a name in ``neuralforge.sources``: ``files``, ``jsonl``, ``hub``, or an installed plugin's.
        pattern: a file-name glob such as ``*.java``.
        languages, paths, max_examples, skip_bad: see `SourceOptions`.
        secrets: drop examples with secrets, redact the secrets, or keep both.
        emit: told of progress.

    Raises:
        UserError: an option makes no sense, or there is no such kind of source.
        DataError: the source cannot be used, or nothing in it qualifies; ``output`` is then as it was.
        RunError: ``output`` cannot be written.
    """
    options = SourceOptions(
        languages=tuple(languages) if languages is not None else None,
        patterns=() if pattern is None else (pattern,),
        paths=tuple(paths),
        max_examples=max_examples,
        skip_bad=skip_bad,
    )
    return write_dataset(kind, str(source), Path(output), options, CleaningOptions(secrets=secrets), emit)
