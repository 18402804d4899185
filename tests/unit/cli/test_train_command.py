"""The command alone: what it asks the workflow for, and what it makes of the answer."""

import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from neuralforge.cli.ask import suggested_name
from neuralforge.cli.commands.train import SETTINGS
from neuralforge.config.schema import SECTIONS, TrainConfig
from neuralforge.errors import Interrupted
from neuralforge.runs.events import Note, Phase


@dataclass
class FakeVerdict:
    outcome: str = "helps"
    sentence: str = "It helps."

    def to_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "outcome": self.outcome,
            "metrics": {"loss": {"base": 2.0, "adapter": 1.5, "interval": [-0.6, -0.4]}},
        }


@dataclass
class FakeResult:
    package: Path | None
    verdict: FakeVerdict | None
    run: Path
    report: Path | None = None
    plan: dict[str, Any] = field(default_factory=dict)


class Workflow:
    """Stands in for ``workflows.train``: keeps the configuration it was given, gives a prepared result."""

    def __init__(self, folder: Path) -> None:
        self.config: TrainConfig | None = None
        package = folder / "a.lora"
        package.write_bytes(b"12345")
        self.result = FakeResult(package, FakeVerdict(), folder / "run", folder / "report.html")
        self.failure: BaseException | None = None

    def train(self, config: TrainConfig, *, emit: Any) -> FakeResult:
        self.config = config
        emit(Phase("mine", "commits"))
        emit(Note("careful", "warning"))
        if self.failure:
            raise self.failure
        return self.result


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    fake = Workflow(tmp_path)
    module = types.ModuleType("neuralforge.workflows.train")
    module.train = fake.train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "neuralforge.workflows.train", module)
    return fake


VALUES = {
    "dataset.skip_bad": True,
    "lora.use_rslora": True,
    "lora.use_dora": True,
    "training.gradient_checkpointing": True,
    "training.low_memory": True,
    "training.completion_only_loss": True,
    "run.dry_run": True,
    "run.force": True,
    "run.wandb": True,
    "run.debug": True,
    "run.profile_memory": True,
    "run.track_gradients": True,
    "dataset.from_git": "repo",
    "dataset.train_file": Path("t.jsonl"),
    "dataset.sources": ("s",),
    "dataset.eval_file": Path("e.jsonl"),
    "dataset.languages": ("java", "js"),
    "dataset.since": "6 months ago",
    "dataset.until": "yesterday",
    "dataset.paths": ("src/*",),
    "dataset.patterns": ("*.java",),
    "dataset.max_examples": 11,
    "dataset.max_length": 128,
    "model.base": "some-base",
    "model.adapter_name": "named",
    "model.device": "cuda:1",
    "lora.rank": 3,
    "lora.alpha": 5.0,
    "lora.dropout": 0.25,
    "lora.target_modules": ("q_proj", "v_proj"),
    "lora.layers": 7,
    "training.learning_rate": 0.5,
    "training.scheduler": "linear",
    "training.epochs": 9,
    "training.batch_size": 2,
    "training.gradient_accumulation": 4,
    "training.seed": 42,
    "run.output": Path("o.lora"),
    "run.directory": Path("ckpt"),
    "run.resume": "old-run",
    "run.budget": "90s",
    "run.tensorboard": Path("logs"),
    "run.log_level": "ERROR",
}


@pytest.mark.parametrize("option", [name for name in SETTINGS if name not in ("fp16", "bf16")])
def test_every_option_reaches_its_setting_and_no_other(cli: Any, workflow: Workflow, option: str) -> None:
    key = SETTINGS[option]
    value = VALUES[key]
    flag = "--" + option.replace("_", "-")
    word = ",".join(value) if isinstance(value, tuple) else str(value)
    typed = [flag] if value is True else [flag, word]
    source = [] if option in ("from_git", "resume") else ["--from-git", "repo"]
    seen = cli("train", *typed, *source)
    assert seen.code == 0, seen.err
    section, _, name = key.partition(".")
    assert workflow.config is not None
    assert getattr(getattr(workflow.config, section), name) == (90.0 if key == "run.budget" else value)
    given = {(s, n) for s in SECTIONS for n in getattr(workflow.config, s).model_fields_set}
    follows = {("lora", "rank")} if option == "low_memory" else set()  # half the adapter
    assert given == {(section, name), *([("dataset", "from_git")] if source or option == "from_git" else []), *follows}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_precision_flags(cli: Any, workflow: Workflow, precision: str) -> None:
    assert cli("train", "--from-git", "repo", f"--{precision}").code == 0
    assert workflow.config is not None
    assert workflow.config.training.precision == precision


