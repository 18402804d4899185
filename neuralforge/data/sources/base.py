"""What a source of examples is, what may be asked of one, and how one is opened by name.

A source is found through the entry-point group ``neuralforge.sources``. The entry point names a callable
``open_source(location, options)`` that checks the location and returns something with an ``examples`` method.
The built-in sources (``git``, ``files``, ``jsonl``, ``hub``) come through the same door as installed plugins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from neuralforge import plugins
from neuralforge.data.records import Example, Funnel
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit

GROUP = "neuralforge.sources"


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What to take from a source. A source ignores what has no meaning for it.

    Attributes:
        languages: lower-case names or aliases to keep, or None for every programming language.
        since: oldest time to take, as git understands it (``6 months ago``, ``2024-01-31``), or None.
        until: newest time to take, likewise.
        paths: globs in gitignore syntax; empty takes every path.
        patterns: file-name globs for sources of files (``*.java``), one of which must match; empty takes every file.
        max_examples: stop after this many, newest first where the source knows time, or None.
        skip_bad: count records that cannot be read instead of failing on the first.
        allow_mid_line: a completion may begin inside a changed line rather than at its start.
    """

    languages: tuple[str, ...] | None = None
    since: str | None = None
    until: str | None = None
    paths: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    max_examples: int | None = None
    skip_bad: bool = False
    allow_mid_line: bool = False

    def __post_init__(self) -> None:
        """Refuse a count that can only be a slip."""
        if self.max_examples is not None and self.max_examples < 1:
            raise UserError(
                f"The number of examples must be at least 1, not {self.max_examples}.",
                "Leave --max-examples out to take all of them.",
            )


class DataSource(Protocol):
    """Something that yields examples once, in a stream, counting in ``funnel`` what it takes and leaves."""

    def examples(self, funnel: Funnel, emit: Emit) -> Iterator[Example]:
        """Yield examples; each was counted with ``funnel.keep()``, the rest with ``funnel.drop(reason)``."""
        ...


@runtime_checkable
class SourceFactory(Protocol):
    """The callable behind a ``neuralforge.sources`` entry point."""

    def __call__(self, location: str, options: SourceOptions) -> DataSource:
        """Check ``location`` and open it; raises a ``NeuralForgeError`` that says what is wrong with it."""
        ...


def open_source(kind: str, location: str, options: SourceOptions | None = None) -> DataSource:
    """Open ``location`` with the source named ``kind``.

    Raises:
        UserError: no such source, it cannot be loaded, or what its entry point names cannot be called.
    """
    factory = plugins.load(GROUP, kind)
    if not callable(factory):
        raise UserError(
            f"The source {kind!r} is not callable: its entry point names a {type(factory).__name__}.",
            "It should name a function open_source(location, options). Tell its author.",
        )
    return cast(SourceFactory, factory)(location, options if options is not None else SourceOptions())
