"""``neuralforge ab-test``: two adapters of one base on the same examples."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralforge.cli.options import Base, GenerateLimit, Json, JudgeAtMost, OnDevice, Picture, Precision, Seed, listed
from neuralforge.cli.present import line, show_json, size, table

if TYPE_CHECKING:
    from neuralforge.workflows.ab_test import ABTest

WHAT = "A .lora file, its unpacked folder, or an installed name."


def ab_test(
    adapter_a: Annotated[str, typer.Option("--adapter-a", metavar="ADAPTER", help=WHAT)],
    adapter_b: Annotated[str, typer.Option("--adapter-b", metavar="ADAPTER", help=WHAT)],
    test_data: Annotated[Path, typer.Option("--test-data", metavar="FILE", help="JSONL examples to compare on.")],
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="NAMES", help="Any of accuracy,speed,memory.")
    ] = "accuracy,speed,memory",
    base: Base = None,
    device: OnDevice = "cpu",
    dtype: Precision = None,
    max_examples: JudgeAtMost = 200,
    generate_limit: GenerateLimit = 32,
    seed: Seed = 0,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Compare two adapters on the same examples."""
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.ab_test import ab_test as run_comparison

    with shown() as emit:
        result = run_comparison(
            adapter_a,
            adapter_b,
            test_data,
            metrics=listed(metrics),
            base=base,
            device=device,
            dtype=dtype,
            max_examples=max_examples,
            generate_limit=generate_limit,
            seed=seed,
            picture=picture,
            emit=emit,
        )
    if as_json:
        show_json(result.to_json())
    else:
        tell(result)


def tell(result: "ABTest") -> None:
    """The sentence, then a table a metric."""
    from neuralforge.cli.figures import latency_table, verdict_table

    record = result.to_json()
    line(f"a: {result.adapter_a}")
    line(f"b: {result.adapter_b}")
    line(f"{result.examples} examples of {result.source} on {result.base}")
    line(result.sentence)
    if "metrics" in record:
        line()
        verdict_table(record, "a", "b")
        line(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in record["b_against_a"].items()))
    if "speed" in record:
        line()
        latency_table(record["speed"])
    if "memory" in record:
        line()
        held = record["memory"]
        rows = [(name, size(held[name]["adapter_weights"]), size(held[name]["package"])) for name in "ab"]
        table(["Memory", "Weights", "Package"], rows, numbers=["Weights", "Package"])
        line(f"base weights {size(held['base_weights'])}, peak of the process {size(held['process_peak'])}")
