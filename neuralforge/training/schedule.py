"""Learning rates over the steps of a run: linear warm-up, then cosine, linear or constant."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

Shape = Literal["cosine", "linear", "constant"]


class Scheduler(Protocol):
    """The learning rate of each optimiser step."""

    def rate(self, step: int) -> float:
        """Learning rate of step ``step`` (counted from 0)."""

    def stretched(self, total_steps: int) -> Scheduler:
        """The same schedule over another number of steps."""


@dataclass(frozen=True, slots=True)
class WarmupScheduler:
    """Warm up linearly over ``warmup_steps``, then follow ``shape`` down to ``floor`` times the peak.

    Args:
        base_lr: peak learning rate.
        warmup_steps: steps of linear warm-up, part of ``total_steps``.
        total_steps: steps of the run.
        shape: ``cosine`` (Loshchilov & Hutter 2017, arXiv 1608.03983), ``linear`` (Bergsma et al. 2025, arXiv
            2502.15938) or ``constant``.
    """

    base_lr: float
    warmup_steps: int = 0
    total_steps: int = 1
    shape: Shape = "cosine"
    floor: float = 0.02

    def rate(self, step: int) -> float:
        """Learning rate of step ``step`` (counted from 0)."""
        if step < self.warmup_steps:
            return self.base_lr * (step + 1) / self.warmup_steps
        if self.shape == "constant":
            return self.base_lr
        done = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        height = 0.5 * (1 + math.cos(math.pi * done)) if self.shape == "cosine" else 1 - done
        return self.base_lr * (self.floor + (1 - self.floor) * height)

    def stretched(self, total_steps: int) -> WarmupScheduler:
        """The same schedule over another number of steps."""
        return replace(self, total_steps=total_steps)


@dataclass(frozen=True, slots=True)
class CosineScheduler(WarmupScheduler):
    """Warm-up and cosine decay."""

    shape: Shape = "cosine"


@dataclass(frozen=True, slots=True)
class LinearScheduler(WarmupScheduler):
    """Warm-up and linear decay."""

    shape: Shape = "linear"


@dataclass(frozen=True, slots=True)
class ConstantScheduler(WarmupScheduler):
    """Warm-up, then the peak for ever."""

    shape: Shape = "constant"
