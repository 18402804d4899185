"""A real package on a real (tiny, random) base, through the three workflows, from files to figures."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuralforge.adapter.manifest import BaseInfo, DataInfo, LoraInfo, Manifest
from neuralforge.adapter.package import pack, seal
from neuralforge.errors import TrustError
from neuralforge.models.base import BaseModel
from neuralforge.models.loading import load_base_model
from neuralforge.training.attach import LoraSettings, attach, save
from neuralforge.workflows.ab_test import ab_test
from neuralforge.workflows.benchmark import benchmark
from tests.tiny import save_tiny

workflow = importlib.import_module("neuralforge.workflows.test_adapter")
LINES = [f"    result = self.total + {number}\n" for number in range(40)]


@pytest.fixture(autouse=True)
def _quiet_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    torch.set_num_threads(1)


def make_package(base_folder: Path, target: Path, seed: int, digest: str | None = None) -> Path:
    """A packed adapter with random weights for the base in ``base_folder``."""
    base = load_base_model(str(base_folder), dtype="fp32")
    attach(base, LoraSettings(rank=2, alpha=4, target_modules=("q_proj", "v_proj")), seed=seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in base.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.3)
    folder = target.with_suffix("")
    save(base, folder)
    (folder / "training.yaml").write_text("model:\n  base: tiny\n")
    seal(folder, manifest(base, base_folder, target.stem, digest))
    pack(folder, target)
    return target


def manifest(base: BaseModel, base_folder: Path, name: str, digest: str | None) -> Manifest:
    return Manifest(
        name=name,
        version="1.0.0",
        created="2026-01-31T12:00:00Z",
        base=BaseInfo(str(base_folder), base.identity, digest or base.digest),
        lora=LoraInfo(rank=2, alpha=4.0, dropout=0.0, target_modules=("q_proj", "v_proj")),
        data=DataInfo(examples=3, languages={"python": 3}),
        training={"max_length": 96},
    )


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    save_tiny("llama", tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "test.jsonl"
    rows = [{"context": "".join(LINES[n : n + 3]), "completion": "".join(LINES[n + 3 : n + 5])} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_package_is_judged_and_measured(base_folder: Path, data: Path, tmp_path: Path) -> None:
    package = make_package(base_folder, tmp_path / "one.lora", seed=1)
    judged = workflow.test_adapter(package, test_file=data, generate_limit=3, report=tmp_path / "r.html")
    assert judged.verdict is not None
    assert judged.verdict.examples == 12
    assert judged.verdict.comparison.metrics["loss"].change != 0
    assert "one <small>1.0.0</small>" in (tmp_path / "r.html").read_text()

    measured = benchmark(package, test_file=data, generate_limit=3).to_json()
    assert measured["verdict"]["metrics"]["loss"] == judged.to_json()["verdict"]["metrics"]["loss"]
    assert measured["memory"]["package"] == package.stat().st_size

    shown = workflow.test_adapter(package.with_suffix("")).to_json()
    assert shown["verdict"] is None
    assert shown["completions"]


def test_two_packages_are_compared(base_folder: Path, data: Path, tmp_path: Path) -> None:
    one, two = (make_package(base_folder, tmp_path / f"{name}.lora", seed=n) for n, name in enumerate(("one", "two")))
    both = ab_test(one, two, data, generate_limit=2)
    turned = ab_test(two, one, data, metrics=["accuracy"], generate_limit=2)
    assert both.comparison is not None
    assert turned.comparison is not None
    assert both.comparison.metrics["loss"].change == pytest.approx(-turned.comparison.metrics["loss"].change, rel=1e-4)
    assert both.tally is not None
    assert turned.tally is not None
    assert replace(both.tally, wins=both.tally.losses, losses=both.tally.wins) == turned.tally


def test_a_package_for_another_base_is_refused(base_folder: Path, data: Path, tmp_path: Path) -> None:
    package = make_package(base_folder, tmp_path / "one.lora", seed=1, digest="sha256:" + "1" * 64)
    with pytest.raises(TrustError, match="was made for"):
        workflow.test_adapter(package, test_file=data)
