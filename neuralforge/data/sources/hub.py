"""A data set on the Hugging Face hub, streamed; needs the extra ``neuralforge[hub]``.

A location is ``owner/name``, optionally followed by a query: ``?split=validation&config=python&revision=main``.
Columns that are named otherwise than `neuralforge.data.formats` expects are renamed in it as well:
``?text=content`` reads the column ``content`` as ``text``.
"""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from neuralforge.data.formats import BadRecord, to_example
from neuralforge.data.languages import chosen_languages
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions
from neuralforge.errors import DataError, NeuralForgeError, RemoteError, UserError
from neuralforge.runs.events import Emit, Phase, Progress

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
_SETTINGS = ("split", "config", "revision")
_COLUMNS = frozenset(
    (
        *("prefix", "middle", "suffix", "context", "completion", "instruction", "input", "output", "messages", "text"),
        *("language", "path", "licence", "commit", "author_time", "metadata"),
    )
)
_REPORT_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class HubLocation:
    """A parsed location. ``columns`` maps the name expected to the data set's own."""

    name: str
    split: str
    config: str | None
    revision: str | None
    columns: dict[str, str]


class HubSource:
    """The rows of one split of one data set, never downloaded whole."""

    def __init__(self, location: HubLocation, options: SourceOptions) -> None:
        self._location = location
        self._options = options
        self._languages = chosen_languages(options.languages)

    def examples(self, funnel: Funnel, emit: Emit) -> Iterator[Example]:
        """Stream the rows as examples; code that comes with a data set is never run.

        Raises:
            RemoteError: the hub does not give the data set.
            DataError: a row is no example (unless bad rows are skipped), or no row is one.
        """
        emit(Phase("mine", f"hub data set {self._location.name}"))
        taken = bad = 0
        for number, row in enumerate(self._rows(), 1):
            try:
                example = to_example(self._renamed(row))
            except BadRecord as failure:
                if not self._options.skip_bad:
                    raise DataError(
                        f"Hub data set {self._location.name}, row {number}: {failure.message}.",
                        "Rename its columns in the location (for example ?text=content), or pass --skip-bad.",
                    ) from failure
                funnel.drop(f"bad row: {failure.reason}")
                bad += 1
                continue
            if self._languages is not None and example.language not in self._languages:
                funnel.drop("language not chosen")
                continue
            funnel.keep()
            taken += 1
            if taken % _REPORT_EVERY == 0:
                emit(Progress(taken, self._options.max_examples, "examples"))
            yield example
            if taken == self._options.max_examples:
                return
        if not taken:
            raise DataError(
                f"Hub data set {self._location.name} ({self._location.split}) gave no example ({bad:,} unusable rows).",
                "Check the split, the languages and the columns.",
            )

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        at = self._location
        try:
            rows: Iterable[Mapping[str, Any]] = _library().load_dataset(
                at.name, at.config, split=at.split, revision=at.revision, streaming=True
            )
            yield from rows
        except (NeuralForgeError, GeneratorExit, KeyboardInterrupt):
            raise
        except Exception as failure:  # whatever the library, the network or a damaged file raises
            raise RemoteError(
                f"Cannot read the hub data set {at.name}: {type(failure).__name__}: {str(failure)[:300]}",
                "Check its name, split and configuration, the network, and HF_TOKEN for a gated one.",
            ) from failure

    def _renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        record = dict(row)
        for wanted, own in self._location.columns.items():
            if own not in row:
                raise BadRecord("missing column", f"it has no column {own!r} to read {wanted!r} from")
            record[wanted] = row[own]
        return record


def parse_location(location: str) -> HubLocation:
    """Read ``owner/name?split=…&config=…&revision=…&<expected>=<column>``.

    Raises:
        UserError: it is no data set name, or a setting is unknown.
    """
    name, _, query = location.partition("?")
    if not _NAME.fullmatch(name) or ".." in name:
        raise UserError(f"{name!r} is not a hub data set name.", "Write owner/name, as in the address on the hub.")
    settings: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _SETTINGS and key not in _COLUMNS:
            raise UserError(
                f"Unknown setting {key!r} for a hub data set.",
                f"Known: {', '.join(_SETTINGS)}, and columns to rename: {', '.join(sorted(_COLUMNS))}.",
            )
        if not value:
            raise UserError(
                f"The setting {key!r} of the hub data set {name} is empty.", f"Write {key}=… or leave it out."
            )
        settings[key] = value
    return HubLocation(
        name=name,
        split=settings.pop("split", "train"),
        config=settings.pop("config", None),
        revision=settings.pop("revision", None),
        columns=settings,
    )


def open_source(location: str, options: SourceOptions) -> HubSource:
    """Open the hub data set at ``location`` (entry point ``hub``). Nothing is fetched before the first example.

    Raises:
        UserError: the location cannot be read, or the ``datasets`` package is not installed.
    """
    parsed = parse_location(location)
    _library()
    return HubSource(parsed, options)


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as failure:
        raise UserError(
            "Hub data sets need the package `datasets`, which is not installed.",
            "Install it with: pip install 'neuralforge[hub]'",
        ) from failure
