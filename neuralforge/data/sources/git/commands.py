"""Run git on a repository that nobody vouched for: no hook, filter, pager, helper or network of its configuration runs.

A cloned or unpacked repository may carry a ``.git/config`` made to run commands in whoever reads it. Everything here
passes the settings that close those doors, and drops the ``GIT_*`` variables that would point git somewhere else.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from neuralforge.errors import DataError, UserError

MAX_FILE_BYTES = 1_000_000
_READ_BUFFER = 1 << 18
_PIPE_BYTES = 1 << 20
_KEPT_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
_SAFE = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    # git calls a file above this size binary, so neither it nor we ever hold the diff of a huge file.
    f"core.bigFileThreshold={MAX_FILE_BYTES}",
    "core.bare=true",  # .gitattributes of a work tree are not consulted: they could force binaries to be shown as text
    "protocol.ext.allow=never",
    "gc.auto=0",
    "color.ui=false",
    "log.showRoot=true",
    "log.showSignature=false",
    "diff.suppressBlankEmpty=false",
)


def environment(protocols: str = "none") -> dict[str, str]:
    """The environment for git; ``protocols`` lists the transports it may use (``none``: it stays on this machine)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT_VARIABLES}
    return kept | {
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        # A partial clone would fetch what it lacks through commands named in its configuration.
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_NO_LAZY_FETCH": "1",
    }


def command(directory: Path | None, *arguments: str) -> list[str]:
    """The command line of git with every safe setting, reading the git directory ``directory`` if one is given."""
    settings = [part for setting in _SAFE for part in ("-c", setting)]
    place = [f"--git-dir={directory}"] if directory is not None else []
    return ["git", "--no-pager", *settings, *place, *arguments]


def missing_git(failure: OSError) -> UserError:
    """The error for a machine without git."""
    return UserError(f"git cannot be run: {failure.strerror or failure}.", "Install git 2.31 or newer, then try again.")


def query(directory: Path | None, *arguments: str, check: bool = True) -> bytes:
    """Standard output of one short git command.

    Raises:
        DataError: git failed and ``check`` is set; otherwise a failure gives empty bytes.
    """
    try:
        done = subprocess.run(command(directory, *arguments), capture_output=True, env=environment(), check=False)
    except OSError as failure:
        raise missing_git(failure) from failure
    if done.returncode != 0:
        if not check:
            return b""
        raise git_failed(arguments[0], done.stderr, directory)
    return done.stdout


def git_failed(verb: str, stderr: bytes, directory: Path | None) -> DataError:
    """git's own last words as an error that says what to do about the known causes."""
    said = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    reason = next((line for line in said if line.startswith("fatal:")), said[-1] if said else "no message")
    reason = reason.removeprefix("fatal: ").strip().rstrip(".")
    hint = "Run `git fsck` in it; a damaged repository can be cloned again."
    if "dubious ownership" in reason:
        hint = "Another user owns it. If you trust it: git config --global --add safe.directory PATH."
    elif "not allowed" in reason or "promisor" in reason or "lazy fetching" in reason:
        hint = "It is a partial clone without its file contents. Clone it again without --filter."
    where = f" in {directory}" if directory is not None else ""
    return DataError(f"git {verb} failed{where}: {reason}.", hint)


def _widen(pipe: IO[bytes]) -> None:
    """Let git run further ahead where the system can (Linux); only speed depends on it."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return


class GitProcess:
    """A git command whose output is read as a stream; leaving the ``with`` block ends it."""

    def __init__(self, directory: Path, arguments: Sequence[str], *, fed: bool = False) -> None:
        self._directory = directory
        self._verb = arguments[0]
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                command(directory, *arguments),
                stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment(),
                bufsize=_READ_BUFFER,
            )
        except OSError as failure:
            self._errors.close()
            raise missing_git(failure) from failure
        _widen(self.output)

    @property
    def output(self) -> IO[bytes]:
        """What git writes."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def input(self) -> IO[bytes]:
        """What git reads (only when made with ``fed``)."""
        assert self._process.stdin is not None
        return self._process.stdin

    def failure(self) -> DataError:
        """The error for output that ended where it should not."""
        self._process.wait()
        self._errors.seek(0)
        return git_failed(self._verb, self._errors.read(4_096), self._directory)

    def finish(self) -> None:
        """Wait for the end of a command whose output was read to its end.

        Raises:
            DataError: it ended with an error.
        """
        if self._process.wait() != 0:
            raise self.failure()

    def close(self) -> None:
        """End the process, whatever it is doing, and let go of its pipes."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # buffered requests for a process that is gone
                    continue
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> "GitProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
