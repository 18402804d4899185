"""``neuralforge doctor``: what this machine can do."""

from typing import Annotated

import typer

from neuralforge.cli.options import Json
from neuralforge.cli.present import line, show_json, table

MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the measurement of number formats.")] = False,
    as_json: Json = False,
) -> None:
    """Report what this machine can do.

    Exits with 1 when training with the default base cannot work here.
    """
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.doctor import diagnose

    with shown() as emit:
        diagnosis = diagnose(measure=not quick, emit=emit)
    if as_json:
        show_json(diagnosis.to_json())
    else:
        table(["", "What", "Found"], [(MARKS[f.state], f.name, f.value) for f in diagnosis.findings])
        for finding in diagnosis.findings:
            if finding.hint:
                line(f"{finding.name}: {finding.hint}")
    if not diagnosis.healthy:
        raise typer.Exit(1)
