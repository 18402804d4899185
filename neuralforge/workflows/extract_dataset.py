"""Mine a repository's history into a JSONL data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neuralforge.data.jsonl import write_examples
from neuralforge.data.pipeline import CleaningOptions, clean
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.data.statistics import FEWEST
from neuralforge.errors import DataError
from neuralforge.runs.events import Emit, Note, Phase, silent


@dataclass(frozen=True, slots=True)
class WrittenDataset:
    """A data set on disk: how many examples it holds and what was left out on the way."""

    output: Path
    examples: int
    funnel: Funnel


def extract_dataset(
    git_repo: str | Path,
    output: str | Path,
    *,
    languages: Sequence[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    paths: Sequence[str] = (),
    max_examples: int | None = None,
    allow_mid_line: bool = False,
    secrets: Literal["drop", "redact", "keep"] = "drop",
    emit: Emit = silent,
) -> WrittenDataset:
    """Mine ``git_repo`` (a path or a URL), clean what was mined and write it to ``output``, atomically.

    Raises:
        UserError: an option makes no sense.
        DataError: the repository cannot be used, or nothing in it qualifies; ``output`` is then as it was.
        RunError: ``output`` cannot be written.
    """
    options = SourceOptions(
        languages=tuple(languages) if languages is not None else None,
        since=since,
        until=until,
        paths=tuple(paths),
        max_examples=max_examples,
        allow_mid_line=allow_mid_line,
    )
    return write_dataset("git", str(git_repo), Path(output), options, CleaningOptions(secrets=secrets), emit)


def write_dataset(
    kind: str, location: str, output: Path, options: SourceOptions, cleaning: CleaningOptions, emit: Emit
) -> WrittenDataset:
    """Stream one source through the filters into ``output``; an empty result is an error and writes nothing."""
    funnel = Funnel()
    source = open_source(kind, location, options)
    emit(Phase("mine", location))

    def cleaned() -> Iterator[Example]:
        count = 0
        for example in clean(source.examples(funnel, emit), cleaning, funnel, emit):
            count += 1
            yield example
        # Raised inside the writer, so that the file does not appear.
        if not count:
            raise DataError(f"{location} gave no usable example. {_why(funnel)}", "Loosen the options, or add history.")

    examples = write_examples(output, cleaned())
    if examples < FEWEST:
        emit(Note(f"Only {examples} examples; an adapter needs at least {FEWEST} to be likely to help.", "warning"))
    return WrittenDataset(output, examples, funnel)


def _why(funnel: Funnel) -> str:
    rows = [*funnel.rows(), *funnel.commits_dropped.most_common()]
    if not rows:
        return "Nothing was found in it."
    return "Left out: " + ", ".join(f"{count:,} {reason}" for reason, count in rows[:5]) + "."
