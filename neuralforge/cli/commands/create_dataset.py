"""``neuralforge create-dataset``: examples out of files, hub data sets and what plugins bring."""

from typing import Annotated

import typer

from neuralforge.cli.options import Json, Languages, MaxExamples, Output, Paths, Secrets, SecretsOption, SkipBad, listed


def create_dataset(
    source: Annotated[
        str, typer.Option("--source", metavar="SOURCE", help="Folder, or what the kind of source takes.")
    ],
    output: Output,
    kind: Annotated[
        str, typer.Option("--kind", metavar="NAME", help="files, jsonl, hub, or a plugin's name.")
    ] = "files",
    pattern: Annotated[
        str | None, typer.Option("--pattern", metavar="GLOB", help='Keep only file names like this ("*.java").')
    ] = None,
    languages: Languages = None,
    paths: Paths = None,
    max_examples: MaxExamples = None,
    skip_bad: SkipBad = False,
    secrets: SecretsOption = Secrets.drop,
    as_json: Json = False,
) -> None:
    """Make examples from files without history."""
    from neuralforge.cli.figures import written_dataset
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.create_dataset import create_dataset as run_creation

    with shown() as emit:
        result = run_creation(
            source,
            output,
            kind=kind,
            pattern=pattern,
            languages=listed(languages) or None,
            paths=paths or (),
            max_examples=max_examples,
            skip_bad=skip_bad,
            secrets=secrets.value,
            emit=emit,
        )
    written_dataset(result.output, result.examples, result.funnel.to_json(), as_json=as_json)
