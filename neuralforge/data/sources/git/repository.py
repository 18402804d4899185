"""Find a repository and what it says about itself: head, shallow boundary, licence, path rules."""

import posixpath
import subprocess
from dataclasses import dataclass
from pathlib import Path

from neuralforge.data.sources.git.blobs import BlobReader
from neuralforge.data.sources.git.commands import (
    GitProcess,
    command,
    environment,
    git_failed,
    missing_git,
    query,
)
from neuralforge.errors import DataError, UserError

_LICENCE_NAMES = ("license", "licence", "copying", "unlicense")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with at least one commit.

    Attributes:
        directory: the git directory (of the work tree, when it is one of several).
        under: the folder of the repository that was pointed at, with a trailing slash; empty for all of it.
        head: full hash of the commit that is checked out.
        boundary: full hashes of commits at which a shallow clone was cut off.
    """

    directory: Path
    under: str
    head: str
    boundary: tuple[str, ...]

    def special_files(self, names: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
        """What the project says about its files at HEAD.

        Args:
            names: file names to look for in every folder.

        Returns:
            Path and text of each file called one of ``names``; the texts of the licence files in the root.
        """
        wanted: list[tuple[str, bytes]] = []
        for entry in query(self.directory, "ls-tree", "-r", "-z", self.head).split(b"\0"):
            details, _, raw = entry.partition(b"\t")
            path = raw.decode("utf-8", "surrogateescape")
            if posixpath.basename(path) in names or ("/" not in path and path.lower().startswith(_LICENCE_NAMES)):
                wanted.append((path, details.split()[2]))
        rules, licences = [], []
        with GitProcess(self.directory, ["cat-file", "--batch"], fed=True) as process:
            files = BlobReader(process)
            for path, oid in wanted:
                files.ask([oid])
                content = files.take()
                if content is None:  # above the size bound, or no file
                    continue
                text = content.decode("utf-8", "replace")
                if posixpath.basename(path) in names:
                    rules.append((path, text))
                else:
                    licences.append(text)
        return rules, licences

    def count_commits(self, limits: tuple[str, ...]) -> int:
        """How many commits a log with these limits will show."""
        return int(query(self.directory, "rev-list", "--count", *limits, self.head) or 0)


def locate(path: Path) -> Repository:
    """The repository at ``path``: a work tree, a folder inside one, a linked work tree, a submodule or a bare one.

    Raises:
        UserError: there is nothing at ``path``.
        DataError: it is no repository, or one without commits, or git refuses to read it.
    """
    if not path.exists():
        raise UserError(f"There is no folder {path}.", "Give the path of a git repository, or its URL.")
    if not path.is_dir():
        raise UserError(f"{path} is a file, not a repository.", "Give the folder that holds the code.")
    directory, prefix, shallow = _discover(path)
    head = query(directory, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False).decode().strip()
    if not head:
        branches = query(directory, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes").split()
        if branches:
            names = ", ".join(name.decode("utf-8", "replace") for name in branches[:5])
            raise DataError(
                f"{path} has commits, but none where its HEAD points.", f"Check out a branch first: {names}."
            )
        raise DataError(f"The repository {path} has no commits yet.", "Commit some code, then try again.")
    if prefix and not query(directory, "ls-tree", "--name-only", head, prefix.rstrip("/")):
        raise DataError(
            f"{path} is not a git repository, and the one around it does not track this folder.",
            "Point at the repository itself, or use create-dataset for files without history.",
        )
    return Repository(directory, prefix, head, _boundary(shallow))


def _discover(path: Path) -> tuple[Path, str, Path]:
    """The git directory for ``path``, the folder of the work tree that it is, and the file that notes a boundary."""
    arguments = ("rev-parse", "--path-format=absolute", "--absolute-git-dir", "--git-path", "shallow", "--show-prefix")
    # core.bare=true, one of the safe settings, would hide the work tree from this one question.
    words = ["core.bare=false" if part == "core.bare=true" else part for part in command(None, *arguments)]
    try:
        done = subprocess.run(words, capture_output=True, env=environment(), cwd=path, check=False)
    except OSError as failure:
        raise missing_git(failure) from failure
    lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")
    if len(lines) > 2 and path.resolve() in (Path(lines[0]), Path(lines[0]).resolve()):
        return Path(lines[0]), "", Path(lines[1])  # bare, or the .git folder itself: there is no prefix inside those
    if done.returncode != 0:
        if b"not a git repository" in done.stderr:
            raise DataError(
                f"{path} is not a git repository.",
                "Give the folder that holds .git, or use create-dataset for files without history.",
            )
        raise git_failed("rev-parse", done.stderr, path)
    return Path(lines[0]), lines[2], Path(lines[1])


def _boundary(shallow: Path) -> tuple[str, ...]:
    """Commits whose parents a shallow clone left out: their diff would show every file as typed that day."""
    try:
        return tuple(shallow.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return ()
