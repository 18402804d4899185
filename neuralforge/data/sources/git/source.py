"""The ``git`` source: examples mined from a repository's history, newest commit first, in a stream.

Two git processes run beside this one: ``git log`` tells what each commit changed, ``git cat-file`` gives the
files as they were after it. Memory holds one batch of changes, whatever the length of the history.
"""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from functools import lru_cache
from itertools import islice
from pathlib import Path

from neuralforge.data.decoding import decode, has_utf16_mark
from neuralforge.data.languages import chosen_languages, language_of, language_reason, may_be_script, script_language
from neuralforge.data.paths_filter import RULE_FILES, PathFilter, content_reason
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import DataSource, SourceOptions
from neuralforge.data.sources.git.blobs import MAX_OUTSTANDING, BlobReader
from neuralforge.data.sources.git.clone import cloned, is_url
from neuralforge.data.sources.git.commands import GitProcess
from neuralforge.data.sources.git.commits import commit_reason
from neuralforge.data.sources.git.dates import timestamp
from neuralforge.data.sources.git.hunks import Origin, examples_of, removed_lines
from neuralforge.data.sources.git.licences import file_licence, licence_of
from neuralforge.data.sources.git.log import GITLINK, HEADER, PATCH, SYMLINK, Change, Commit, read_commits
from neuralforge.data.sources.git.repository import Repository, locate
from neuralforge.data.sources.git.wide import added_hunks
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Note, Progress

_BATCH = MAX_OUTSTANDING // 4  # two batches are in flight, and a file may need its old content too
_PROGRESS_COMMITS = 500
_Wanted = tuple[Change, Commit, str, str | None, frozenset[str]]


def open_source(location: str, options: SourceOptions) -> DataSource:
    """Open a repository by path or URL (https, http, ssh, file); a URL is cloned when examples are asked for.

    Raises:
        UserError: no such folder, an unknown language, a date that is none, a URL that is not allowed.
        DataError: not a repository, or one without commits.
    """
    languages = chosen_languages(options.languages)
    PathFilter(options.paths)  # a pattern that cannot be read is refused before anything is cloned
    repository = None if is_url(location) else locate(Path(location))
    source = GitSource(location, repository, options, languages)
    if repository is not None:
        source.limits(repository)
    return source


class GitSource:
    """Examples from the history behind HEAD, newest commit first, each file from top to bottom."""

    def __init__(
        self,
        location: str,
        repository: Repository | None,
        options: SourceOptions,
        languages: frozenset[str] | None,
    ) -> None:
        self._location = location
        self._repository = repository
        self._options = options
        self._languages = languages

    def limits(self, repository: Repository) -> tuple[str, ...]:
        """The log options for ``--since`` and ``--until``.

        Raises:
            UserError: a date is nonsense, or the two leave nothing between them.
        """
        bounds = {}
        for flag, option, text in (
            ("--since", "--max-age", self._options.since),
            ("--until", "--min-age", self._options.until),
        ):
            if text is not None:
                bounds[option] = timestamp(text, flag, repository.directory)
        if len(bounds) == 2 and bounds["--max-age"] > bounds["--min-age"]:
            raise UserError(
                f"--since {self._options.since!r} is later than --until {self._options.until!r}.", "Swap the two."
            )
        return tuple(f"{option}={seconds}" for option, seconds in bounds.items())

    def examples(self, funnel: Funnel, emit: Emit) -> Iterator[Example]:
        """Mine; see ``DataSource``. Commits are counted in ``funnel.commits``, those left out by reason as well."""
        with ExitStack() as stack:
            repository = self._repository
            if repository is None:
                emit(Note(f"Cloning {self._location}."))
                repository = locate(stack.enter_context(cloned(self._location)))
            stream = stack.enter_context(
                closing(_Mining(repository, self._options, self._languages).run(self.limits(repository), funnel, emit))
            )
            yield from islice(stream, self._options.max_examples)


