import contextlib
import io

import pytest

from neuralforge.cli.plot import curve
from neuralforge.cli.progress import LiveView, PlainView, remaining, shown
from neuralforge.runs.events import Evaluated, Finished, Note, Phase, Progress, Step


class Clock:
    """Time that moves only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(number: int) -> Step:
    return Step(
        step=number, steps=100, loss=2.5, learning_rate=1e-3, tokens=100, tokens_per_second=640.0, gradient_norm=1.0,
        memory=1_500_000_000, epoch=0.1,
    )  # fmt: skip


def test_a_pipe_gets_few_and_plain_lines() -> None:
    stream, clock = io.StringIO(), Clock()
    view = PlainView(stream, clock=clock)
    view(Phase("train", "naïve\x1b[31m"))
    for number in range(1, 101):
        clock.now = number * 0.5
        view(step(number))
        view(Progress(number, None, "commits"))
    view(Note("Few examples.", "warning"))
    view(Note("hidden", "debug"))
    view(Finished("done"))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train: na\\xefve\\x1b[31m"
    assert len(lines) == 1 + 10 + 1
    assert lines[1].startswith("train: step 10/100, loss 2.500, 640 tokens/s, 1.5 GB, 45.0 s left")
    assert lines[-1] == "Warning: Few examples."
    assert stream.getvalue().isascii()
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize(("level", "shown_lines"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 1), ("ERROR", 0)])
def test_log_levels(level: str, shown_lines: int) -> None:
    stream = io.StringIO()
    with shown(level, stream) as emit:
        emit(Phase("mine"))
        emit(Note("info"))
        emit(Note("debug", "debug"))
        emit(Note("warning", "warning"))
    assert len(stream.getvalue().splitlines()) == shown_lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_line_for_each_finished_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    with shown("INFO", stream) as emit:
        assert isinstance(emit, LiveView)
        emit(Phase("mine", "repo\x1b]0;evil\x07"))
        emit(Progress(5, 10, "commits"))
        emit(Phase("train"))
        emit(step(3))
        emit(Evaluated(3, 2.4, best=True))
        emit(Note("[red]not markup[/red]", "warning"))
        emit(Finished("done"))
    seen = stream.getvalue()
    assert "✓ mine    5/10 commits" in seen
    assert "✓ train   step 3/100, loss 2.500" in seen
    assert "Warning: [red]not markup[/red]" in seen
    assert "held-out loss 2.400 (best so far)" in seen
    assert "\x1b]0;" not in seen


def test_a_failing_phase_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with contextlib.suppress(ZeroDivisionError), shown("INFO", stream) as emit:
        emit(Phase("mine"))
        raise ZeroDivisionError
    assert "✗ mine" in stream.getvalue()


def test_time_left_is_told_only_when_it_can_be_known() -> None:
    assert remaining(Progress(0, 10, "x"), 5) is None
    assert remaining(Progress(5, None, "x"), 5) is None
    assert remaining(Progress(10, 10, "x"), 5) is None
    assert remaining(Progress(2, 10, "x"), 4) == 16
    assert remaining(Note("x"), 4) is None


def test_curve_falls_from_left_to_right() -> None:
    drawn = curve([(1, 3.0), (10, 2.0), (20, 1.0)], width=20, height=5)
    assert len(drawn) == 7
    assert drawn[0].startswith("3.000 │⠉") or drawn[0].startswith("3.000 │⠑") or drawn[0][7] != " "
    assert drawn[0].rstrip() != drawn[4].rstrip()
    assert drawn[4].startswith("1.000 │")
    assert drawn[4][-1] != " "
    assert drawn[-1].split() == ["1", "20"]
    assert len({len(row) for row in drawn[:6]}) == 1


@pytest.mark.parametrize("points", [[(1, 2.0)], [(1, 2.0), (2, 2.0)], [(1, 5.0), (1, 6.0)]])
def test_curves_without_extent_are_drawn(points: list[tuple[float, float]]) -> None:
    assert len(curve(points, width=10, height=3)) == 5


def test_no_points_no_curve() -> None:
    assert curve([]) == []
