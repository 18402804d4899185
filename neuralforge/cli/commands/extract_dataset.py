"""``neuralforge extract-dataset``: examples out of a repository's history."""

from typing import Annotated

import typer

from neuralforge.cli.options import (
    Json,
    Languages,
    MaxExamples,
    Output,
    Paths,
    Secrets,
    SecretsOption,
    Since,
    Until,
    listed,
)


def extract_dataset(
    git_repo: Annotated[str, typer.Option("--git-repo", metavar="PATH|URL", help="The repository.")],
    output: Output,
    languages: Languages = None,
    since: Since = None,
    until: Until = None,
    paths: Paths = None,
    max_examples: MaxExamples = None,
    mid_line: Annotated[
        bool, typer.Option("--mid-line", help="Also begin completions in the middle of a line.")
    ] = False,
    secrets: SecretsOption = Secrets.drop,
    as_json: Json = False,
) -> None:
    """Mine examples from a git repository."""
    from neuralforge.cli.figures import written_dataset
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.extract_dataset import extract_dataset as run_extraction

    with shown() as emit:
        result = run_extraction(
            git_repo,
            output,
            languages=listed(languages) or None,
            since=since,
            until=until,
            paths=paths or (),
            max_examples=max_examples,
            allow_mid_line=mid_line,
            secrets=secrets.value,
            emit=emit,
        )
    written_dataset(result.output, result.examples, result.funnel.to_json(), as_json=as_json)
