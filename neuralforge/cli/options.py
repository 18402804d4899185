"""Options that several commands share, so that one name means one thing everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout, all else to stderr.")]
Base = Annotated[str | None, typer.Option("--base", help="Base model: an alias, a hub id, a folder or a GGUF file.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, mps, cuda or cuda:N.")]
Languages = Annotated[
    str | None, typer.Option("--languages", metavar="NAMES", help="Keep only these languages (java,python,js).")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="DATE", help='Oldest commit, as git says it ("6 months ago").')
]
Until = Annotated[str | None, typer.Option("--until", metavar="DATE", help="Newest commit, as git says it.")]
Paths = Annotated[
    list[str] | None, typer.Option("--paths", metavar="GLOB", help="Keep only files that match; may be repeated.")
]
MaxExamples = Annotated[
    int | None, typer.Option("--max-examples", metavar="N", min=1, help="At most this many examples.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Count and skip bad lines instead of stopping.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")]


def listed(text: str | None) -> tuple[str, ...]:
    """``"a, b"`` as a tuple; empty for None."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
