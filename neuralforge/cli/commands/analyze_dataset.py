"""``neuralforge analyze-dataset``: a data set before anyone trains on it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralforge.cli.options import Json, SkipBad
from neuralforge.cli.present import duration, line, show_json, table

if TYPE_CHECKING:
    from neuralforge.data.statistics import DatasetStatistics


def analyze_dataset(
    dataset: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL file.")],
    tokens_per_second: Annotated[
        float | None,
        typer.Option("--tokens-per-second", metavar="SPEED", help="Training speed to expect, if it was measured."),
    ] = None,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Show what a data set holds and lacks."""
    from neuralforge.cli.progress import shown
    from neuralforge.data.statistics import TOKENS_PER_SECOND
    from neuralforge.workflows.analyze_dataset import analyze_dataset as run_analysis

    speed = TOKENS_PER_SECOND if tokens_per_second is None else tokens_per_second
    with shown() as emit:
        found = run_analysis(dataset, skip_bad=skip_bad, tokens_per_second=speed, emit=emit)
    if as_json:
        show_json(found.to_json())
    else:
        tell(found, speed)


def tell(found: "DatasetStatistics", speed: float) -> None:
    """What it holds, what training would leave out, and what to do better."""
    from neuralforge.cli.figures import funnel_table

    lengths = {"before": found.prefix, "completion": found.completion, "after": found.suffix}
    facts = [
        ("examples", f"{found.examples:,}, of which {found.usable:,} are usable"),
        ("languages", _counts(found.languages)),
        ("kinds", _counts(found.kinds)),
        ("licences", _counts(found.licences)),
        ("secrets", _counts(found.secrets) or "none found"),
        ("repeats", f"{found.exact_duplicates:,} exact, {found.near_duplicates:,} near"),
        ("commits", f"{found.commits:,}" + _span(found.oldest, found.newest)),
        ("text after", f"{found.with_suffix:,} examples can be filled in the middle"),
        ("tokens", f"about {found.tokens:,} an epoch, {found.completion_tokens:,} of them learned"),
        ("an epoch", f"about {duration(found.training_seconds)} at {speed:,.0f} tokens/s"),
    ]
    table(["What", "Found"], [(name, value) for name, value in facts if value])
    line()
    table(
        ["Characters", "Median", "90 %", "Longest"],
        [(name, f"{part.median:,}", f"{part.p90:,}", f"{part.longest:,}") for name, part in lengths.items()],
        numbers=["Median", "90 %", "Longest"],
    )
    if found.problems:
        line()
        rows = sorted(found.problems.items(), key=lambda row: -row[1])
        table(["Cleaning would drop", "Examples"], [(n, f"{c:,}") for n, c in rows], numbers=["Examples"])
    if found.funnel:
        funnel_table(found.funnel)
    for advice in found.advice:
        line()
        line(advice)


def _counts(counts: dict[str, int]) -> str:
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    shown = ", ".join(f"{name} {count:,}" for name, count in rows[:8])
    return shown + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")


def _span(oldest: int | None, newest: int | None) -> str:
    if oldest is None or newest is None:
        return ""
    first, last = (datetime.fromtimestamp(moment, UTC).date() for moment in (oldest, newest))
    return f", {first} to {last}"
