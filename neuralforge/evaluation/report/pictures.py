"""From figures to pictures: which numbers of a verdict or a benchmark are drawn, and how they are worded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from neuralforge.evaluation.metrics import LOWER_IS_BETTER, METRICS
from neuralforge.evaluation.report.svg import Bar, Estimate, Panel, Role, bars, forest

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


def benchmark_picture(record: Mapping[str, Any], *, title: str) -> str:
    """Draw a benchmark from its JSON record as bars: every figure of the base beside the adapter's."""
    groups: list[tuple[str, list[Bar]]] = []
    metrics: Mapping[str, Any] = (record.get("verdict") or {}).get("metrics") or {}
    for name in (name for name in METRICS if name in metrics):
        pair = {who: float(metrics[name][who]) for who in ("base", "adapter")}
        groups.append(
            (f"{LABELS[name]} ({HELP[name]})", [_bar(who, value, shown(name, value)) for who, value in pair.items()])
        )
    if control := record.get("control"):
        losses = [(who, float(control["loss"][who])) for who in ("base", "control", "adapter")]
        groups.append(("Loss with the control", [_bar(who, value, shown("loss", value)) for who, value in losses]))
    latency: Mapping[str, Any] = record.get("latency") or {}
    for which, label in (("first_token", "First token"), ("per_token", "Each further token")):
        for share in ("p50", "p95"):
            times = [(who, latency[who][which][f"{share}_ms"]) for who in latency if which in latency[who]]
            if times:
                groups.append((f"{label}, {share}", [_bar(who, time, f"{time:.1f} ms") for who, time in times]))
    if memory := record.get("memory"):
        sizes = (("process, peak", "peak", "base"), ("base weights", "base_weights", "base"),
                 ("adapter weights", "adapter_weights", "adapter"), ("package", "package", "adapter"))  # fmt: skip
        groups.append(
            (
                "Memory",
                [
                    Bar(label, float(memory[key]), f"{memory[key] / 1e6:,.1f} MB", cast(Role, role))
                    for label, key, role in sizes
                ],
            )
        )
    return bars(groups, title=title, standalone=True)


def _bar(who: str, value: float, text: str) -> Bar:
    return Bar(who, value, text, cast(Role, who))


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
