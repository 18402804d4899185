"""Two adapters of one base on the same examples: which one is better, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Phase, silent
from neuralforge.workflows.benchmark import checked_metrics

if TYPE_CHECKING:
    from neuralforge.evaluation.compare import Comparison, Tally
    from neuralforge.evaluation.latency import Latency
    from neuralforge.evaluation.memory import Memory

METRICS = ("accuracy", "speed", "memory")


@dataclass(frozen=True, slots=True)
class ABTest:
    """What the comparison found; a part that was not asked for is None.

    Attributes:
        adapter_a: name and version of the first adapter.
        adapter_b: of the second.
        base: identity of the base of both.
        source: the file of examples.
        examples: number of examples compared on.
        winner: ``a``, ``b``, or None when the loss does not tell them apart.
        sentence: the result in words.
        comparison: all metrics; a is first, b second.
        tally: examples on which b is better, equal, worse.
        latency: (a, b).
        memory: (a, b).
        seed: of draws and resampling.
    """

    adapter_a: str
    adapter_b: str
    base: str
    source: str
    examples: int
    winner: str | None
    sentence: str
    comparison: Comparison | None
    tally: Tally | None
    latency: tuple[Latency, Latency] | None
    memory: tuple[Memory, Memory] | None
    seed: int

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; losses in nats per token, times in ms, sizes in bytes, intervals of b - a."""
        from neuralforge.evaluation.compare import metrics_json

        record: dict[str, Any] = {
            "a": self.adapter_a,
            "b": self.adapter_b,
            "base": self.base,
            "source": self.source,
            "examples": self.examples,
            "winner": self.winner,
            "sentence": self.sentence,
        }
        if self.comparison is not None and self.tally is not None:
            units = self.comparison.units
            record["metrics"] = metrics_json(self.comparison, "a", "b")
            record["interval_of"] = "b - a"
            record["cluster"] = {"unit": units.kind, "count": units.count, "commits": units.commits}
            record["seed"] = self.seed
            record["b_against_a"] = self.tally.to_json()
        if self.latency is not None:
            record["speed"] = {"a": self.latency[0].to_json(), "b": self.latency[1].to_json()}
        if self.memory is not None:
            record["memory"] = {
                "process_peak": max(self.memory[0].peak, self.memory[1].peak),
                "base_weights": self.memory[0].base_weights,
                **{
                    name: {"adapter_weights": item.adapter_weights, "package": item.package}
                    for name, item in zip("ab", self.memory, strict=True)
                },
            }
        return record


def ab_test(
    adapter_a: str | Path,
    adapter_b: str | Path,
    test_data: Path,
    *,
    metrics: Sequence[str] = METRICS,
    base: str | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    max_examples: int = 200,
    generate_limit: int = 32,
    seed: int = 0,
    picture: Path | None = None,
    emit: Emit = silent,
) -> ABTest:
    """Compare two adapters of the same base.

    Args:
        adapter_a: a package, an unpacked folder, or the name of an installed adapter.
        adapter_b: likewise.
        test_data: JSONL examples.
        metrics: any of ``accuracy``, ``speed``, ``memory``.
        base: where the base is, when not where the manifests say.
        device: ``cpu``, ``cuda`` …
        dtype: ``fp32``, ``bf16`` or ``fp16``, None for the fastest that the device really has.
        max_examples: compare on at most so many.
        generate_limit: write out completions of so many of them.
        seed: of draws and resampling.
        picture: write the differences with their intervals to this SVG file (needs ``accuracy``).
        emit: told about progress.

    Raises:
        NeuralForgeError: an adapter, the base or the examples cannot be used, or the adapters' bases differ.
    """
    from neuralforge.evaluation.bootstrap import choose_units
    from neuralforge.evaluation.compare import compare, tally, winner_sentence
    from neuralforge.evaluation.judge import Measured, measure
    from neuralforge.evaluation.latency import Latency, measure_speed, prompts_for
    from neuralforge.evaluation.memory import measure_memory
    from neuralforge.evaluation.report.pictures import verdict_picture
    from neuralforge.evaluation.subject import attached, encode_alike, find, load_base
    from neuralforge.evaluation.testset import read_test_set
    from neuralforge.models.generation import Writing

    chosen = checked_metrics(metrics, METRICS)
    if picture is not None and "accuracy" not in chosen:
        raise UserError("The picture shows accuracy, which is not asked for.", "Add accuracy to --metrics.")
    subjects = (find(adapter_a), find(adapter_b))
    bases = [subject.manifest.base for subject in subjects]
    if bases[0].digest != bases[1].digest:
        raise UserError(
            f"{subjects[0].label} belongs to {bases[0].identity}, {subjects[1].label} to {bases[1].identity}.",
            "Losses of different bases cannot be compared token by token; test each against its own base instead.",
        )
    tests = read_test_set(test_file=test_data, from_git=None, max_examples=max_examples, seed=seed, emit=emit)
    assert tests is not None  # a file is given
    model = load_base(subjects[0], name=base, dtype=dtype, device=device, emit=emit)
    encoded = encode_alike(subjects, model, tests.examples, emit=emit)

    measured: list[Measured] = []
    memory: list[Memory] = []
    times = (Latency(), Latency())
    prompts = prompts_for(model, encoded)
    # a, b, b, a: whatever drifts during the measurement drifts through both alike.
    for turn, who in enumerate((0, 1, 1, 0)):
        subject = subjects[who]
        if turn > 1 and "speed" not in chosen:
            break
        with attached(subject, model):
            if turn < 2 and "accuracy" in chosen:
                emit(Phase("judge", f"{len(tests.examples)} examples, {subject.label}"))
                measured.append(measure(model, encoded, writing=Writing(limit=generate_limit), emit=emit))
            if "speed" in chosen:
                found = measure_speed(model, prompts, emit=emit)
                times[who].first_token.extend(found.first_token)
                times[who].per_token.extend(found.per_token)
            if turn < 2 and "memory" in chosen:
                memory.append(measure_memory(model, subject.path))

    comparison = counted = winner = None
    labels = (f"A ({subjects[0].label})", f"B ({subjects[1].label})")
    sentence = f"{labels[0]} and {labels[1]} were not compared for accuracy."
    if measured:
        first, second = measured[0].table, measured[1].table
        units = choose_units([tests.examples[index] for index in first.examples])
        comparison = compare(first, second, units, seed=seed)
        counted = tally(first, second)
        winner, sentence = winner_sentence(comparison, counted, labels)
    result = ABTest(
        adapter_a=subjects[0].label,
        adapter_b=subjects[1].label,
        base=model.identity,
        source=str(test_data),
        examples=len(measured[0].table) if measured else len(tests.examples),
        winner=winner,
        sentence=sentence,
        comparison=comparison,
        tally=counted,
        latency=times if "speed" in chosen else None,
        memory=(memory[0], memory[1]) if memory else None,
        seed=seed,
    )
    if picture is not None:
        title = f"{labels[1]} against {labels[0]}"
        files.write_text(picture, verdict_picture(result.to_json()["metrics"], title=title, first="a", second="b"))
    return result
