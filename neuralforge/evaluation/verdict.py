"""The verdict on an adapter: helps, no evidence, or hurts; in figures and in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from neuralforge.evaluation.bootstrap import FEWEST_UNITS, LEVEL, RESAMPLES, Units
from neuralforge.evaluation.compare import Comparison, metrics_json

Outcome = Literal["helps", "no evidence", "hurts"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One held-out example as both models complete it; texts are clipped, never altered otherwise."""

    language: str
    path: str | None
    commit: str | None
    prompt: str
    target: str
    base: str
    adapter: str
    base_loss: float
    adapter_loss: float

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; losses in nats per token."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What judging found.

    Attributes:
        outcome: decided on the loss alone: ``helps`` if its 95 % interval lies wholly below zero, ``hurts`` if
            wholly above, else ``no evidence``; always ``no evidence`` with fewer than six resampling units.
        sentence: the outcome in plain English with its figures.
        train_commits: oldest and newest commit that was trained on, () when unknown.
        held_out_commits: oldest and newest commit that was judged on, () when unknown.
        examples: number of examples judged.
        tokens: number of tokens predicted in them.
        comparison: every metric of base (first) and adapter (second).
        seed: of the resampling.
        samples: examples side by side. Not part of ``to_json``: an adapter does not carry its data.
    """

    outcome: Outcome
    sentence: str
    train_commits: tuple[str, ...]
    held_out_commits: tuple[str, ...]
    examples: int
    tokens: int
    comparison: Comparison
    seed: int
    samples: tuple[Sample, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The verdict as it stands in a package's ``metadata.json``. Losses are nats per token, shares 0 to 1."""
        units = self.comparison.units
        interval = self.comparison.relative_interval
        return {
            "outcome": self.outcome,
            "sentence": self.sentence,
            "commits": {"train": list(self.train_commits), "held_out": list(self.held_out_commits)},
            "examples": self.examples,
            "tokens": self.tokens,
            "metrics": metrics_json(self.comparison, "base", "adapter"),
            "relative_loss": {
                "change": self.comparison.relative,
                "interval": list(interval) if interval else None,
            },
            "interval": {
                "of": "adapter - base",
                "level": LEVEL,
                "method": "paired cluster bootstrap, expanded percentile (arXiv 1411.5279)",
                "resamples": RESAMPLES,
                "seed": self.seed,
            },
            "cluster": {"unit": units.kind, "count": units.count, "commits": units.commits},
        }


def decide(
    comparison: Comparison,
    *,
    examples: int,
    tokens: int,
    train_commits: Sequence[str] = (),
    held_out_commits: Sequence[str] = (),
    seed: int = 0,
    samples: Sequence[Sample] = (),
) -> Verdict:
    """Reach the verdict on a comparison of base (first) with adapter (second)."""
    result = outcome(comparison)
    later = bool(held_out_commits) and not set(held_out_commits) & set(train_commits)
    return Verdict(
        outcome=result,
        sentence=sentence(result, comparison, examples, later=later),
        train_commits=tuple(train_commits),
        held_out_commits=tuple(held_out_commits),
        examples=examples,
        tokens=tokens,
        comparison=comparison,
        seed=seed,
        samples=tuple(samples),
    )


def outcome(comparison: Comparison) -> Outcome:
    """``helps``, ``hurts`` or ``no evidence``, from the interval of the loss."""
    spread = comparison.metrics["loss"].interval
    if spread is None or not comparison.units.conclusive:
        return "no evidence"
    if spread[1] < 0:
        return "helps"
    return "hurts" if spread[0] > 0 else "no evidence"


def sentence(result: Outcome, comparison: Comparison, examples: int, *, later: bool) -> str:
    """The verdict in words: what changed, how surely, and on how much it was measured."""
    loss, units = comparison.metrics["loss"], comparison.units
    where = f"on {count(examples, 'example')}"
    if units.commits:
        where += f" from {count(units.commits, 'later commit' if later else 'commit')}"
    figures = f"{loss.first:.3f} to {loss.second:.3f} nats per token"
    spread = comparison.relative_interval
    if not units.conclusive or spread is None:
        return (
            f"No evidence: {where} the loss went from {figures}, but fewer than {FEWEST_UNITS} "
            f"{plural(units.kind)} cannot show whether that is chance."
        )
    size = f"{abs(comparison.relative):.1%}".replace("%", " %")
    bounds = f"95 % interval {signed(spread[0])} to {signed(spread[1])}"
    if result == "no evidence":
        change = signed(comparison.relative)
        text = f"No evidence: {where} the loss changes by {change} ({figures}; {bounds}, zero included)."
    else:
        verb = "falls" if result == "helps" else "rises"
        text = f"{result.capitalize()}: {where} the loss {verb} by {size} ({figures}; {bounds})."
    return text + caveat(units)


def caveat(units: Units) -> str:
    """Said whenever commits could not be drawn although they are known."""
    if units.kind == "commit" or not units.commits:
        return ""
    return (
        f" With so few commits the interval draws {count(units.count, units.kind)} instead, "
        "so it says less about other commits."
    )


def count(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Plural of the few nouns used here, all regular."""
    return f"{noun}s"


def signed(value: float) -> str:
    """A share as a signed percentage with a true minus sign: ``−14.5 %``."""
    return f"{value:+.1%}".replace("%", " %").replace("-", "−")
