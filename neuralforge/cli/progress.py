"""Show a run's events while it works: bars in a terminal, plain lines in a pipe, always on stderr.

stdout belongs to the result, so that ``neuralforge … --json | jq`` and ``neuralforge … > table.txt`` stay clean.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from neuralforge.cli.present import clean, duration, size
from neuralforge.runs.events import Emit, Evaluated, Event, Finished, Grown, Note, Phase, Progress, Step

QUIET_SECONDS = 5.0
LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}


@contextlib.contextmanager
def shown(log_level: str = "INFO", stream: TextIO | None = None) -> Iterator[Emit]:
    """An ``Emit`` that shows events of at least ``log_level`` on ``stream`` (stderr) until the block ends."""
    target = stream or sys.stderr
    threshold = LEVELS[log_level]
    if target.isatty():
        live = LiveView(target, threshold)
        with live:
            yield live
    else:
        yield PlainView(target, threshold)


class PlainView:
    """One line a phase, note and evaluation; figures of steps at most every few seconds; no control codes."""

    def __init__(
        self,
        stream: TextIO,
        threshold: int = 20,
        clock: Callable[[], float] = time.monotonic,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self.stream, self.threshold, self.clock, self.quiet = stream, threshold, clock, quiet
        self.phase = ""
        self.began = self.said = clock()

    def __call__(self, event: Event) -> None:
        """Show one event, or leave it out because another line was written just now."""
        now = self.clock()
        match event:
            case Note():
                if LEVELS[event.level.upper()] >= self.threshold:
                    self.write(noted(event))
            case _ if self.threshold > LEVELS["INFO"]:
                return
            case Phase():
                self.phase, self.began, self.said = event.name, now, now
                self.write(f"{event.name}: {event.detail}" if event.detail else event.name)
            case Grown():
                self.write(f"{self.phase}: {figures(event)}")
            case Finished():
                return
            case Progress() | Step() | Evaluated():
                if now - self.said >= self.quiet:
                    self.said = now
                    left = remaining(event, now - self.began)
                    self.write(f"{self.phase}: {figures(event)}" + (f", {duration(left)} left" if left else ""))

    def write(self, text: str) -> None:
        """Write one clean line at once, so that a follower sees it."""
        self.stream.write(clean(text).encode("ascii", "backslashreplace").decode() + "\n")
        self.stream.flush()


class LiveView:
    """A bar for the present phase with time left and figures; finished phases stay as lines above it."""

    def __init__(self, stream: TextIO, threshold: int = 20) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.threshold = threshold
        self.console = Console(file=stream, highlight=False, markup=False, soft_wrap=True)
        self.bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.fields[phase]:<7}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=threshold > LEVELS["INFO"],
        )
        self.task: Any = None
        self.phase: Phase | None = None
        self.latest: Event | None = None
        self.began = time.monotonic()

    def __enter__(self) -> "LiveView":
        self.bars.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.close_phase(failed=failure[0] is not None)
        self.bars.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Phase():
                self.close_phase()
                self.phase, self.latest, self.began = event, None, time.monotonic()
                self.task = self.bars.add_task("", total=None, phase=clean(event.name), figures=clean(event.detail))
            case Note():
                if LEVELS[event.level.upper()] >= self.threshold:
                    self.console.print(noted(event), style="yellow" if event.level == "warning" else None)
            case Progress() | Step():
                self.latest = event
                if self.task is not None:
                    done, total = extent(event)
                    self.bars.update(self.task, completed=done, total=total, figures=clean(figures(event)))
            case Evaluated() | Grown():
                if self.threshold <= LEVELS["INFO"]:
                    self.console.print(f"        {clean(figures(event))}", style="dim")
            case Finished():
                self.close_phase()

    def close_phase(self, *, failed: bool = False) -> None:
        """Replace the bar of the present phase by one line that says what it did and how long it took."""
        if self.task is None or self.phase is None:
            return
        self.bars.remove_task(self.task)
        self.task = None
        if self.threshold <= LEVELS["INFO"]:
            told = figures(self.latest) if self.latest is not None else self.phase.detail
            mark = "✗" if failed else "✓"
            took = duration(time.monotonic() - self.began)
            self.console.print(f"{mark} {clean(self.phase.name):<7} {clean(told)} ({took})")


def noted(event: Note) -> str:
    """A note as a line: warnings and debugging lines say that they are."""
    prefix = {"warning": "Warning: ", "debug": "debug: "}.get(event.level, "")
    return f"{prefix}{clean(event.message)}"


def figures(event: Event) -> str:
    """What an event says, in a few words."""
    match event:
        case Step():
            speed = f"{event.tokens_per_second:,.0f} tokens/s"
            return f"step {event.step}/{event.steps}, loss {event.loss:.3f}, {speed}, {size(event.memory)}"
        case Evaluated():
            return f"step {event.step}: held-out loss {event.loss:.3f}" + (" (best so far)" if event.best else "")
        case Grown():
            parameters = f"{event.parameters_before:,} -> {event.parameters_after:,} parameters"
            return (
                f"step {event.step}: layer {event.layer} grew {event.width_before} -> {event.width_after}, {parameters}"
            )
        case Progress():
            amount = f"{event.done:,}/{event.total:,}" if event.total is not None else f"{event.done:,}"
            return f"{amount} {event.unit}" + (f", {event.detail}" if event.detail else "")
        case Phase() | Note() | Finished():
            return ""


def extent(event: Progress | Step) -> tuple[int, int | None]:
    """How far, of how much."""
    return (event.step, event.steps) if isinstance(event, Step) else (event.done, event.total)


def remaining(event: Event, elapsed: float) -> float | None:
    """Seconds left at the present pace, or None while that is unknown."""
    if not isinstance(event, (Progress, Step)):
        return None
    done, total = extent(event)
    return elapsed * (total - done) / done if done and total and total > done else None
