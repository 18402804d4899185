"""Tables of figures that more than one command shows."""

from pathlib import Path
from typing import Any

from neuralforge.cli.present import line, show_json, table

PERCENT = ("accuracy", "exact_match", "first_line", "similarity", "match")


def verdict_table(verdict: dict[str, Any], first: str = "base", second: str = "adapter") -> None:
    """A verdict's metrics: both values, and the interval of the second less the first.

    Args:
        verdict: as ``Verdict.to_json`` gives it.
        first: key and heading of the first column of values.
        second: key and heading of the second.
    """
    level = verdict.get("interval", {}).get("level", 0.95)
    rows = []
    for name, metric in verdict["metrics"].items():
        low, high = metric.get("interval") or (None, None)
        between = "-" if low is None else f"{_value(name, low, True)} to {_value(name, high, True)}"
        rows.append((name.replace("_", " "), _value(name, metric[first]), _value(name, metric[second]), between))
    table(
        ["Metric", first, second, f"{level:.0%} interval of the change"],
        rows,
        numbers=[first, second, f"{level:.0%} interval of the change"],
    )


def _value(name: str, value: float | None, signed: bool = False) -> str:
    if value is None:
        return "-"
    sign = "+" if signed else ""
    if any(part in name for part in PERCENT):
        return f"{value:{sign}.1%}"
    return f"{value:{sign}.3f}"


def latency_table(latency: dict[str, dict[str, Any]]) -> None:
    """Waiting times in milliseconds, a row for each model and kind of token."""
    rows = [
        (who, which.replace("_", " "), f"{times['p50_ms']:.1f}", f"{times['p95_ms']:.1f}", f"{times['measured']:,}")
        for who, kinds in latency.items()
        for which, times in kinds.items()
    ]
    table(["Latency", "Token", "p50 ms", "p95 ms", "Measured"], rows, numbers=["p50 ms", "p95 ms", "Measured"])


def written_dataset(output: Path, examples: int, funnel: dict[str, Any], *, as_json: bool) -> None:
    """A data set that was written, and what was left out of it."""
    if as_json:
        show_json({"output": str(output), "examples": examples, "funnel": funnel})
        return
    line(f"Wrote {examples:,} examples to {output}.")
    funnel_table(funnel)


def funnel_table(funnel: dict[str, Any]) -> None:
    """What was left out, commits and examples, most frequent reason first; nothing when nothing was."""
    left_out = [("commit", reason, count) for reason, count in _frequent(funnel.get("commits_dropped") or {})]
    left_out += [("example", reason, count) for reason, count in _frequent(funnel.get("dropped") or {})]
    if not left_out:
        return
    line()
    rows = [(what, reason, f"{count:,}") for what, reason, count in left_out]
    table(["Left out", "Because", "Count"], rows, numbers=["Count"])
    seen, kept = funnel.get("seen", 0), funnel.get("kept", 0)
    commits = f" from {funnel['commits']:,} commits" if funnel.get("commits") else ""
    line(f"Kept {kept:,} of {seen:,} candidates{commits}.")


def _frequent(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda row: (-row[1], row[0]))
