"""Options that several commands share, so that one name means one thing everywhere."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Secrets(StrEnum):
    """What happens to keys, tokens and passwords in examples."""

    drop = "drop"
    redact = "redact"
    keep = "keep"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout, all else to stderr.")]
Base = Annotated[
    str | None, typer.Option("--base", metavar="MODEL", help="Base model: an alias, a hub id, a folder or a GGUF file.")
]
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
SecretsOption = Annotated[
    Secrets, typer.Option("--secrets", help="Drop examples with secrets, redact the secrets, or keep both.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Count and skip bad lines instead of stopping.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")]

Adapter = Annotated[
    str, typer.Argument(metavar="ADAPTER", help="A .lora file, its unpacked folder, or an installed name.")
]
TestFile = Annotated[Path | None, typer.Option("--test-file", metavar="FILE", help="JSONL examples to judge on.")]
JudgedRepo = Annotated[
    str | None,
    typer.Option("--from-git", metavar="PATH|URL", help="Judge on commits of this repository later than the training."),
]
OnDevice = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu, mps, cuda or cuda:N.")]
Precision = Annotated[
    str | None, typer.Option("--dtype", metavar="NAME", help="fp32, bf16 or fp16; what is fast here if left out.")
]
JudgeAtMost = Annotated[int, typer.Option("--max-examples", metavar="N", min=1, help="Judge on at most this many.")]
GenerateLimit = Annotated[
    int, typer.Option("--generate-limit", metavar="N", min=0, help="Write out completions of this many of them.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of draws and resampling.")]
Picture = Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Write the figures as an SVG picture.")]


def option(name: str, help: str, panel: str, metavar: str | None = None) -> Any:
    """An option of a command whose help has panels."""
    return typer.Option(name, help=help, rich_help_panel=panel, metavar=metavar)


def given(settings: Mapping[str, str], typed: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """What was typed as flags for ``config.load``: dotted key to (option, value).

    Args:
        settings: the setting that each option is. typed: the command's arguments by name, None where not given.
    """
    return {
        setting: ("--" + name.replace("_", "-"), typed[name])
        for name, setting in settings.items()
        if typed[name] is not None
    }


def listed(text: str | None) -> tuple[str, ...]:
    """``"a, b"`` as a tuple; empty for None."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
