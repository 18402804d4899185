"""Two models on the same examples: every metric side by side with the interval of its difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralforge.evaluation.bootstrap import RESAMPLES, Units, cluster_sums, interval, resampled_sums
from neuralforge.evaluation.metrics import METRICS, RATIOS, ScoreTable, ratios, summarise

Interval = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of two models.

    Attributes:
        first: value of the first model (the base).
        second: value of the second (the adapter).
        interval: 95 % interval of ``second - first``, None where there was too little to resample.
        examples: number of examples on which it was measured.
    """

    first: float
    second: float
    interval: Interval | None
    examples: int

    @property
    def change(self) -> float:
        """``second - first``."""
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class Comparison:
    """All metrics of two models on the same examples.

    ``relative`` is the relative change of the loss, ``second / first - 1``, with its own interval.
    """

    metrics: dict[str, Difference]
    relative: float
    relative_interval: Interval | None
    units: Units


@dataclass(frozen=True, slots=True)
class Tally:
    """How many examples the second model predicts better (lower loss), equally well, and worse than the first."""

    wins: int
    ties: int
    losses: int

    def to_json(self) -> dict[str, int]:
        """A plain dictionary."""
        return {"wins": self.wins, "ties": self.ties, "losses": self.losses}


def compare(
    first: ScoreTable, second: ScoreTable, units: Units, *, seed: int = 0, resamples: int = RESAMPLES
) -> Comparison:
    """Compare two tables of the same examples, resampling ``units`` (whose index follows the tables' rows).

    Raises:
        ValueError: the tables are empty or are not about the same examples.
    """
    check_paired(first, second, units)
    if not np.array_equal(np.isnan(first.similarity), np.isnan(second.similarity)):
        raise ValueError("edit similarity was not measured on the same examples")
    draws = Draws([first, second], units, seed=seed, resamples=resamples)
    before, after = summarise(first), summarise(second)
    old, new = draws.metrics(0), draws.metrics(1)
    metrics: dict[str, Difference] = {}
    for name in METRICS:
        if name in before and name in after:
            measured = ~np.isnan(first.similarity) if name == "edit_similarity" else np.ones(len(first), bool)
            behind = len(set(units.index[measured].tolist()))
            metrics[name] = Difference(
                before[name], after[name], interval(new[name] - old[name], behind), int(measured.sum())
            )
    # A perfect first model leaves nothing to improve on: no relative change can be stated.
    relative = after["loss"] / before["loss"] - 1 if before["loss"] else 0.0
    spread = interval(ratios(new["loss"], old["loss"]) - 1, units.count)
    return Comparison(metrics, relative, spread, units)


def check_paired(first: ScoreTable, second: ScoreTable, units: Units) -> None:
    """Refuse tables that do not describe the same examples."""
    if not len(first):
        raise ValueError("nothing to compare: no example has a token to predict")
    if not np.array_equal(first.examples, second.examples) or len(units.index) != len(first):
        raise ValueError("the two models were not scored on the same examples")


class Draws:
    """Resampled metrics of several models over the same draws, so that they can be subtracted pair by pair."""

    def __init__(self, tables: list[ScoreTable], units: Units, *, seed: int, resamples: int = RESAMPLES) -> None:
        blocks = [block for table in tables for block in table.parts()]
        sums_CM = cluster_sums(np.concatenate(blocks, axis=1), units)
        totals_RM = resampled_sums(sums_CM, seed=seed, resamples=resamples)
        self._blocks = np.split(totals_RM, len(blocks), axis=1)

    def metrics(self, table: int) -> dict[str, Floats]:
        """Every metric of one table, [R] resamples each."""
        values_RM = ratios(self._blocks[2 * table], self._blocks[2 * table + 1])
        found = {name: values_RM[:, column] for column, name in enumerate(RATIOS)}
        found["perplexity"] = np.exp(found["loss"])
        return found


def tally(first: ScoreTable, second: ScoreTable, tolerance: float = 0.01) -> Tally:
    """Count examples by whose loss is lower; losses within ``tolerance`` nats per token are a tie."""
    gap = first.nll / first.tokens - second.nll / second.tokens
    wins, losses = int((gap > tolerance).sum()), int((gap < -tolerance).sum())
    return Tally(wins, len(first) - wins - losses, losses)


def winner_sentence(comparison: Comparison, counted: Tally, labels: tuple[str, str]) -> tuple[str | None, str]:
    """``a``, ``b`` or None, and the comparison of a (first) with b (second) in words."""
    loss, units = comparison.metrics["loss"], comparison.units
    spread = loss.interval if units.conclusive else None
    figures = f"loss {loss.first:.3f} and {loss.second:.3f} nats per token"
    if spread:
        figures += f"; 95 % interval of B − A {spread[0]:+.3f} to {spread[1]:+.3f}".replace("-", "−")
    per_example = (
        f"B predicts {counted.wins:,} of {loss.examples:,} examples better than A, {counted.losses:,} worse, "
        f"{counted.ties:,} alike."
    )
    if spread is None or spread[0] <= 0 <= spread[1]:
        few = "" if units.conclusive else f", and {units.count} are too few to tell"
        return None, f"No evidence that {labels[0]} and {labels[1]} differ ({figures}{few}). {per_example}"
    winner = 1 if spread[1] < 0 else 0
    return "ab"[winner], f"{labels[winner]} is better ({figures}). {per_example}"


def metrics_json(comparison: Comparison, first: str, second: str) -> dict[str, Any]:
    """``{metric: {first: value, second: value, "interval": [low, high]}}``; a missing interval is null."""
    return {
        name: {
            first: item.first,
            second: item.second,
            "interval": list(item.interval) if item.interval else None,
            **({"examples": item.examples} if name == "edit_similarity" else {}),
        }
        for name, item in comparison.metrics.items()
    }
