"""The program run in this process, with a home of its own."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from neuralforge.cli.app import run


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which has to be exactly one JSON document."""
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without variables of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith("NEURALFORGE_"):
            monkeypatch.delenv(name)
    place = tmp_path / "home"
    monkeypatch.setenv("NEURALFORGE_HOME", str(place))
    return place


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line as the installed program does."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        seen = capfd.readouterr()
        return Outcome(code, seen.out, seen.err)

    return call
