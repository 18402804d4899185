"""Judge an adapter against its base: on a file, on a repository's later commits, or by eye on neutral prompts."""

# ruff: noqa: PT028 -- the command's name begins like a test's; it is a workflow

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files
from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Phase, silent

if TYPE_CHECKING:
    from neuralforge.evaluation.completions import Completion
    from neuralforge.evaluation.verdict import Verdict


@dataclass(frozen=True, slots=True)
class AdapterTest:
    """What testing found.

    Attributes:
        adapter: name and version.
        base: identity of the base.
        source: what it was judged on, None when no examples were given.
        verdict: reached now, None without examples.
        packed: the verdict that the package carries, None when it carries none.
        completions: neutral prompts completed by both, when no examples were given.
        note: what the reader should know about how this was measured.
        seen: whether the adapter may have been trained on the examples: ``no`` or ``unknown``.
    """

    adapter: str
    base: str
    source: str | None
    verdict: Verdict | None
    packed: Mapping[str, Any] | None
    completions: tuple[Completion, ...]
    note: str
    seen: str

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; losses in nats per token."""
        return {
            "adapter": self.adapter,
            "base": self.base,
            "source": self.source,
            "verdict": self.verdict.to_json() if self.verdict else None,
            "packed_verdict": dict(self.packed) if self.packed else None,
            "samples": [sample.to_json() for sample in self.verdict.samples] if self.verdict else [],
            "completions": [completion.to_json() for completion in self.completions],
            "note": self.note,
            "seen_in_training": self.seen,
        }


def test_adapter(
    adapter: str | Path,
    *,
    test_file: Path | None = None,
    from_git: str | None = None,
    base: str | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    max_examples: int = 200,
    generate_limit: int = 32,
    seed: int = 0,
    picture: Path | None = None,
    report: Path | None = None,
    emit: Emit = silent,
) -> AdapterTest:
    """Load an adapter on its base and measure what it changes.

    Args:
        adapter: a package, an unpacked folder, or the name of an installed adapter.
        test_file: JSONL examples to judge on.
        from_git: a repository; its newest commits are judged, none that the adapter was trained on.
        base: where the base is, when not where the manifest says; its digest has to match all the same.
        device: ``cpu``, ``cuda`` …
        dtype: ``fp32``, ``bf16`` or ``fp16``, None for the fastest that the device really has.
        max_examples: judge on at most so many.
        generate_limit: write out completions of so many of them.
        seed: of draws and resampling.
        picture: write the differences with their intervals to this SVG file.
        report: write an HTML report to this file.
        emit: told about progress.

    Raises:
        NeuralForgeError: the adapter, its base or the examples cannot be used.
    """
    from neuralforge.evaluation.completions import complete_prompts
    from neuralforge.evaluation.judge import judge
    from neuralforge.evaluation.prompts import neutral_prompts
    from neuralforge.evaluation.report.page import ReportData, render_report
    from neuralforge.evaluation.report.pictures import verdict_picture
    from neuralforge.evaluation.subject import attached, encode_as_trained, find, load_base
    from neuralforge.evaluation.testset import read_test_set
    from neuralforge.models.generation import Writing

    subject = find(adapter)
    if test_file is None and from_git is None and (picture or report):
        raise UserError(
            "A picture or report needs examples to judge on.", "Add --test-file FILE.jsonl or --from-git REPO."
        )
    tests = read_test_set(
        test_file=test_file, from_git=from_git, train_commits=subject.train_commits,
        trained_until=subject.trained_until, max_examples=max_examples, seed=seed, emit=emit,
    )  # fmt: skip
    model = load_base(subject, name=base, dtype=dtype, device=device, emit=emit)
    packed = subject.manifest.verdict
    with attached(subject, model):
        if tests is None:
            emit(Phase("complete", "neutral prompts"))
            completions = complete_prompts(model, neutral_prompts(subject.manifest.data.languages), emit=emit)
            note = "No test file was given: the verdict is the package's own, and the completions below prove nothing."
            return AdapterTest(
                subject.label, model.identity, None, None, packed, tuple(completions), note, seen="unknown"
            )
        verdict = judge(
            model,
            tests.examples,
            encode_as_trained(subject, model, tests.examples, emit=emit),
            train_commits=subject.train_commits,
            held_out_commits=tests.held_out_commits,
            writing=Writing(limit=generate_limit),
            seed=seed,
            emit=emit,
        )
    seen = "no" if tests.held_out_commits else "unknown"
    note = (
        "All of these commits are later than the last one the adapter was trained on."
        if seen == "no"
        else "Whether the adapter was trained on some of these examples is not known."
    )
    if picture is not None:
        title = f"{subject.label} against {model.name}"
        files.write_text(picture, verdict_picture(verdict.to_json()["metrics"], title=title))
    if report is not None:
        page = ReportData(
            title=subject.manifest.name,
            subtitle=f"Judged on {tests.source}",
            manifest=subject.manifest.to_json(),
            funnel=subject.manifest.data.funnel,
            verdict=verdict.to_json(),
            samples=verdict.samples,
            settings={"lora": subject.manifest.to_json()["lora"], "training": subject.manifest.training},
        )
        files.write_text(report, render_report(page))
    return AdapterTest(subject.label, model.identity, tests.source, verdict, packed, (), note, seen)
