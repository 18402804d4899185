"""Keeping to a deadline: decisions are few, bounded, written down and taken again after a kill."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.errors import DataError
from neuralforge.training.budget import Pace


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drive(
    pace: Pace, clock: Clock, each: float, total: int, start: int = 0, until: int | None = None
) -> tuple[int, int]:
    """Steps of ``each`` seconds until the plan is fulfilled; (steps done, steps planned)."""
    step = start
    while step < total and step != until:
        clock.now += each
        step += 1
        total = max(step, pace(step, total))
    return step, total


@pytest.mark.parametrize("each", [0.5, 1.0, 2.0, 5.0])
def test_a_slower_or_faster_machine_ends_on_time(tmp_path: Path, each: float) -> None:
    clock = Clock()
    pace = Pace(100.0, steps=1000, record=tmp_path / "pace.json", clock=clock)
    done, _ = drive(pace, clock, each, total=100)
    assert done * each == pytest.approx(100.0, abs=4 + 2 * each)


@pytest.mark.parametrize("each", [0.5, 1.0, 1.5])
def test_what_follows_is_as_much_slower_or_faster(tmp_path: Path, each: float) -> None:
    """Steps were expected to take a second when 50 seconds were set aside for judging."""
    clock = Clock()
    pace = Pace(100.0, steps=1000, record=tmp_path / "pace.json", expected=1.0, afterwards=50.0, clock=clock)
    done, _ = drive(pace, clock, each, total=100)
    assert done * each + 50.0 * each == pytest.approx(150.0, abs=6 + 2 * each)


def test_the_plan_never_grows_beyond_the_most(tmp_path: Path) -> None:
    clock = Clock()
    pace = Pace(1000.0, steps=120, record=tmp_path / "pace.json", clock=clock)
    assert drive(pace, clock, 0.1, total=100) == (120, 120)


def test_a_run_on_schedule_is_left_alone(tmp_path: Path) -> None:
    clock = Clock()
    pace = Pace(101.0, steps=1000, record=tmp_path / "pace.json", clock=clock)
    assert drive(pace, clock, 1.0, total=100) == (100, 100)
    assert not (tmp_path / "pace.json").exists()


def test_a_resumed_run_decides_the_same_again(tmp_path: Path) -> None:
    record, clock = tmp_path / "pace.json", Clock()
    seen = {}

    def note(pace: Pace, step: int, total: int) -> int:
        seen[step] = max(step, pace(step, total))
        return seen[step]

    pace, total = Pace(100.0, steps=1000, record=record, clock=clock), 100
    for step in range(1, 21):
        clock.now += 2.0
        total = note(pace, step, total)
    before = dict(seen)
    assert total < 100
    again = Pace(100.0, spent=4.0, steps=1000, record=record, clock=clock)
    total = before[2]
    for step in range(3, 1 + max(step for step in before if before[step] != before.get(step - 1, 100))):
        clock.now += 0.01  # whatever the clock says now
        total = note(again, step, total)
    assert {step: seen[step] for step in before} == before


@given(st.lists(st.floats(0.001, 5.0), min_size=5, max_size=60))
def test_what_is_planned_is_never_more_than_allowed_nor_less_than_done(waits: list[float]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        pace = Pace(30.0, steps=50, record=Path(folder) / "pace.json", clock=clock)
        total = 40
        for step, wait in enumerate(waits, 1):
            clock.now += wait
            total = pace(step, total)
            assert min(step, 50) <= max(step, total) <= max(step, 50)


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pace.json").write_text('["x"]')
    with pytest.raises(DataError, match="damaged"):
        Pace(1.0, steps=1, record=tmp_path / "pace.json")
