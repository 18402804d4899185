"""The three judging workflows from end to end, with a model that has no weights and a manifest that has no files."""

import contextlib
import importlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from neuralforge.adapter.manifest import BaseInfo, CommitInfo, DataInfo, LoraInfo, Manifest
from neuralforge.data.records import Example
from neuralforge.errors import TrustError, UserError
from neuralforge.evaluation import completions, controls, judge, latency, subject, testset
from neuralforge.evaluation.subject import Subject
from neuralforge.models.base import BaseModel
from neuralforge.workflows.ab_test import ab_test
from neuralforge.workflows.benchmark import benchmark

from . import fakes

SOURCE = "class Queue:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        pass\n"
workflow: ModuleType = importlib.import_module("neuralforge.workflows.test_adapter")


def manifest(name: str = "mine", digest: str = "sha256:" + "0" * 64) -> Manifest:
    return Manifest(
        name=name,
        version="1.0.0",
        created="2026-01-31T12:00:00Z",
        base=BaseInfo("fake", "fake:1", digest),
        lora=LoraInfo(rank=2, alpha=4.0, dropout=0.0, target_modules=("q_proj",)),
        data=DataInfo(examples=3, languages={"python": 3}),
        commits=CommitInfo("aaaa", "bbbb", 2),
        verdict={"sentence": "Helps: as packed."},
    )


