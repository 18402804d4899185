"""``neuralforge train-tokenizer``: a vocabulary made for one's own text."""

from pathlib import Path
from typing import Annotated

import typer

from neuralforge.cli.options import Json, SkipBad
from neuralforge.cli.present import line, show_json, size


def train_tokenizer(
    data: Annotated[
        list[str], typer.Option("--data", metavar="PATH", help="Text file, JSONL file or folder; may be repeated.")
    ],
    save: Annotated[Path, typer.Option("--save", metavar="DIR", help="Folder for the tokenizer.")],
    vocab_size: Annotated[int, typer.Option("--vocab-size", metavar="N", help="Tokens in all.")] = 8000,
    min_frequency: Annotated[
        int, typer.Option("--min-frequency", metavar="N", help="Merge pairs that occur at least so often.")
    ] = 2,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Train a byte-level BPE tokenizer on your own text."""
    from neuralforge.cli.figures import funnel_table
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.train_tokenizer import train_tokenizer as run_training

    with shown() as emit:
        made = run_training(
            data,
            save,
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            skip_bad=skip_bad,
            emit=emit,
        )
    if as_json:
        show_json(
            {
                "tokenizer": str(made.folder),
                "vocab_size": made.vocabulary,
                "bytes": made.bytes_read,
                "bytes_per_token": made.bytes_per_token,
                "funnel": made.funnel.to_json(),
            }
        )
        return
    line(f"Wrote a tokenizer of {made.vocabulary:,} tokens to {made.folder}.")
    line(f"Read {made.funnel.kept:,} texts, {size(made.bytes_read)}; {made.bytes_per_token:.2f} bytes a token.")
    funnel_table(made.funnel.to_json())
    if made.vocabulary < vocab_size:
        line(f"There were not enough pairs that occur {min_frequency} times for {vocab_size:,} tokens.")