class _Mining:
    """One pass over one repository."""

    def __init__(self, repository: Repository, options: SourceOptions, languages: frozenset[str] | None) -> None:
        self._repository = repository
        self._options = options
        self._languages = languages
        rules, licences = repository.special_files(RULE_FILES)
        self._paths = PathFilter(options.paths, rules, repository.under)
        self._licence = licence_of(licences)

    def run(self, limits: tuple[str, ...], funnel: Funnel, emit: Emit) -> Generator[Example, None, None]:
        """All examples of the commits within ``limits``."""
        where = self._repository
        if where.boundary:
            emit(
                Note(
                    "This is a shallow clone: what its oldest commits changed is not known, so they are left out. "
                    "`git fetch --unshallow` brings the whole history.",
                    "warning",
                )
            )
            funnel.commits += len(where.boundary)
            funnel.commits_dropped["shallow boundary"] += len(where.boundary)
        with (
            GitProcess(where.directory, ["log", HEADER, *PATCH, *limits, "--stdin"], fed=True) as log,
            GitProcess(where.directory, ["cat-file", "--batch"], fed=True) as files,
        ):
            _send_revisions(log, where)
            blobs = BlobReader(files)
            waiting: list[_Wanted] = []
            for batch in self._batches(self._wanted(log, limits, funnel, emit)):
                blobs.ask([oid for wanted in batch for oid in _oids(wanted[0])])
                yield from self._build(waiting, blobs, funnel)
                waiting = batch
            yield from self._build(waiting, blobs, funnel)
            log.finish()

    def _wanted(self, log: GitProcess, limits: tuple[str, ...], funnel: Funnel, emit: Emit) -> Iterator[_Wanted]:
        """Every file change that is worth reading the file for."""
        total = self._repository.count_commits(limits)
        done = 0
        try:
            for commit in read_commits(log.output):
                if done % _PROGRESS_COMMITS == 0:
                    emit(Progress(done, total, "commits"))
                done += 1
                funnel.commits += 1
                reason = commit_reason(commit)
                if reason is not None:
                    funnel.commits_dropped[reason] += 1
                    continue
                yield from self._wanted_of(commit, funnel)
        except EOFError as end:
            raise log.failure() from end
        emit(Progress(done, total, "commits"))

    def _wanted_of(self, commit: Commit, funnel: Funnel) -> Iterator[_Wanted]:
        removed: frozenset[str] | None = None
        for change in commit.changes:
            if change.mode == GITLINK:
                funnel.drop("submodule")
                continue
            candidates = 1 if change.binary else sum(1 for hunk in change.hunks if hunk.count)
            if not candidates or change.status == b"D":
                continue
            if change.mode == SYMLINK:
                funnel.drop("symbolic link")
                continue
            path = change.path.decode("utf-8", "surrogateescape")
            language = language_of(path)
            reason = self._paths.reason(path)
            if reason is None and not may_be_script(path):
                reason = language_reason(language, self._languages)
            if reason is not None:
                funnel.drop("binary" if change.binary and language is None else reason, candidates)
                continue
            if removed is None:
                removed = removed_lines(commit.changes)
            yield change, commit, path, language, removed

    def _build(self, batch: list[_Wanted], blobs: BlobReader, funnel: Funnel) -> Iterator[Example]:
        """The examples of a batch whose contents were asked for."""
        for change, commit, path, language, removed in batch:
            content = blobs.take()
            old = blobs.take() if len(_oids(change)) == 2 else b""
            hunks = change.hunks
            candidates = sum(1 for hunk in hunks if hunk.count) or 1
            if content is None:
                funnel.drop("too large", candidates)
                continue
            text = decode(content)
            if change.binary:
                before = decode(old) if old is not None else None
                if not has_utf16_mark(content) or text is None:
                    funnel.drop("binary")
                    continue
                found = added_hunks(before, text) if before is not None else None
                if found is None:
                    funnel.drop("too large")
                    continue
                hunks = found
            if text is None:
                funnel.drop("encoding", candidates)
                continue
            language = language or script_language(text)
            reason = language_reason(language, self._languages) or content_reason(text)
            if reason is not None:
                funnel.drop(reason, candidates)
                continue
            origin = Origin(
                language or "text",
                path,
                commit.oid,
                commit.author_time,
                _pseudonym(commit.email),
                file_licence(text) or self._licence,
            )
            yield from examples_of(text, hunks, origin, removed, funnel, allow_mid_line=self._options.allow_mid_line)

    @staticmethod
    def _batches(wanted: Iterator[_Wanted]) -> Iterator[list[_Wanted]]:
        while batch := list(islice(wanted, _BATCH)):
            yield batch


def _send_revisions(log: GitProcess, repository: Repository) -> None:
    """Where the log starts and what it leaves out; by its input, for a shallow clone may have many ends."""
    try:
        log.input.write("".join((repository.head + "\n", *(f"^{oid}\n" for oid in repository.boundary))).encode())
        log.input.close()
    except OSError as failure:
        raise log.failure() from failure


def _oids(change: Change) -> list[bytes]:
    """Contents needed for a change: git diffed it already, unless it took it for binary and it may be UTF-16."""
    if change.binary and change.old_oid.strip(b"0"):
        return [change.new_oid, change.old_oid]
    return [change.new_oid]


@lru_cache(maxsize=4_096)
def _pseudonym(email: str) -> str:
    """What stands for an author; see ``Example.author``."""
    return hashlib.sha256(email.strip().lower().encode("utf-8", "replace")).hexdigest()[:16]
