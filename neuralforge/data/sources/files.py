"""A folder of code without history: whole files cut into definitions."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from neuralforge import paths
from neuralforge.data.cleaning.licence import identify_licence, is_licence_file
from neuralforge.data.decoding import decode
from neuralforge.data.languages import chosen_languages, language_of, language_reason, may_be_script, script_language
from neuralforge.data.paths_filter import RULE_FILES, PathFilter, content_reason
from neuralforge.data.records import Example, Funnel
from neuralforge.data.segments import cut, left_out
from neuralforge.data.sources.base import SourceOptions
from neuralforge.errors import DataError, UserError
from neuralforge.runs.events import Emit, Note, Phase, Progress

MAX_FILE = 1 << 20
# Text kept around a completion, in characters, as for the git source. Encoding clips it to the model's window.
BEFORE, AFTER = 6_000, 2_000

_OWN_FOLDERS = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "__pycache__"})
_REPORT_EVERY = 100


@dataclass(frozen=True, slots=True)
class _Listing:
    files: list[str]
    rules: list[tuple[str, str]]
    licence: str | None


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    text: str
    language: str


class FilesSource:
    """The definitions in the files below one folder (or in one file)."""

    def __init__(self, root: Path, options: SourceOptions) -> None:
        self._root = root
        self._options = options
        self._languages = chosen_languages(options.languages)
        self._patterns = _patterns(options.patterns)

    def examples(self, funnel: Funnel, emit: Emit) -> Iterator[Example]:
        """Yield examples file by file, in the order of their paths.

        A file that is left out counts as one candidate. Links are not followed, so nothing outside the folder
        is read and nothing inside twice.

        Raises:
            DataError: the folder holds no file that qualifies.
        """
        emit(Phase("mine", str(self._root)))
        listing = self._listing(funnel)
        taken = used = 0
        for file in self._files(listing, funnel, emit):
            used += 1
            for example in self._cut(file, listing.licence, funnel):
                funnel.keep()
                taken += 1
                yield example
                if taken == self._options.max_examples:
                    return
        emit(Note(f"{used:,} of {len(listing.files):,} files gave {taken:,} examples."))

    def texts(self, funnel: Funnel, emit: Emit) -> Iterator[str]:
        """Yield whole files instead of examples; otherwise as ``examples``."""
        for file in self._files(self._listing(funnel), funnel, emit):
            funnel.keep()
            yield file.text

    def _files(self, listing: _Listing, funnel: Funnel, emit: Emit) -> Iterator[_File]:
        """The files that qualify; the others are counted out."""
        paths = PathFilter(self._options.paths, listing.rules)
        used = 0
        for number, path in enumerate(listing.files, 1):
            reason = self._reason(path, paths)
            text = self._text(path, funnel) if reason is None else None
            language = language_of(path)
            if reason is None and text is not None:
                language = language or script_language(text)
                reason = self._language_reason(language) or content_reason(text)
            if reason is not None:
                funnel.drop(reason)
                continue
            if text is None:
                continue
            used += 1
            yield _File(path, text, language or "text")
            if number % _REPORT_EVERY == 0:
                emit(Progress(number, len(listing.files), "files", f"{used:,} used"))
        if not used:
            wanted = ", ".join(self._options.patterns or self._options.languages or ()) or "source code"
            why = "".join(f"; {reason}: {count:,}" for reason, count in list(funnel.rows())[:3])
            raise DataError(
                f"{self._root} holds no file to use (looked for: {wanted}; {len(listing.files):,} files seen{why}).",
                "Check the folder and the pattern; .neuralforgeignore and generated or vendored files are left out.",
            )

    def _listing(self, funnel: Funnel) -> _Listing:
        if self._root.is_file():
            return _Listing([self._root.name], [], None)
        files: list[str] = []
        rules: list[tuple[str, str]] = []
        licence = None
        for folder, folders, names in os.walk(self._root, followlinks=False):
            within = Path(folder).relative_to(self._root).as_posix()
            under = "" if within == "." else f"{within}/"
            folders[:] = sorted(name for name in folders if name not in _OWN_FOLDERS)
            for name in list(folders):
                if (Path(folder) / name).is_symlink():
                    funnel.drop("symbolic link")
            for name in sorted(names):
                files.append(f"{under}{name}")
                if name in RULE_FILES and (text := self._read(f"{under}{name}")[0]) is not None:
                    rules.append((f"{under}{name}", text))
                if not under and licence is None and is_licence_file(name):
                    licence = identify_licence(self._read(name)[0] or "")
        return _Listing(sorted(files), rules, licence)

    def _reason(self, path: str, paths: PathFilter) -> str | None:
        if self._patterns is not None and not self._patterns.match_file(path):
            return "pattern not matched"
        reason = None if may_be_script(path) else self._language_reason(language_of(path))
        return reason or paths.reason(path)

    def _language_reason(self, language: str | None) -> str | None:
        # A pattern that matches is the wish for that file, be it prose or of no known language.
        if self._patterns is not None and self._languages is None:
            return None
        return language_reason(language, self._languages)

    def _text(self, path: str, funnel: Funnel) -> str | None:
        """The file's text with ``\\n`` line ends, or None when it was counted out."""
        text, reason = self._read(path)
        if text is not None and not text.strip():
            text, reason = None, "empty file"
        if text is None:
            funnel.drop(reason)
            return None
        return text

    def _read(self, path: str) -> tuple[str | None, str]:
        """Text, or None and why not."""
        full = self._root if self._root.is_file() else self._root / path
        try:
            # O_NOFOLLOW and the check of the open file, not of its name: a link put there meanwhile is not read.
            # O_NONBLOCK: opening a pipe must not wait for a writer.
            descriptor = os.open(full, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(descriptor, "rb") as handle:
                status = os.fstat(handle.fileno())
                if not stat.S_ISREG(status.st_mode):
                    return None, "not a regular file"
                content = handle.read(MAX_FILE + 1) if status.st_size <= MAX_FILE else None
        except OSError:
            return None, "symbolic link" if full.is_symlink() else "unreadable file"
        if content is None or len(content) > MAX_FILE:
            return None, "file too large"
        text = decode(content)
        return (text, "") if text is not None else (None, "binary")

    def _cut(self, file: _File, licence: str | None, funnel: Funnel) -> Iterator[Example]:
        text, lines = file.text, file.text.split("\n")
        place = reached = 0  # characters before line number `reached`
        pieces = list(cut(lines, 0, len(lines)))
        if overlong := left_out(lines, 0, len(lines), pieces):
            funnel.drop("over-long", overlong)
        for piece in pieces:
            place += sum(map(len, lines[reached : piece.start])) + piece.start - reached
            reached = piece.start
            end = place + piece.chars - 1  # the last newline belongs to what follows
            before, after = _window(text, place, end)
            yield Example(
                prefix=text[before:place],
                completion=text[place:end],
                suffix=text[end:after],
                kind="file",
                language=file.language,
                path=file.path,
                offset=place,
                licence=licence,
            )


def open_source(location: str, options: SourceOptions) -> FilesSource:
    """Open the folder (or single file) at ``location`` (entry point ``files``).

    Raises:
        DataError: it does not exist or cannot be listed.
        UserError: the pattern cannot be read.
    """
    root = paths.expanded(location)
    if not root.exists():
        raise DataError(f"The folder {root} does not exist.", "Check the path given as --source.")
    if not root.is_dir() and not root.is_file():
        raise DataError(f"{root} is neither a folder nor a file.", "Give a folder of source files as --source.")
    if not os.access(root, os.R_OK):
        raise DataError(f"{root} cannot be read.", "Check its permissions.")
    return FilesSource(root.resolve(), options)


def _patterns(patterns: Sequence[str]) -> GitIgnoreSpec | None:
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith(("#", "!")):
            raise UserError(f"The pattern {pattern!r} matches nothing.", 'Give a glob such as --pattern "*.java".')
    try:
        return GitIgnoreSpec.from_lines(patterns) if patterns else None
    except ValueError as failure:
        raise UserError(
            f"The pattern {', '.join(patterns)!r} cannot be read: {failure}.", "Use a glob such as '*.java'."
        ) from failure


def _window(text: str, start: int, end: int) -> tuple[int, int]:
    """How far the text around ``start:end`` is kept: whole lines within `BEFORE` and `AFTER` characters."""
    before = text.find("\n", start - BEFORE - 1, start) + 1 if start > BEFORE else 0
    after = text.rfind("\n", end, end + AFTER) if len(text) - end > AFTER else len(text)
    return before or (start if start > BEFORE else 0), after if after >= 0 else end
