"""The entry point ``notebooks``: every code cell of every notebook below a folder, with the cells around it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from neuralforge import paths
from neuralforge.data.languages import chosen_languages
from neuralforge.data.paths_filter import PathFilter
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions
from neuralforge.errors import DataError
from neuralforge.runs.events import Emit, Phase
from neuralforge_notebooks.notebook import BadNotebook, Notebook, parse_notebook

# Notebooks carry their outputs: pictures make them large. What is larger than this is skipped unread.
MAX_NOTEBOOK = 32 << 20
BEFORE, AFTER = 6_000, 2_000


class NotebookSource:
    """Code cells as examples: the cells before one are its prefix, those after it its suffix."""

    def __init__(self, root: Path, options: SourceOptions) -> None:
        self._root = root
        self._options = options
        self._languages = chosen_languages(options.languages)
        self._paths = PathFilter(options.paths)

    def examples(self, funnel: Funnel, emit: Emit) -> Iterator[Example]:
        """Yield examples notebook by notebook, in the order of their paths.

        Raises:
            DataError: there is no notebook, or one is damaged and ``skip_bad`` is off.
        """
        emit(Phase("mine", str(self._root)))
        found = taken = 0
        for path in self._notebooks():
            found += 1
            notebook = self._read(path, funnel)
            if notebook is None:
                continue
            for example in _examples(notebook, path):
                funnel.keep()
                taken += 1
                yield example
                if taken == self._options.max_examples:
                    return
        if not found:
            raise DataError(f"{self._root} holds no notebook (*.ipynb).", "Check the folder.")

    def _notebooks(self) -> Iterator[str]:
        if self._root.is_file():
            yield self._root.name
            return
        for folder, folders, names in os.walk(self._root, followlinks=False):
            folders[:] = sorted(name for name in folders if name not in (".git", ".ipynb_checkpoints"))
            for name in sorted(names):
                if name.endswith(".ipynb"):
                    yield (Path(folder) / name).relative_to(self._root).as_posix()

    def _read(self, path: str, funnel: Funnel) -> Notebook | None:
        """The notebook, or None when it was counted out."""
        reason = self._paths.reason(path)
        content = b""
        if reason is None:
            content, reason = _content(self._root if self._root.is_file() else self._root / path)
        if reason is None:
            try:
                notebook = parse_notebook(content)
            except BadNotebook as failure:
                if not self._options.skip_bad:
                    raise DataError(
                        f"The notebook {self._root / path} cannot be read: {failure}.",
                        "Repair or remove it, or pass --skip-bad to leave such notebooks out and count them.",
                    ) from failure
                reason = f"bad notebook: {failure}"
            else:
                if self._languages is None or notebook.language in self._languages:
                    return notebook
                reason = "language not chosen"
        funnel.drop(reason)
        return None


def open_source(location: str, options: SourceOptions) -> NotebookSource:
    """Open the folder of notebooks (or single notebook) at ``location``.

    Raises:
        DataError: it does not exist.
    """
    root = paths.expanded(location)
    if not root.exists():
        raise DataError(f"{root} does not exist.", "Give a folder with notebooks, or one notebook.")
    return NotebookSource(root.resolve(), options)


def _content(path: Path) -> tuple[bytes, str | None]:
    """The file's bytes, or why they were not read. Links are not followed: they may lead out of the folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                return b"", "not a regular file"
            content = handle.read(MAX_NOTEBOOK + 1) if status.st_size <= MAX_NOTEBOOK else None
    except OSError:
        return b"", "symbolic link" if path.is_symlink() else "unreadable file"
    if content is None or len(content) > MAX_NOTEBOOK:
        return b"", "file too large"
    return content, None


def _examples(notebook: Notebook, path: str) -> Iterator[Example]:
    text = "\n\n".join(notebook.cells)
    start = 0
    for cell in notebook.cells:
        end = start + len(cell)
        yield Example(
            prefix=text[max(0, start - BEFORE) : start],
            completion=cell,
            suffix=text[end : end + AFTER],
            kind="file",
            language=notebook.language,
            path=path,
            offset=start,
        )
        start = end + 2
