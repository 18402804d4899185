import threading
import time
from pathlib import Path
from typing import Any

import pytest

from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Evaluated, Event, Finished, Note, Phase, Step
from neuralforge.runs.log import EventLog


def step(number: int, loss: float = 2.0) -> Step:
    return Step(number, 10, loss, 1e-3, 100, 500.0, 1.0, 10**9, 0.1)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "run\x1b[31m", "name")


def log(run: RunDirectory, *events: Event) -> None:
    with EventLog(run.events_path) as emit:
        for event in events:
            emit(event)


def test_once_draws_the_curve(cli: Any, run: RunDirectory) -> None:
    steps = [step(number, 3 - number / 5) for number in range(1, 8)]
    log(run, Phase("train"), *steps, step(8, float("nan")), Evaluated(8, 1.9, best=True), Note("few", "warning"))
    seen = cli("monitor", run.path, "--once")
    assert seen.code == 0
    assert "killed, train" in seen.out
    assert "8/10 steps" in seen.out
    assert "2.800 │" in seen.out
    assert "best held-out loss 1.900" in seen.out
    assert "Warning: few" in seen.out
    assert "\x1b" not in seen.out


def test_a_run_at_work_is_running(cli: Any, run: RunDirectory) -> None:
    log(run, Phase("train"), step(1))
    with run.lock():
        assert "running, train" in cli("monitor", run.path, "--once").out


def test_json_snapshot(cli: Any, run: RunDirectory) -> None:
    log(run, Phase("train"), step(1, float("nan")))
    seen = cli("monitor", run.path, "--json").json
    assert seen["phase"] == "train"
    assert seen["loss"] is None
    assert seen["in_use"] is False


def test_a_run_without_events_yet(cli: Any, run: RunDirectory) -> None:
    assert "starting" in cli("monitor", run.path, "--once").out


def test_following_ends_with_the_run(cli: Any, run: RunDirectory) -> None:
    def work() -> None:
        with run.lock(), EventLog(run.events_path) as emit:
            for event in (Phase("mine"), Phase("train"), step(1), step(2), Finished("done")):
                emit(event)
                time.sleep(0.02)

    log(run)
    worker = threading.Thread(target=work)
    worker.start()
    while not run.in_use():
        time.sleep(0.001)
    seen = cli("monitor", run.path)
    worker.join()
    lines = seen.out.splitlines()
    assert lines[0].startswith("mine")
    assert lines[-1].startswith("done: 2/10 steps")


def test_what_is_not_a_run_is_refused(cli: Any, tmp_path: Path) -> None:
    seen = cli("monitor", tmp_path / "nowhere")
    assert seen.code in (2, 3, 4)
    assert seen.err.startswith("Error: ")
