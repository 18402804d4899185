"""``neuralforge benchmark``: figures of one adapter beside its base."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuralforge.cli.options import (
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
    listed,
)
from neuralforge.cli.present import line, show_json, size, table

if TYPE_CHECKING:
    from neuralforge.workflows.benchmark import Benchmark


def benchmark(
    adapter: Annotated[
        str,
        typer.Option("--adapter", metavar="ADAPTER", help="A .lora file, its unpacked folder, or an installed name."),
    ],
    metrics: Annotated[
        str, typer.Option("--metrics", metavar="NAMES", help="Any of accuracy,latency,perplexity,memory.")
    ] = "accuracy,latency,perplexity,memory",
    test_file: TestFile = None,
    from_git: JudgedRepo = None,
    controls: Annotated[
        bool,
        typer.Option("--controls", help="Also train as long on unrelated code, to show that this code was learned."),
    ] = False,
    base: Base = None,
    device: OnDevice = "cpu",
    dtype: Precision = None,
    max_examples: JudgeAtMost = 200,
    generate_limit: GenerateLimit = 32,
    seed: Seed = 0,
    picture: Picture = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy, latency, perplexity and memory.

    Accuracy, perplexity and controls need examples: --test-file or --from-git.
    """
    from neuralforge.cli.progress import shown
    from neuralforge.workflows.benchmark import benchmark as run_benchmark

    with shown() as emit:
        result = run_benchmark(
            adapter,
            metrics=listed(metrics),
            test_file=test_file,
            from_git=from_git,
            controls=controls,
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


def tell(result: "Benchmark") -> None:
    """One table a metric."""
    from neuralforge.cli.figures import latency_table, verdict_table

    record = result.to_json()
    line(f"{result.adapter} on {result.base}")
    if result.source is not None:
        line(f"Judged on {result.source}")
    if "verdict" in record:
        line()
        verdict_table(record["verdict"])
        line(record["verdict"]["sentence"])
    if "latency" in record:
        line()
        latency_table(record["latency"])
    if "memory" in record:
        line()
        table(["Memory", "Size"], _sizes(record["memory"]), numbers=["Size"])
    if "control" in record:
        line()
        loss = record["control"]["loss"]
        rows = [(name, f"{loss[name]:.3f}") for name in ("base", "control", "adapter")]
        table(["Loss after the same training", "Nats per token"], rows, numbers=["Nats per token"])
        line(record["control"]["sentence"])


def _sizes(memory: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), size(count)) for name, count in memory.items()]
