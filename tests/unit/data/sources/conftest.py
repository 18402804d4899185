"""Scripted git repositories: fixed people, fixed dates, nobody's configuration."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.runs.events import Event

START = 1_700_000_000


class History:
    """A repository under construction. Each commit is one hour after the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, **variables: str) -> str:
        when = f"{START + 3_600 * self.count} +0000"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ann Author",
            "GIT_AUTHOR_EMAIL": "Ann@Example.org",
            "GIT_COMMITTER_NAME": "Ann Author",
            "GIT_COMMITTER_EMAIL": "ann@example.org",
            "GIT_AUTHOR_DATE": when,
            "GIT_COMMITTER_DATE": when,
            "GIT_ALLOW_PROTOCOL": "file",
        } | variables
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, name: str | bytes, content: str | bytes) -> None:
        target = self.path / os.fsdecode(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str = "Change something", **variables: str) -> str:
        self.count += 1
        self.git("add", "-A", **variables)
        self.git("commit", "-q", "--allow-empty", "-m", message, **variables)
        return self.git("rev-parse", "HEAD")


class Mined(list[Example]):
    """Examples, and what was counted and said on the way."""

    funnel: Funnel
    events: list[Event]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "neuralforge-home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


@pytest.fixture
def new_history(tmp_path: Path) -> Callable[[str], History]:
    return lambda name: History(tmp_path / name)


@pytest.fixture
def mine() -> Callable[..., Mined]:
    def run(location: Path | str, **options: object) -> Mined:
        funnel, events = Funnel(), []
        source = open_source("git", str(location), SourceOptions(**options))  # type: ignore[arg-type]
        mined = Mined(source.examples(funnel, events.append))
        mined.funnel, mined.events = funnel, events
        assert funnel.seen == funnel.kept + funnel.dropped.total()
        return mined

    return run
