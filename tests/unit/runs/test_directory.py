import errno
import os
from pathlib import Path

import pytest

from neuralforge.errors import RunError, UserError
from neuralforge.runs.directory import RunDirectory


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_create_numbers_runs_under_home(home: Path) -> None:
    first, second = RunDirectory.create(None, "click"), RunDirectory.create(None, "click")
    assert [run.path.name for run in (first, second)] == ["click-1", "click-2"]
    assert first.path.parent == home / "runs"
    assert sorted(path.name for path in first.path.parent.iterdir()) == ["click-1", "click-2"]


def test_state_survives_and_updates(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "click", {"lora": {"rank": 8}})
    run.update(phase="train", resume="neuralforge train --resume run")
    state = RunDirectory.open_existing(tmp_path / "run").state
    assert (state.phase, state.outcome, state.config) == ("train", "running", {"lora": {"rank": 8}})


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert RunDirectory.create(tmp_path / "run", "x").state.name == "x"


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(UserError, match=r"cat\.jpg"):
        RunDirectory.create(tmp_path / "photos", "x")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_an_existing_run_wants_to_be_resumed(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "x")
    run.update(outcome="interrupted")
    with pytest.raises(UserError, match="already holds a run") as caught:
        RunDirectory.create(tmp_path / "run", "x")
    assert "--resume" in caught.value.hint


def test_a_run_at_work_is_named(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run", "x")
    with run.lock():
        assert run.in_use()
        with pytest.raises(RunError, match=f"process {os.getpid()}"):
            RunDirectory.create(tmp_path / "run", "x")
        with pytest.raises(RunError, match=f"process {os.getpid()}"), run.lock():
            pass
    assert not run.in_use()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        RunDirectory.create(tmp_path / "run", "x")


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"name": 3}', '{"name": "x", "nome": 1}', '{"phase": "train"}', '{"name": "x", "format": 9}',
     '{"name": "x", "outcome": "weird"}', '{"name": "x", "format": true}'],
)  # fmt: skip
def test_damaged_state(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(RunError):
        RunDirectory.open_existing(tmp_path)


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        RunDirectory.open_existing(tmp_path / "nowhere")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError, match="Cannot create the run folder"):
        RunDirectory.create(tmp_path / "run", "x")
    assert list(tmp_path.iterdir()) == []
