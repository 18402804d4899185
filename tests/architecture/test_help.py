"""Help texts against golden files: a changed option is seen in review, and none disappears by accident.

To accept a change: ``python tests/architecture/test_help.py``.
"""

import contextlib
import io
import os
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden" / "help"
WIDTH = "100"


def commands() -> list[tuple[str, ...]]:
    from neuralforge.cli.app import build
    from neuralforge.cli.scripts import nodes

    return [node.words for node in nodes(build())]


def golden(words: tuple[str, ...]) -> Path:
    return GOLDEN / ("-".join(["neuralforge", *words]) + ".txt")


def help_of(words: tuple[str, ...]) -> str:
    from neuralforge.cli.app import run

    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert run([*words, "--help"]) == 0
    return told.getvalue()


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words) or "neuralforge")
def test_help_is_as_agreed(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", WIDTH)
    assert help_of(words) == golden(words).read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {golden(words).name for words in commands()} == {path.name for path in GOLDEN.iterdir()}


if __name__ == "__main__":
    os.environ["COLUMNS"] = WIDTH
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for old in GOLDEN.iterdir():
        old.unlink()
    for each in commands():
        golden(each).write_text(help_of(each), encoding="utf-8")
