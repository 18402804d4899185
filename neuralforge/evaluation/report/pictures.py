"""From figures to pictures: which numbers of a verdict or a benchmark are drawn, and how they are worded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuralforge.evaluation.metrics import LOWER_IS_BETTER, METRICS
from neuralforge.evaluation.report.svg import Estimate, Panel, Role, forest

LABELS = {
    "loss": "Loss",
    "perplexity": "Perplexity",
    "accuracy": "Next-token accuracy",
    "exact_match": "Exact match",
    "first_line_match": "First-line match",
    "edit_similarity": "Edit similarity",
}
HELP = {
    "loss": "nats per token, lower is better",
    "perplexity": "e to the loss, lower is better",
    "accuracy": "share of tokens that are the first guess",
    "exact_match": "share of completions written exactly",
    "first_line_match": "share whose first line is right",
    "edit_similarity": "1 minus edit distance, of generated text",
}


def verdict_picture(
    metrics: Mapping[str, Any], *, title: str, first: str = "base", second: str = "adapter", width: int = 720,
    standalone: bool = True,
) -> str:  # fmt: skip
    """Draw every metric's difference with its interval from ``metrics`` as in ``metadata.json``.

    Loss and perplexity are shown as relative changes, shares as differences in percentage points. ``first`` and
    ``second`` are the keys under which the two models' values stand.
    """
    relative = [_estimate(name, metrics[name], first, second) for name in METRICS
                if name in metrics and name in LOWER_IS_BETTER]  # fmt: skip
    shares = [_estimate(name, metrics[name], first, second) for name in METRICS
              if name in metrics and name not in LOWER_IS_BETTER]  # fmt: skip
    panels = []
    if relative:
        panels.append(Panel("Relative change, lower is better", relative, f"{second} better", "worse", " %"))
    if shares:
        panels.append(Panel("Difference in percentage points, higher is better", shares, "worse", f"{second} better"))
    return forest(panels, title=title, width=width, standalone=standalone)


def _estimate(name: str, entry: Mapping[str, Any], first: str, second: str) -> Estimate:
    before, after = float(entry[first]), float(entry[second])
    scale = 100.0
    if name in LOWER_IS_BETTER:
        scale = 100.0 / before if before else 0.0
    unit = " %" if name in LOWER_IS_BETTER else ""
    value = (after - before) * scale
    spread = entry.get("interval")
    interval = (float(spread[0]) * scale, float(spread[1]) * scale) if spread else None
    text = signed(value, unit)
    if interval:
        text += f" ({signed(interval[0])} to {signed(interval[1], unit)})"
    return Estimate(LABELS[name], value, interval, text, verdict_role(name, interval))


def verdict_role(name: str, interval: tuple[float, float] | None) -> Role:
    """Colour by meaning: only an interval that excludes zero is good or bad."""
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "unclear"
    return "good" if (interval[1] < 0) == (name in LOWER_IS_BETTER) else "bad"


def signed(value: float, unit: str = "") -> str:
    """One decimal, a sign, a true minus."""
    rounded = f"{value:+.1f}"
    return ("0.0" if float(rounded) == 0 else rounded).replace("-", "−") + unit


def shown(name: str, value: float) -> str:
    """A metric as people read it: loss to three decimals, shares as percentages."""
    if name in LOWER_IS_BETTER:
        return f"{value:.3f}" if name == "loss" else f"{value:.2f}"
    return f"{value * 100:.1f} %"
