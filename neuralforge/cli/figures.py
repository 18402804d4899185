"""Tables of figures that more than one command shows."""

from typing import Any

from neuralforge.cli.present import table

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
