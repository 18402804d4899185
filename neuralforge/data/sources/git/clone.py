"""Tell a URL from a path, and clone one into a folder that goes away afterwards."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuralforge import paths
from neuralforge.data.sources.git.commands import command, environment, missing_git
from neuralforge.errors import RemoteError, RunError, UserError

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")
_HELPER = re.compile(r"^[a-zA-Z0-9+.-]+::")
_SCP = re.compile(r"^[\w.-]+@[\w.-]+:(?!//)\S")
_ALLOWED = ("https", "http", "ssh", "file")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def is_url(location: str) -> bool:
    """Whether ``location`` is to be cloned rather than opened.

    Raises:
        UserError: it is a URL of a kind that could run commands, or it looks like an option.
    """
    if location.startswith("-"):
        raise UserError(f"{location!r} looks like an option, not a repository.", "Give a path such as ./my-project.")
    if os.path.lexists(location):
        return False
    if _HELPER.match(location):
        raise UserError(
            f"The transport {location.partition('::')[0]!r} is not allowed.",
            f"Transport helpers can run any command. Allowed: {', '.join(_ALLOWED)}.",
        )
    scheme = _SCHEME.match(location)
    if scheme is None:
        return _SCP.match(location) is not None
    if scheme[1].lower() not in _ALLOWED:
        raise UserError(f"Repositories are not fetched over {scheme[1]}://.", f"Allowed: {', '.join(_ALLOWED)}.")
    if re.match(r"(?:[^/@]*@)?-", location[scheme.end() :]):
        raise UserError(f"{location!r} has a host that looks like an option.", "Check the address.")
    return True


@contextmanager
def cloned(url: str) -> Iterator[Path]:
    """A bare clone of ``url`` with its whole history, for as long as the block runs.

    Raises:
        RemoteError: git could not fetch it; never asks for a password.
    """
    home = paths.home() / "clones"
    try:
        home.mkdir(parents=True, exist_ok=True)
        _sweep(home)
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=home))
    except OSError as failure:
        raise RunError(
            f"Cannot make a folder in {home}: {failure.strerror}.", "Check space and permissions."
        ) from failure
    try:
        target = folder / "repository.git"
        arguments = command(None, "-c", "http.lowSpeedLimit=500", "-c", "http.lowSpeedTime=60", "clone", "--bare")
        arguments += ["--quiet", "--single-branch", "--no-tags", "--template=", "--", url, str(target)]
        variables = environment(":".join(_ALLOWED)) | {"GIT_ASKPASS": "false", "SSH_ASKPASS": "false"}
        variables["GIT_SSH_COMMAND"] = os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
        try:
            done = subprocess.run(arguments, capture_output=True, env=variables, stdin=subprocess.DEVNULL, check=False)
        except OSError as failure:
            raise missing_git(failure) from failure
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
            reason = next((line for line in reversed(said) if line.startswith("fatal:")), said[-1])
            raise RemoteError(
                _CREDENTIALS.sub("", f"Cannot clone {url}: {reason.removeprefix('fatal: ')}"),
                "Check the address and your access; clone it yourself and give the folder if it needs a password.",
            )
        yield target
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(home: Path) -> None:
    """Remove clones whose process was killed before it could."""
    for left in home.iterdir():
        number = left.name.partition("-")[0]
        if number.isdigit() and int(number) != os.getpid():
            try:
                os.kill(int(number), 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)
            except OSError:  # alive, but another user's
                continue
