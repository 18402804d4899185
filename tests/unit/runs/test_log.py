import math
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.errors import RunError
from neuralforge.runs.events import Evaluated, Event, Finished, Note, Phase, Progress, Step
from neuralforge.runs.log import EventLog, Logged, parse, read_events


def step(number: int, loss: float = 2.0, steps: int = 10) -> Step:
    return Step(number, steps, loss, 1e-3, 2048, 430.0, 0.7, 1 << 30, number / 10)


texts = st.text(max_size=30)
numbers = st.integers(-(10**9), 10**9)
floats = st.floats(allow_nan=False, allow_infinity=False)
events = st.one_of(
    st.builds(Phase, texts, texts),
    st.builds(Progress, numbers, st.none() | numbers, texts, texts),
    st.builds(Evaluated, numbers, floats, st.booleans()),
    st.builds(Note, texts, texts),
    st.builds(Finished, texts, st.dictionaries(texts, numbers | texts)),
    st.builds(Step, numbers, numbers, floats, floats, numbers, floats, floats, numbers, floats),
)


@settings(max_examples=60, deadline=None)
@given(told=st.lists(events, max_size=8))
def test_what_is_logged_is_read_back(tmp_path_factory: pytest.TempPathFactory, told: list[Event]) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    with EventLog(path) as log:
        for event in told:
            log(event)
    assert [logged.event for logged in read_events(path)] == told


def test_a_torn_line_is_passed_over_and_ended_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log(step(1))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert [logged.event for logged in read_events(path)] == [step(1)]
    with EventLog(path) as log:
        log(step(2))
    assert [logged.event for logged in read_events(path)] == [step(1), step(2)]


def test_a_loss_that_json_cannot_hold(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e") as log:
        log(step(1, math.inf))
    (logged,) = read_events(tmp_path / "e")
    assert isinstance(logged.event, Step)
    assert math.isnan(logged.event.loss)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"7", b'{"event": "Note", "message": "x"}', b'{"time": 1, "event": "Nope"}', b"\xff\xfe",
     b'{"time": 1, "event": "Note", "message": 3}', b'{"time": 1, "event": "Evaluated", "step": 1}',
     b'{"time": 1, "event": []}', b'{"time": 1, "event": "Evaluated", "step": true, "loss": 1, "best": true}'],
)  # fmt: skip
def test_lines_that_are_no_events(line: bytes) -> None:
    assert parse(line) is None


def test_keys_of_a_newer_version_are_ignored() -> None:
    assert parse(b'{"time": 1.5, "event": "Note", "message": "x", "colour": "red"}') == Logged(1.5, Note("x"))


def test_an_endless_line_does_not_fill_memory(tmp_path: Path) -> None:
    path = tmp_path / "e"
    with EventLog(path) as log:
        log(Note("before"))
    with path.open("ab") as handle:
        handle.write(b"x" * (3 << 20) + b"\n")
    with EventLog(path) as log:
        log(Note("after"))
    assert [logged.event for logged in read_events(path)] == [Note("before"), Note("after")]


def test_following_sees_events_as_they_come_and_ends_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "e"
    told: list[Event] = [Phase("train"), step(1), step(2), Finished("done")]

    def write() -> None:
        time.sleep(0.02)
        with EventLog(path) as log:
            for event in told:
                time.sleep(0.01)
                log(event)

    writer = threading.Thread(target=write)
    writer.start()
    assert [logged.event for logged in read_events(path, follow=True, pause=0.005)] == told
    writer.join()


def test_following_a_run_that_was_killed_ends_too(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e") as log:
        log(step(1))
    followed = read_events(tmp_path / "e", follow=True, alive=lambda: False, pause=0.001)
    assert [logged.event for logged in followed] == [step(1)]
    assert list(read_events(tmp_path / "none", follow=True, alive=lambda: False)) == []


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Cannot read the event log"):
        list(read_events(tmp_path / "none"))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write the event log"):
        EventLog(tmp_path / "file" / "e")


def test_a_full_disk_silences_the_log_but_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = EventLog(tmp_path / "e")
    log(Note("one"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda _descriptor, _line: 3)
        log(Note("two"))
    log(Note("three"))
    log.close()
    log(Note("four"))
    assert log.failure == "the disk is full"
    assert [logged.event for logged in read_events(tmp_path / "e")] == [Note("one")]


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    with EventLog(tmp_path / "e") as log:
        threads = [
            threading.Thread(target=lambda n=n: [log(Note(f"{n}-{i}" * 50)) for i in range(50)]) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(read_events(tmp_path / "e"))) == 200
