"""What a run looks like now, reduced from its events: the source of ``monitor`` and of the report's header."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from neuralforge.runs.events import Evaluated, Finished, Grown, Note, Phase, Progress, Step
from neuralforge.runs.log import Logged

_RATE_WINDOW = 20  # events from which the pace is taken: long enough to be calm, short enough to follow a change


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """A phase and how many seconds it took, or has taken so far."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run at one moment; None and empty where nothing has been said yet.

    Attributes:
        phase, detail: the present phase and its remark.
        done, total, unit: units of the present phase (steps while training).
        step, steps: optimiser steps done and planned.
        loss: of the last step, in nats per supervised token.
        learning_rate, gradient_norm, epoch: of the last step.
        tokens: computed so far, supervised and context.
        tokens_per_second: of the last step.
        memory, peak_memory: bytes.
        validation, validation_step, best_validation: last and lowest validation loss.
        seconds_left: estimated for the present phase from its recent pace.
        elapsed: seconds between the first and the last event.
        outcome: ``running``, ``done``, ``interrupted`` or ``failed``.
        summary: what ``Finished`` carried.
        warnings: messages of warning notes, oldest first.
        phases: every phase in order with its time.
        curve: (step, loss) of all steps.
        validations: (step, loss) of all validations.
        growth: every widening of a layer.
    """

    phase: str = ""
    detail: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    epoch: float | None = None
    tokens: int = 0
    tokens_per_second: float | None = None
    memory: int = 0
    peak_memory: int = 0
    validation: float | None = None
    validation_step: int | None = None
    best_validation: float | None = None
    seconds_left: float | None = None
    elapsed: float = 0.0
    outcome: str = "running"
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    phases: tuple[PhaseTime, ...] = ()
    curve: tuple[tuple[int, float], ...] = ()
    validations: tuple[tuple[int, float], ...] = ()
    growth: tuple[Grown, ...] = ()


class RunView:
    """Takes events one by one with :meth:`add`; :meth:`status` may be asked at any time."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0
        self._phases: list[tuple[str, str, float]] = []
        self._progress: Progress | None = None
        self._steps: list[Step] = []
        self._validations: list[Evaluated] = []
        self._growth: list[Grown] = []
        self._peak_memory = 0
        self._warnings: list[str] = []
        self._finished: Finished | None = None
        self._pace: deque[tuple[float, int]] = deque(maxlen=_RATE_WINDOW)

    def add(self, logged: Logged) -> None:
        """Take in the next event."""
        event = logged.event
        if self._first is None:
            self._first = logged.time
        self._last = max(self._last, logged.time)
        if self._finished is not None and not isinstance(event, (Note, Finished)):
            self._finished = None  # the run was resumed
        if isinstance(event, Phase):
            self._phases.append((event.name, event.detail, logged.time))
            self._progress = None
            self._pace.clear()
        elif isinstance(event, Progress):
            self._progress = event
            self._mark(logged.time, event.done)
        elif isinstance(event, Step):
            # A resumed run goes back to its checkpoint: what came after that did not happen.
            while self._steps and self._steps[-1].step >= event.step:
                self._steps.pop()
            while self._validations and self._validations[-1].step >= event.step:
                self._validations.pop()
            while self._growth and self._growth[-1].step >= event.step:
                self._growth.pop()
            self._steps.append(event)
            self._peak_memory = max(self._peak_memory, event.memory)
            self._progress = Progress(event.step, event.steps, "steps")
            self._mark(logged.time, event.step)
        elif isinstance(event, Evaluated):
            self._validations.append(event)
        elif isinstance(event, Grown):
            self._growth.append(event)
        elif isinstance(event, Note):
            if event.level == "warning":
                self._warnings.append(event.message)
        else:
            self._finished = event

    def status(self) -> RunStatus:
        """The run as of the last event."""
        name, detail, _ = self._phases[-1] if self._phases else ("", "", 0.0)
        starts = [start for _, _, start in self._phases]
        ends = [*starts[1:], self._last]
        times = tuple(
            PhaseTime(phase, max(0.0, end - start)) for (phase, _, start), end in zip(self._phases, ends, strict=False)
        )
        step = self._steps[-1] if self._steps else None
        validation = self._validations[-1] if self._validations else None
        progress = self._progress
        return RunStatus(
            phase=name,
            detail=(progress.detail if progress and progress.detail else detail),
            done=progress.done if progress else 0,
            total=progress.total if progress else None,
            unit=progress.unit if progress else "",
            step=step.step if step else 0,
            steps=step.steps if step else 0,
            loss=step.loss if step else None,
            learning_rate=step.learning_rate if step else None,
            gradient_norm=step.gradient_norm if step else None,
            epoch=step.epoch if step else None,
            tokens=step.tokens if step else 0,
            tokens_per_second=step.tokens_per_second if step else None,
            memory=step.memory if step else 0,
            peak_memory=self._peak_memory,
            validation=validation.loss if validation else None,
            validation_step=validation.step if validation else None,
            best_validation=min((each.loss for each in self._validations), default=None),
            seconds_left=self._seconds_left(),
            elapsed=self._last - self._first if self._first is not None else 0.0,
            outcome=self._finished.outcome if self._finished else "running",
            summary=self._finished.summary if self._finished else {},
            warnings=tuple(self._warnings),
            phases=times,
            curve=tuple((each.step, each.loss) for each in self._steps),
            validations=tuple((each.step, each.loss) for each in self._validations),
            growth=tuple(self._growth),
        )

    def _mark(self, moment: float, done: int) -> None:
        if self._pace and self._pace[-1][1] > done:
            self._pace.clear()
        self._pace.append((moment, done))

    def _seconds_left(self) -> float | None:
        if self._finished is not None or self._progress is None or self._progress.total is None or len(self._pace) < 2:
            return None
        (start, before), (end, after) = self._pace[0], self._pace[-1]
        if after <= before or end <= start:
            return None
        return max(0.0, (self._progress.total - after) * (end - start) / (after - before))


def summarise(events: Iterable[Logged]) -> RunStatus:
    """The status after all of ``events``."""
    view = RunView()
    for logged in events:
        view.add(logged)
    return view.status()
