"""``neuralforge test-adapter``: does it help?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralforge.cli.options import (
    Adapter,
    Base,
    GenerateLimit,
    Json,
    JudgeAtMost,
    JudgedRepo,
    OnDevice,
    Picture,
    Precision,
    Seed,
    TestFile,
)
from neuralforge.cli.present import line, show_json

if TYPE_CHECKING:
    from neuralforge.workflows.test_adapter import AdapterTest


def judge_adapter(
    adapter: Adapter,
    test_file: TestFile = None,
    from_git: JudgedRepo = None,
    base: Base = None,
    device: OnDevice = "cpu",
    dtype: Precision = None,
    max_examples: JudgeAtMost = 200,
    generate_limit: GenerateLimit = 32,
    seed: Seed = 0,
    picture: Picture = None,
    report: Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML report.")] = None,
    as_json: Json = False,
) -> None:
    """Judge an adapter against its base.

    Without --test-file or --from-git it shows the verdict that the adapter carries, and a few completions.
    """
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.test_adapter import test_adapter

    with shown() as emit:
        result = test_adapter(
            adapter,
            test_file=test_file,
            from_git=from_git,
            base=base,
            device=device,
            dtype=dtype,
            max_examples=max_examples,
            generate_limit=generate_limit,
            seed=seed,
            picture=picture,
            report=report,
            emit=emit,
        )
    if as_json:
        show_json(result.to_json())
    else:
        tell(result)


def tell(result: "AdapterTest") -> None:
    """The verdict with its figures; without examples, the packed verdict and completions side by side."""
    from neuralforge.cli.figures import verdict_table

    line(f"{result.adapter} on {result.base}")
    if result.source is not None:
        line(f"Judged on {result.source}")
    verdict = result.verdict.to_json() if result.verdict else result.packed
    if verdict is None:
        line("The adapter carries no verdict.")
    else:
        line(verdict["sentence"])
        line()
        verdict_table(dict(verdict))
    for completion in result.completions:
        line()
        for name, text in completion.to_json().items():
            for number, row in enumerate(str(text).splitlines() or [""]):
                line(f"{name if number == 0 else '':>10} | {row}")
    line()
    line(result.note)
