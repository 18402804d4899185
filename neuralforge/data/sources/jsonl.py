"""A JSONL file as a source of examples."""

from collections.abc import Iterator
from pathlib import Path

from neuralforge import paths
from neuralforge.data.jsonl import read_examples
from neuralforge.data.languages import chosen_languages
from neuralforge.data.paths_filter import PathFilter
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions
from neuralforge.errors import DataError
from neuralforge.runs.events import Emit, Phase


class JsonlSource:
    """The examples of one file, narrowed by language, path and number."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._path = path
        self._options = options
        self._languages = chosen_languages(options.languages)
        self._paths = PathFilter(options.paths) if options.paths else None

    def examples(self, funnel: Funnel, emit: Emit) -> Iterator[Example]:
        """Stream the file; see `neuralforge.data.jsonl.read_examples` for the errors.

        Examples without a path are not held to ``paths``: data sets made by others seldom have one.
        """
        emit(Phase("mine", str(self._path)))
        taken = 0
        for example in read_examples(self._path, skip_bad=self._options.skip_bad, funnel=funnel):
            reason = self._reason(example)
            if reason is not None:
                funnel.discard(reason)
                continue
            taken += 1
            yield example
            if taken == self._options.max_examples:
                return

    def _reason(self, example: Example) -> str | None:
        if self._languages is not None and example.language not in self._languages:
            return "language not chosen"
        if (
            self._paths is not None
            and example.path is not None
            and self._paths.reason(example.path) == "path not chosen"
        ):
            return "path not chosen"
        return None


def open_source(location: str, options: SourceOptions) -> JsonlSource:
    """Open the JSONL file at ``location`` (entry point ``jsonl``).

    Raises:
        DataError: there is no such file.
    """
    path = paths.expanded(location)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"The data set {path} {what}.", "Name a .jsonl or .jsonl.gz file.")
    return JsonlSource(path, options)
