"""``neuralforge clean-dataset``: what is worth training on, and the split into training and evaluation."""

from pathlib import Path
from typing import Annotated

import typer

from neuralforge.cli.options import Json, Output, Secrets, SecretsOption, SkipBad
from neuralforge.cli.present import line, show_json


def clean_dataset(
    dataset: Annotated[Path, typer.Argument(metavar="FILE", help="JSONL file; never changed.")],
    output: Output,
    secrets: SecretsOption = Secrets.drop,
    near_duplicates: Annotated[
        float,
        typer.Option("--near-duplicates", metavar="SIMILARITY", help="Drop what is this similar; 0 keeps repeats."),
    ] = 0.8,
    balance: Annotated[
        float | None,
        typer.Option("--balance", metavar="TIMES", help="Cap each language at this many times the median language."),
    ] = None,
    split: Annotated[
        bool, typer.Option("--split", help="Write OUTPUT.train and OUTPUT.eval, the newest commits in the latter.")
    ] = False,
    held_out: Annotated[
        float, typer.Option("--held-out", metavar="SHARE", help="Share of examples for evaluation.")
    ] = 0.1,
    max_held_out: Annotated[
        int, typer.Option("--max-held-out", metavar="N", min=1, help="Most examples for evaluation.")
    ] = 200,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Filter, deduplicate, balance and split a data set."""
    from neuralforge.cli.figures import funnel_table
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.clean_dataset import clean_dataset as run_cleaning

    with shown() as emit:
        result = run_cleaning(
            dataset,
            output,
            secrets=secrets.value,
            near_duplicates=near_duplicates or None,
            balance=balance,
            split=split,
            held_out=held_out,
            max_held_out=max_held_out,
            skip_bad=skip_bad,
            emit=emit,
        )
    files = {"output": result.output, "train": result.train, "evaluation": result.evaluation}
    written = {name: str(path) for name, path in files.items() if path is not None}
    if as_json:
        counts = {"examples": result.examples, "held_out": result.held_out}
        show_json({**written, **counts, "funnel": result.funnel.to_json()})
        return
    if result.evaluation is None:
        line(f"Wrote {result.examples:,} examples to {result.output}.")
    else:
        line(f"Wrote {result.examples:,} examples to {result.train}, {result.held_out:,} to {result.evaluation}.")
    funnel_table(result.funnel.to_json())
