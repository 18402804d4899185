"""The control: is it *this* repository that was learned, or would any code have done?

A second adapter is trained in the same way, for as long, on code that has nothing to do with the repository but is
always at hand: Python's standard library. Both are judged on the same held-out examples. What the control gains is
what any fine-tuning gains (the habit of completing code, the tokenizer's quirks, the format of examples); the rest
of the adapter's gain is this repository's:

    share = (loss_control - loss_adapter) / (loss_base - loss_adapter)
"""

from __future__ import annotations

import contextlib
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuralforge.data.pipeline import CleaningOptions, clean
from neuralforge.data.records import Example, Funnel
from neuralforge.data.sources.base import SourceOptions, open_source
from neuralforge.errors import DataError
from neuralforge.evaluation.bootstrap import Units, interval
from neuralforge.evaluation.compare import Difference, Draws, Interval, check_paired
from neuralforge.evaluation.metrics import ScoreTable, summarise
from neuralforge.models.base import BaseModel
from neuralforge.runs.events import Emit, silent

TrainControl = Callable[[BaseModel, Sequence[Example]], AbstractContextManager[None]]
"""Trains an adapter on the examples with the settings and the time of the one that is judged. On entry the adapter
is trained and attached to ``base.model``; on exit it is gone. Given from outside: judging knows no training loop."""

# Whole packages, by name: some systems keep everything that was ever installed inside the standard library's folder.
PACKAGES = (
    "asyncio", "collections", "concurrent", "ctypes", "curses", "dbm", "email", "encodings", "html", "http",
    "importlib", "json", "logging", "multiprocessing", "pydoc_data", "re", "sqlite3", "tomllib", "unittest",
    "urllib", "wsgiref", "xml", "xmlrpc", "zoneinfo",
)  # fmt: skip

# The filters of any training but the search for near duplicates, of which a maintained library has few.
_FILTERS = CleaningOptions(near_duplicates=None)


@dataclass(frozen=True, slots=True)
class Control:
    """What the control showed.

    Attributes:
        examples: number of standard-library examples the control was trained on.
        base: loss of the base on the held-out examples, nats per token.
        control: loss of the control.
        adapter: loss of the adapter.
        difference: control (first) against adapter (second), with the interval of adapter - control.
        share: part of the adapter's improvement that is this repository's; None when the adapter did not improve.
            Above 1 when the control is worse than the base.
        share_interval: its 95 % interval.
        sentence: the same in words.
    """

    examples: int
    base: float
    control: float
    adapter: float
    difference: Difference
    share: float | None
    share_interval: Interval | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; losses in nats per token."""
        spread = self.difference.interval
        return {
            "trained_on": "the Python standard library",
            "examples": self.examples,
            "loss": {
                "base": self.base,
                "control": self.control,
                "adapter": self.adapter,
                "interval": list(spread) if spread else None,
                "interval_of": "adapter - control",
            },
            "share": self.share,
            "share_interval": list(self.share_interval) if self.share_interval else None,
            "sentence": self.sentence,
        }


def compare_control(
    base: ScoreTable, control: ScoreTable, adapter: ScoreTable, units: Units, *, examples: int, seed: int = 0
) -> Control:
    """Set the control beside base and adapter, all three on the same examples and the same draws."""
    check_paired(base, control, units)
    check_paired(base, adapter, units)
    draws = Draws([base, control, adapter], units, seed=seed)
    base_R, control_R, adapter_R = (draws.metrics(table)["loss"] for table in range(3))
    losses = [summarise(table)["loss"] for table in (base, control, adapter)]
    spread = interval(adapter_R - control_R, units.count)
    share = share_interval = None
    if losses[0] > losses[2]:
        share = (losses[1] - losses[2]) / (losses[0] - losses[2])
        with np.errstate(divide="ignore", invalid="ignore"):
            # A resample in which the adapter gains nothing has no share.
            shares_R = np.where(base_R > adapter_R, (control_R - adapter_R) / (base_R - adapter_R), np.nan)
        share_interval = interval(shares_R, units.count)
    return Control(
        examples=examples,
        base=losses[0],
        control=losses[1],
        adapter=losses[2],
        difference=Difference(losses[1], losses[2], spread, len(base)),
        share=share,
        share_interval=share_interval,
        sentence=_sentence(losses, share, share_interval, spread if units.conclusive else None),
    )


def _sentence(losses: list[float], share: float | None, around: Interval | None, spread: Interval | None) -> str:
    base, control, adapter = losses
    figures = f"loss {base:.3f} base, {control:.3f} control, {adapter:.3f} adapter"
    if share is None:
        return f"The adapter did not lower the loss, so there is no improvement to divide ({figures})."
    bounds = f"; 95 % interval {around[0] * 100:.0f} to {around[1] * 100:.0f} %" if around else ""
    text = f"{share * 100:.0f} % of the improvement is this repository's own ({figures}{bounds})"
    if spread is None or spread[0] <= 0 <= spread[1]:
        return f"{text}, but adapter and control are not reliably apart."
    return f"{text}; the control, trained alike on the Python standard library, accounts for the rest."


def control_examples(count: int, *, seed: int = 0, emit: Emit = silent) -> list[Example]:
    """Examples of the Python standard library, drawn at random from many of its packages.

    Args:
        count: how many are wanted: as many as the adapter was trained on.
        seed: of the draw.
        emit: told about progress.

    Raises:
        DataError: this Python carries no readable standard library, or too little of it.
    """
    root = Path(sysconfig.get_path("stdlib"))
    options = SourceOptions(languages=("python",), patterns=("*.py",), skip_bad=True)
    found: list[Example] = []
    funnel = Funnel()
    for package in PACKAGES:
        if (root / package).is_dir():
            # A package may hold nothing long enough to learn from.
            with contextlib.suppress(DataError):
                source = open_source("files", str(root / package), options)
                found.extend(clean(source.examples(funnel, emit), _FILTERS, funnel))
    if len(found) < count:
        raise DataError(
            f"The Python standard library in {root} gives {len(found)} examples; the control needs {count}.",
            "Use a Python that carries its library as source files, or leave out --controls.",
        )
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    return [found[index] for index in sorted(chosen.tolist())]