@pytest.fixture(autouse=True)
def adapters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Subject]:
    """Adapters by path; the one in force decides what the fake model writes."""
    rules = {"good": fakes.following(SOURCE), "poor": fakes.following(SOURCE[:40]), "none": fakes.following("")}
    known = {name: Subject(tmp_path / f"{name}.lora", manifest(name)) for name in rules}
    for item in known.values():
        item.path.write_bytes(b"12345")

    @contextlib.contextmanager
    def attached(item: Subject, base: BaseModel) -> Iterator[None]:
        subject.check_base(item, base)
        base.model.adapter = rules[item.manifest.name]
        yield
        base.model.adapter = base.model.base

    def encode(item: Any, base: BaseModel, examples: Sequence[Example], *, emit: Any) -> list[fakes.FakeEncoded]:
        return [fakes.encoded(e.prefix, e.completion, index) for index, e in enumerate(examples)]

    monkeypatch.setattr(subject, "find", lambda path: known[Path(path).stem])
    monkeypatch.setattr(subject, "load_base", lambda item, **options: fakes.fake_base(rules["none"], rules["none"]))
    monkeypatch.setattr(subject, "attached", attached)
    monkeypatch.setattr(subject, "encode_as_trained", encode)
    monkeypatch.setattr(subject, "encode_alike", encode)
    monkeypatch.setattr(judge, "score_pair", fakes.score_pair)
    monkeypatch.setattr(judge, "score", fakes.score)
    monkeypatch.setattr(completions, "generate", fakes.generate)
    monkeypatch.setattr(latency, "generate", fakes.generate)
    return known


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "held-out.jsonl"
    lines = [
        {
            "prefix": SOURCE[:cut],
            "middle": SOURCE[cut : cut + 16],
            "suffix": "",
            "commit": f"{cut % 12:x}aaa",
            "path": "q",
        }
        for cut in range(6, 54, 2)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_adapter_is_tested_on_a_file(data: Path, tmp_path: Path) -> None:
    picture, report = tmp_path / "p.svg", tmp_path / "r.html"
    result = workflow.test_adapter("good.lora", test_file=data, generate_limit=4, picture=picture, report=report)
    record = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert record["verdict"]["outcome"] == "helps"
    assert record["packed_verdict"]["sentence"] == "Helps: as packed."
    assert record["seen_in_training"] == "unknown"
    assert len(record["samples"]) == 4
    assert ElementTree.fromstring(picture.read_text()).tag.endswith("svg")
    assert "It helps" in report.read_text()


def test_an_adapter_is_tested_on_later_commits(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    read = testset.read_test_set(test_file=data, from_git=None)
    assert read is not None
    seen: dict[str, Any] = {}

    def later(**options: Any) -> testset.TestSet:
        seen.update(options)
        return replace(read, source="repo", held_out_commits=("c", "d"))

    monkeypatch.setattr(testset, "read_test_set", later)
    result = workflow.test_adapter("good.lora", from_git="repo", generate_limit=0)
    assert seen["train_commits"] == ("aaaa", "bbbb")
    assert result.seen == "no"
    assert "later commits" in result.verdict.sentence
    assert result.verdict.to_json()["commits"] == {"train": ["aaaa", "bbbb"], "held_out": ["c", "d"]}


def test_without_examples_the_packed_verdict_is_shown() -> None:
    record = workflow.test_adapter("good.lora").to_json()
    assert record["verdict"] is None
    assert record["packed_verdict"] == {"sentence": "Helps: as packed."}
    assert {item["language"] for item in record["completions"]} == {"python"}
    assert "No test file was given" in record["note"]


def test_a_report_needs_examples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs examples"):
        workflow.test_adapter("good.lora", report=tmp_path / "r.html")


def test_another_base_is_refused() -> None:
    other = Subject(Path("x"), manifest(digest="sha256:" + "1" * 64))
    with pytest.raises(TrustError, match="was made for"):
        subject.check_base(other, fakes.fake_base(fakes.following(""), fakes.following("")))


def test_a_benchmark_measures_what_is_asked(data: Path, tmp_path: Path) -> None:
    picture = tmp_path / "b.svg"
    record = benchmark("good.lora", test_file=data, generate_limit=3, picture=picture).to_json()
    assert set(record["verdict"]["metrics"]) == {
        "loss", "perplexity", "accuracy", "exact_match", "first_line_match", "edit_similarity"
    }  # fmt: skip
    assert set(record["latency"]["adapter"]) == {"first_token", "per_token"}
    assert record["memory"]["package"] == 5
    assert "control" not in record
    assert "First token, p95" in picture.read_text()
    only = benchmark("good.lora", metrics=["perplexity"], test_file=data).to_json()
    assert set(only["verdict"]["metrics"]) == {"loss", "perplexity"}
    assert "latency" not in only
    assert set(benchmark("good.lora", metrics=["memory"]).to_json()) == {"adapter", "base", "source", "memory"}


def test_a_control_is_trained_judged_and_taken_away(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    trained: list[int] = []

    @contextlib.contextmanager
    def train(base: BaseModel, examples: Sequence[Example]) -> Iterator[None]:
        trained.append(len(examples))
        base.model.adapter = fakes.following(SOURCE[:40])
        yield
        base.model.adapter = base.model.base

    monkeypatch.setattr(controls, "control_examples", lambda count, **options: [Example("a", "b")] * count)
    result = benchmark("good.lora", metrics=["perplexity"], test_file=data, controls=True, train_control=train)
    assert trained == [3]
    assert result.control is not None
    assert result.control.base > result.control.control > result.control.adapter
    assert 0 < (result.control.share or 0) < 1
    assert result.to_json()["control"]["loss"]["interval_of"] == "adapter - control"


@pytest.mark.parametrize("metrics", [["accuracy"], ["perplexity", "memory"]])
def test_accuracy_needs_examples(metrics: list[str]) -> None:
    with pytest.raises(UserError, match="none are given"):
        benchmark("good.lora", metrics=metrics)


@pytest.mark.parametrize("metrics", [["acuracy"], []])
def test_unknown_metrics_are_refused(metrics: list[str], data: Path) -> None:
    with pytest.raises(UserError, match="metric"):
        benchmark("good.lora", metrics=metrics, test_file=data)
    with pytest.raises(UserError, match="metric"):
        ab_test("good.lora", "poor.lora", data, metrics=metrics)


def test_two_adapters_are_compared(data: Path, tmp_path: Path) -> None:
    picture = tmp_path / "ab.svg"
    record = ab_test("poor.lora", "good.lora", data, generate_limit=4, picture=picture).to_json()
    assert record["winner"] == "b"
    assert record["sentence"].startswith("B (good 1.0.0) is better (loss ")
    assert record["interval_of"] == "b - a"
    assert record["metrics"]["loss"]["interval"][1] < 0
    assert record["b_against_a"]["wins"] > record["b_against_a"]["losses"]
    assert record["speed"]["a"]["first_token"]["measured"] == 24
    assert record["memory"]["b"]["package"] == 5
    assert "b better" in picture.read_text()
    assert ab_test("good.lora", "poor.lora", data, generate_limit=0).winner == "a"


def test_an_adapter_against_itself_wins_nothing(data: Path) -> None:
    result = ab_test("good.lora", "good.lora", data, metrics=["accuracy"], generate_limit=0)
    assert result.winner is None
    assert result.sentence.startswith("No evidence that")
    assert "24 alike" in result.sentence
    assert set(result.to_json()) & {"speed", "memory"} == set()


def test_adapters_of_two_bases_are_not_compared(adapters: dict[str, Subject], data: Path) -> None:
    adapters["other"] = Subject(Path("other.lora"), manifest("other", "sha256:" + "1" * 64))
    with pytest.raises(UserError, match="belongs to"):
        ab_test("good.lora", "other.lora", data)


def test_a_picture_of_nothing_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="picture"):
        ab_test("good.lora", "poor.lora", data, metrics=["speed"], picture=tmp_path / "x.svg")
