"""``neuralforge export``: a model for tools that do not know neuralforge."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from neuralforge.cli.options import Json
from neuralforge.cli.present import line, show_json


class Format(StrEnum):
    """What a model is exported as."""

    llama = "llama"


def export(
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Folder of a model made by `pretrain`.")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder for the exported model.")],
    kind: Annotated[
        Format, typer.Option("--as", help="llama: a plain Llama checkpoint, its layers padded to one width.")
    ] = Format.llama,
    as_json: Json = False,
) -> None:
    """Write a model in a form that loads without neuralforge."""
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.export import export_llama

    assert kind is Format.llama
    with shown() as emit:
        made = export_llama(model, output, emit=emit)
    if as_json:
        show_json(made.to_json())
        return
    narrow, wide = min(made.widths), max(made.widths)
    padded = "" if narrow == wide else f"; layers of {narrow:,} to {wide:,} neurons are padded to {made.width:,}"
    line(f"Wrote a Llama model of {made.parameters:,} parameters to {made.folder}{padded}.")
