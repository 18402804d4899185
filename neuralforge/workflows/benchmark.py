"""Measure an adapter: what it gets right, how long one waits, what memory it takes, and whether any code would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, silent

if TYPE_CHECKING:
    from neuralforge.evaluation.controls import Control, TrainControl
    from neuralforge.evaluation.latency import Latency
    from neuralforge.evaluation.memory import Memory
    from neuralforge.evaluation.verdict import Verdict

METRICS = ("accuracy", "latency", "perplexity", "memory")
SHOWN = {
    "accuracy": ("accuracy", "exact_match", "first_line_match", "edit_similarity"),
    "perplexity": ("loss", "perplexity"),
}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What was measured; a part that was not asked for is None.

    Attributes:
        adapter: name and version.
        base: identity of the base.
        source: the examples judged on, None when none were needed.
        metrics: what was asked for.
        verdict: base against adapter.
        latency: (base, adapter).
        memory: of this process and the adapter.
        control: the same training on unrelated code.
    """

    adapter: str
    base: str
    source: str | None
    metrics: tuple[str, ...]
    verdict: Verdict | None
    latency: tuple[Latency, Latency] | None
    memory: Memory | None
    control: Control | None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary of the metrics asked for: losses in nats per token, times in ms, sizes in bytes."""
        record: dict[str, Any] = {"adapter": self.adapter, "base": self.base, "source": self.source}
        if self.verdict is not None:
            verdict = self.verdict.to_json()
            asked = {name for metric in self.metrics for name in SHOWN.get(metric, ())}
            verdict["metrics"] = {name: entry for name, entry in verdict["metrics"].items() if name in asked}
            record["verdict"] = verdict
        if self.latency is not None:
            record["latency"] = {"base": self.latency[0].to_json(), "adapter": self.latency[1].to_json()}
        if self.memory is not None:
            record["memory"] = self.memory.to_json()
        if self.control is not None:
            record["control"] = self.control.to_json()
        return record


def benchmark(
    adapter: str | Path,
    *,
    metrics: Sequence[str] = METRICS,
    test_file: Path | None = None,
    from_git: str | None = None,
    controls: bool = False,
    train_control: TrainControl | None = None,
    base: str | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    max_examples: int = 200,
    generate_limit: int = 32,
    seed: int = 0,
    picture: Path | None = None,
    emit: Emit = silent,
) -> Benchmark:
    """Measure an adapter against its base.

    Args:
        adapter: a package, an unpacked folder, or the name of an installed adapter.
        metrics: any of ``accuracy``, ``latency``, ``perplexity``, ``memory``.
        test_file: JSONL examples, needed for accuracy and perplexity (or ``from_git``).
        from_git: a repository; its newest commits are judged, none that the adapter was trained on.
        controls: also train, for as long, on Python's standard library, and judge that on the same examples.
        train_control: how the control is trained, see ``evaluation.controls.TrainControl``; None repeats the
            training that the manifest describes.
        base: where the base is, when not where the manifest says.
        device: ``cpu``, ``cuda`` …
        dtype: ``fp32``, ``bf16`` or ``fp16``, None for the fastest that the device really has.
        max_examples: judge on at most so many.
        generate_limit: write out completions of so many of them.
        seed: of draws, resampling and the control.
        picture: write the figures as bars to this SVG file.
        emit: told about progress.

    Raises:
        NeuralForgeError: the adapter, its base or the examples cannot be used, or a metric is unknown.
    """
    from neuralforge.evaluation.bootstrap import choose_units
    from neuralforge.evaluation.controls import compare_control, control_examples
    from neuralforge.evaluation.judge import measure, measure_pair, reach_verdict
    from neuralforge.evaluation.latency import measure_latency, prompts_for
    from neuralforge.evaluation.memory import measure_memory
    from neuralforge.evaluation.report.pictures import benchmark_picture
    from neuralforge.evaluation.subject import attached, encode_as_trained, find, load_base
    from neuralforge.evaluation.testset import read_test_set
    from neuralforge.models.generation import Writing

    chosen = checked_metrics(metrics, METRICS)
    judged = controls or bool({"accuracy", "perplexity"} & set(chosen))
    if judged and test_file is None and from_git is None:
        raise UserError(
            "Accuracy, perplexity and controls are measured on examples, and none are given.",
            "Add --test-file FILE.jsonl or --from-git REPO, or ask for --metrics latency,memory only.",
        )
    subject = find(adapter)
    tests = read_test_set(
        test_file=test_file, from_git=from_git, train_commits=subject.train_commits,
        trained_until=subject.trained_until, max_examples=max_examples, seed=seed, emit=emit,
    )  # fmt: skip
    model = load_base(subject, name=base, dtype=dtype, device=device, emit=emit)
    encoded = [] if tests is None else encode_as_trained(subject, model, tests.examples, emit=emit)
    verdict = latency = memory = control = pair = None
    with attached(subject, model):
        if "memory" in chosen and "latency" not in chosen and not judged:
            # A peak before any work would be that of loading alone.
            measure_latency(model, prompts_for(model, encoded)[:1], emit=emit)
        if "latency" in chosen:
            latency = measure_latency(model, prompts_for(model, encoded), emit=emit)
        if tests is not None and judged:
            writing = Writing(limit=generate_limit if "accuracy" in chosen else 0)
            pair = measure_pair(model, encoded, writing=writing, emit=emit)
            verdict = reach_verdict(
                tests.examples, pair, train_commits=subject.train_commits,
                held_out_commits=tests.held_out_commits, seed=seed,
            )  # fmt: skip
        if "memory" in chosen:
            memory = measure_memory(model, subject.path)
    if controls and tests is not None and pair is not None:
        count = max(1, subject.manifest.data.examples)
        unrelated = control_examples(count, seed=seed, emit=emit)
        if train_control is None:
            from neuralforge.training.control import control_training

            train_control = control_training(subject.manifest, seed=seed, emit=emit)
        with train_control(model, unrelated):
            other = measure(model, encoded, writing=Writing(limit=0), emit=emit)
        before, after = pair[0].table, pair[1].table
        units = choose_units([tests.examples[index] for index in before.examples])
        control = compare_control(before, other.table, after, units, examples=len(unrelated), seed=seed)
    result = Benchmark(
        subject.label, model.identity, tests.source if tests else None, chosen, verdict, latency, memory, control
    )
    if picture is not None:
        files.write_text(picture, benchmark_picture(result.to_json(), title=f"{result.adapter} against its base"))
    return result


def checked_metrics(asked: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The metrics asked for, in their usual order and once each.

    Raises:
        UserError: one of them is not known, or none is asked for.
    """
    wrong = [name for name in asked if name not in known]
    if wrong or not asked:
        what = f"There is no metric {wrong[0]!r}." if wrong else "No metric is asked for."
        raise UserError(what, f"Choose from: {', '.join(known)}.")
    return tuple(name for name in known if name in asked)