def test_a_bare_resume_means_the_newest_run(cli: Any, workflow: Workflow) -> None:
    for arguments in (["--resume"], ["--resume", "--log-level", "ERROR"]):
        assert cli("train", *arguments).code == 0
        assert workflow.config is not None
        assert workflow.config.run.resume == "latest"


@pytest.mark.parametrize("also", [["--epochs", "2"], ["--dry-run"], ["--preset", "quick"], ["--interactive"]])
def test_a_resumed_run_keeps_its_settings(cli: Any, workflow: Workflow, also: list[str]) -> None:
    seen = cli("train", "--resume", "run", *also)
    assert seen.code == 2
    assert also[0] in seen.err
    assert workflow.config is None


def test_json_is_one_document_and_all_else_is_on_stderr(cli: Any, workflow: Workflow) -> None:
    seen = cli("train", "--from-git", "repo", "--json")
    assert seen.json["verdict"]["sentence"] == "It helps."
    assert seen.json["package"].endswith("a.lora")
    assert seen.err == "mine: commits\nWarning: careful\n"


def test_the_result_for_people(cli: Any, workflow: Workflow) -> None:
    seen = cli("train", "--from-git", "repo")
    assert seen.out.startswith("It helps.\n")
    assert "-0.600 to -0.400" in seen.out
    assert "a.lora (5 B)" in seen.out
    assert "report.html" in seen.out


def test_a_plan_for_people(cli: Any, workflow: Workflow) -> None:
    workflow.result.verdict = None
    workflow.result.plan = {"steps": 1200, "total_seconds": 185.0, "peak_memory": 1.5e9, "note": "fits"}
    rows = [" ".join(row.split()) for row in cli("train", "--from-git", "repo", "--dry-run").out.splitlines()]
    assert rows[1:] == ["steps 1,200", "total seconds 3 min 05 s", "peak memory 1.5 GB", "note fits"]


def test_an_adapter_that_hurts_exits_with_8_unless_forced(cli: Any, workflow: Workflow) -> None:
    workflow.result.verdict = FakeVerdict("hurts", "It hurts.")
    seen = cli("train", "--from-git", "repo")
    assert seen.code == 8
    assert "It hurts." in seen.out
    assert cli("train", "--from-git", "repo", "--force").code == 0


def test_an_interrupted_run_says_how_to_go_on(cli: Any, workflow: Workflow) -> None:
    workflow.failure = Interrupted("Stopped at step 5.", "neuralforge train --resume run")
    seen = cli("train", "--from-git", "repo")
    assert seen.code == 130
    assert seen.err.endswith("Error: Stopped at step 5.\n Hint: neuralforge train --resume run\n")


def test_nothing_to_train_on(cli: Any) -> None:
    seen = cli("train")
    assert seen.code == 2
    assert "nothing to train on" in seen.err


def test_interactive_needs_a_terminal(cli: Any) -> None:
    seen = cli("train", "--interactive")
    assert seen.code == 2
    assert "not a terminal" in seen.err


def test_interactive_asks_only_for_what_is_missing(
    cli: Any, workflow: Workflow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def answer(question: str, default: str, err: bool) -> str:
        asked.append(question)
        return default

    (tmp_path / "my repo" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "my repo")
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("neuralforge.cli.ask.typer.prompt", answer)
    assert cli("train", "--interactive", "--base", "b").code == 0
    assert workflow.config is not None
    assert workflow.config.dataset.from_git == str(tmp_path / "my repo")
    assert workflow.config.model.adapter_name == "my-repo"
    assert workflow.config.model.base == "b"
    assert workflow.config.run.budget == 900
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://host/owner/repo.git", "repo"),
        ("/a/b c/", "b-c"),
        ("data.jsonl", "data"),
        ("C:\\x\\näme", "n-me"),
        ("/x/MyProject", "myproject"),
        ("///", "adapter"),
        ("x" * 99, "x" * 64),
    ],
)
def test_suggested_names_are_valid(source: str, name: str) -> None:
    assert suggested_name(source) == name
    TrainConfig.model_validate({"model": {"adapter_name": suggested_name(source)}})


def test_every_setting_of_the_table_exists() -> None:
    known = {f"{section}.{name}" for section, kind in SECTIONS.items() for name in kind.model_fields}
    assert set(SETTINGS.values()) - {"training.fp16", "training.bf16"} <= known
