"""``train`` from a repository's history to a judged package, on a tiny random base."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

from neuralforge import paths
from neuralforge.adapter.package import read_manifest, unpack
from neuralforge.config.load import load_config
from neuralforge.config.schema import TrainConfig
from neuralforge.errors import DataError, Interrupted, RunError, UserError
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Event, Finished, Note, Phase, Step
from neuralforge.workflows import test_adapter as judging
from neuralforge.workflows.train import TrainResult, train
from tests.tiny import save_tiny

VERBS = ("load", "store", "merge", "split", "count", "trim", "check", "draw", "send", "parse", "sort", "hash")
NOUNS = ("account", "picture", "message", "journal", "vector", "network", "table", "record", "packet", "letter")


def function(number: int) -> str:
    """A function that is nearly no other one."""
    verb, noun = VERBS[number % len(VERBS)], NOUNS[(number * 7) % len(NOUNS)]
    other, third = NOUNS[(number * 3 + 1) % len(NOUNS)], VERBS[(number * 5 + 2) % len(VERBS)]
    bodies = (
        f"if not {noun}:\n        raise ValueError('{verb} {noun}')\n    return {third}_{other}({noun})[{number}]",
        f"found = [one.{other} for one in {noun}]\n    {verb}ed = sorted(found)\n    return {verb}ed[:{number}]",
        f"with open({noun}.{other}) as handle:\n        {third} = handle.read({number})\n    return {third}.strip()",
        f"while {noun}.{third}() < {number}:\n        {noun} = {other}.{verb}({noun})\n    return {noun}",
    )
    return f"def {verb}_{noun}_{number}({noun}, {other}=None):\n    {bodies[number % 4]}\n\n\n"


@pytest.fixture(autouse=True)
def _quiet_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    torch.set_num_threads(1)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Sixteen commits, each of which writes three functions."""
    folder = tmp_path / "project"
    folder.mkdir()

    def git(*arguments: str, when: int = 0) -> None:
        date = f"{1_700_000_000 + 3_600 * when} +0000"
        person = {"NAME": "Ann", "EMAIL": "ann@example.org", "DATE": date}
        names = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
        subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **names}, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for commit in range(16):
        for part in range(3):
            path = folder / f"module_{part}.py"
            before = path.read_text() if path.exists() else "import os\n\n\n"
            path.write_text(before + function(3 * commit + part))
        git("add", "-A", when=commit)
        git("commit", "-q", "-m", f"Add {commit}", when=commit)
    return folder


@pytest.fixture
def settings(tmp_path: Path, repository: Path) -> Callable[..., TrainConfig]:
    """A small training of ``repository``; sections may be given to change it."""
    save_tiny("llama", tmp_path / "base")

    def make(**sections: dict[str, Any]) -> TrainConfig:
        small: dict[str, dict[str, Any]] = {
            "model": {"base": str(tmp_path / "base"), "device": "cpu"},
            "lora": {"rank": 2},
            "training": {"epochs": 2, "precision": "fp32", "batch_size": 4},
            "dataset": {"from_git": str(repository), "max_length": 128},
            "evaluation": {"generate_limit": 2},
            "run": {
                "output": str(tmp_path / "out" / "project.lora"),
                "directory": str(tmp_path / "run"),
                "force": True,
            },
        }
        for name, changes in sections.items():
            small[name] = {key: value for key, value in (small[name] | changes).items() if value is not ...}
        return TrainConfig.model_validate(small)

    return make


class Stop:
    """An ``Emit`` that interrupts at a step, as Ctrl-C would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step) and event.step == self.step:
            raise KeyboardInterrupt


def tensors(package: Path, into: Path) -> dict[str, Any]:
    unpack(package, into)
    return dict(load_file(into / "adapter_model.safetensors"))


def equal(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def package(result: TrainResult) -> Path:
    assert result.package is not None
    return result.package


def test_from_history_to_a_judged_package(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    events: list[Event] = []
    result = train(settings(), emit=events.append)
    assert package(result) == tmp_path / "out" / "project.lora"
    manifest = read_manifest(package(result))
    assert manifest.name == "project"
    assert manifest.data.examples > 10
    assert manifest.data.sources == ("git:project",)
    assert manifest.data.languages == {"python": manifest.data.examples}
    assert manifest.commits is not None
    assert manifest.commits.count > 5
    assert result.verdict is not None
    assert manifest.verdict == json.loads(json.dumps(result.verdict.to_json()))
    assert result.verdict.examples == manifest.data.held_out
    assert result.report is not None
    assert "<svg" in result.report.read_text()
    assert RunDirectory.open_existing(tmp_path / "run").state.outcome == "done"
    assert isinstance(events[-1], Finished)
    assert events[-1].outcome == "done"
    unpack(package(result), tmp_path / "open")
    assert manifest.base.name == "base"
    for part in (tmp_path / "open").iterdir():
        assert str(tmp_path).encode() not in part.read_bytes()


def test_a_local_base_is_found_again_by_its_digest(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    judged_on = tmp_path / "eval.jsonl"
    judged_on.write_text(json.dumps({"context": "import os\n\n\n", "completion": function(50)}) + "\n")
    result = train(settings())
    assert judging.test_adapter(package(result), test_file=judged_on, generate_limit=0).verdict is not None
    (tmp_path / "base").rename(tmp_path / "moved")
    with pytest.raises(UserError) as caught:
        judging.test_adapter(package(result), test_file=judged_on, generate_limit=0)
    assert "--base" in caught.value.hint
    assert judging.test_adapter(
        package(result), test_file=judged_on, generate_limit=0, base=str(tmp_path / "moved")
    ).verdict
    assert judging.test_adapter(package(result), test_file=judged_on, generate_limit=0).verdict


def test_nothing_held_out_was_trained_on(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    train(settings())
    rows = {
        name: [json.loads(line) for line in (tmp_path / "run" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "held-out")
    }
    commits = {name: {row["commit"] for row in some} for name, some in rows.items()}
    assert not commits["train"] & commits["held-out"]
    newest = max(row["author_time"] for row in rows["train"])
    assert all(row["author_time"] > newest for row in rows["held-out"])


def test_a_dry_run_leaves_no_run_and_no_package(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = settings(run={"dry_run": True})
    before = set(everything(tmp_path))
    result = train(config)
    new = set(everything(tmp_path)) - before
    known = ("home/models/digests/", "home/models/places.json")  # of the base, for the next time
    assert all(name in ("home", "home/models", "home/models/digests") or name.startswith(known) for name in new)
    assert result.package is None
    assert result.verdict is None
    assert result.plan["steps"] > 0
    assert result.plan["predicted_seconds"] > 0
    assert result.plan["predicted_memory"] > 2**20
    assert json.dumps(result.plan)


@pytest.mark.parametrize("step", [1, 4])
def test_interrupted_and_resumed_it_is_the_same_adapter(
    step: int, settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    whole = train(settings(run={"directory": str(tmp_path / "a"), "output": str(tmp_path / "a.lora")}))
    torn = settings(run={"directory": str(tmp_path / "b"), "output": str(tmp_path / "b.lora")})
    with pytest.raises(Interrupted) as stop:
        train(torn, emit=Stop(step))
    assert f"--resume {tmp_path / 'b'}" in stop.value.hint
    assert RunDirectory.open_existing(tmp_path / "b").state.outcome == "interrupted"
    assert not (tmp_path / "b.lora").exists()
    resumed = train(TrainConfig.model_validate({"run": {"resume": str(tmp_path / "b"), "force": True}}))
    assert package(resumed) == tmp_path / "b.lora"
    assert equal(tensors(package(whole), tmp_path / "x"), tensors(package(resumed), tmp_path / "y"))
    assert whole.verdict is not None
    assert resumed.verdict is not None
    assert whole.verdict.examples == resumed.verdict.examples


def test_the_newest_unfinished_run_is_found(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(settings(run={"directory": ...}), emit=Stop(2))
    damaged = paths.runs_home() / "damaged"
    damaged.mkdir()
    (damaged / "state.json").write_text("{")
    result = train(TrainConfig.model_validate({"run": {"resume": "latest", "force": True}}))
    assert package(result).exists()
    with pytest.raises(UserError, match="no unfinished run"):
        train(TrainConfig.model_validate({"run": {"resume": "latest"}}))
    with pytest.raises(UserError, match="is finished"):
        train(TrainConfig.model_validate({"run": {"resume": str(result.run)}}))


def test_resumed_it_learns_from_the_same_examples_whatever_became_of_the_repository(
    settings: Callable[..., TrainConfig], tmp_path: Path, repository: Path
) -> None:
    with pytest.raises(Interrupted):
        train(settings(), emit=Stop(2))
    repository.rename(tmp_path / "gone")
    result = train(TrainConfig.model_validate({"run": {"resume": str(tmp_path / "run"), "force": True}}))
    assert read_manifest(package(result)).data.sources == ("git:project",)


def test_a_second_run_in_the_same_directory_is_refused(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = settings(run={"output": str(tmp_path / "one.lora")})
    train(config)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises((UserError, RunError)) as failure:
        train(settings(run={"output": str(tmp_path / "two.lora")}))
    assert failure.value.hint
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    assert not (tmp_path / "two.lora").exists()


def test_a_run_in_use_cannot_be_resumed(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    def intrude(event: Event) -> None:
        if isinstance(event, Step) and event.step == 2:
            train(TrainConfig.model_validate({"run": {"resume": str(tmp_path / "run")}}))

    with pytest.raises(RunError, match=str(os.getpid())):
        train(settings(), emit=intrude)


def test_a_package_that_exists_is_not_overwritten(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    there = tmp_path / "there.lora"
    there.write_text("mine")
    with pytest.raises(UserError, match="exists"):
        train(settings(run={"output": str(there), "force": False}))
    assert there.read_text() == "mine"
    assert not (tmp_path / "run").exists()


def test_without_an_output_a_free_name_is_taken(settings: Callable[..., TrainConfig]) -> None:
    Path("project.lora").write_text("mine")
    result = train(settings(run={"output": ...}))
    assert package(result).name == "project-2.lora"
    assert Path("project.lora").read_text() == "mine"


def test_a_file_to_judge_on_replaces_the_split(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    for name, numbers in (("train", range(24)), ("eval", range(30, 36))):
        rows = [{"context": "import os\n\n\n", "completion": function(number)} for number in numbers]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"from_git": ..., "train_file": str(tmp_path / "train.jsonl"), "eval_file": str(tmp_path / "eval.jsonl")}
    result = train(settings(dataset=data))
    assert result.verdict is not None
    assert result.verdict.examples == 6
    manifest = read_manifest(package(result))
    assert manifest.name == "train"
    assert manifest.data.sources == ("jsonl:train.jsonl",)
    assert manifest.commits is None


def test_folders_and_files_can_be_sources_together(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    for number in range(4):
        (folder / f"s{number}.py").write_text("".join(function(60 + 4 * number + part) for part in range(4)))
    rows = [{"context": "import os\n\n\n", "completion": function(number)} for number in range(20)]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    named = [str(folder), f"jsonl:{tmp_path / 'more.jsonl'}"]
    result = train(settings(dataset={"from_git": ..., "sources": named}))
    assert read_manifest(package(result)).data.sources == ("files:scripts", "jsonl:more.jsonl")


def test_a_source_that_is_nothing_is_refused(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a folder nor a file"):
        train(settings(dataset={"from_git": ..., "sources": ["nowhere.jsonl"]}))
    assert not (tmp_path / "run").exists()


def test_too_little_to_learn_from_is_refused(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps({"context": "a\n", "completion": function(1)}) + "\n")
    with pytest.raises(DataError):
        train(settings(dataset={"from_git": ..., "train_file": str(tmp_path / "one.jsonl")}))
    assert not (tmp_path / "run").exists()


def test_few_examples_are_warned_of(settings: Callable[..., TrainConfig]) -> None:
    seen: list[Event] = []
    train(settings(run={"dry_run": True}), emit=seen.append)
    assert any(
        isinstance(event, Note) and event.level == "warning" and "fewer than 50" in event.message for event in seen
    )


def test_what_does_not_fit_is_counted_once(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    for name, numbers in (("train", range(24)), ("eval", range(30, 36))):
        rows = [{"context": "import os\n\n\n", "completion": function(number)} for number in numbers]
        long = range(100, 108) if name == "train" else range(110, 118)
        rows.append({"context": "", "completion": "".join(function(number) for number in long)})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"from_git": ..., "train_file": str(tmp_path / "train.jsonl"), "eval_file": str(tmp_path / "eval.jsonl")}
    seen: list[Event] = []
    train(settings(dataset=data, run={"dry_run": True}), emit=seen.append)
    told = [event.message for event in seen if isinstance(event, Note) and "do not fit" in event.message]
    assert told == [
        f"Left out of {what}: 1 examples that do not fit into 128 tokens." for what in ("training", "judging")
    ]


def test_a_length_beyond_the_base_is_refused(settings: Callable[..., TrainConfig]) -> None:
    with pytest.raises(UserError) as caught:
        train(settings(dataset={"max_length": 100_000}, run={"dry_run": True}))
    assert "positions" in caught.value.message


def test_a_length_up_to_the_base_is_trained_and_judged(settings: Callable[..., TrainConfig]) -> None:
    """A completion is written out wherever it ends, up to the last position."""
    result = train(settings(dataset={"max_length": 512}, evaluation={"generate_limit": 6}))
    assert result.verdict is not None


def test_odd_words_in_the_data_do_not_keep_it_from_being_packed(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    rows = [
        {
            "prefix": "import os\n\n\n",
            "middle": function(number),
            "metadata": {"commit": "r123", "author_time": 1_700_000_000 + number, "license": "Mine\nand mine alone"},
        }
        for number in range(24)
    ]
    (tmp_path / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = train(settings(dataset={"from_git": ..., "train_file": str(tmp_path / "odd.jsonl")}))
    manifest = read_manifest(package(result))
    assert manifest.commits is None
    assert manifest.data.licences == {"unknown": manifest.data.examples}


def test_the_recipe_can_be_repeated(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    result = train(settings(training={"warmup_steps": 2}))
    unpack(package(result), tmp_path / "open")
    again = load_config(tmp_path / "open" / "training.yaml").config
    assert again.training.warmup_steps == 2
    assert again.lora.rank == 2


def test_an_adapter_that_came_meanwhile_is_not_overwritten(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    def someone_else(event: Event) -> None:
        if isinstance(event, Step) and event.step == 1:
            (tmp_path / "out").mkdir(exist_ok=True)
            (tmp_path / "out" / "project.lora").write_text("somebody else's")

    result = train(settings(run={"force": False}), emit=someone_else)
    assert package(result) == tmp_path / "out" / "project-2.lora"
    assert (tmp_path / "out" / "project.lora").read_text() == "somebody else's"


def test_resumed_it_may_be_written_elsewhere(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(settings(), emit=Stop(2))
    again = settings(run={"resume": str(tmp_path / "run"), "directory": ..., "output": str(tmp_path / "other.lora")})
    assert package(train(again)) == tmp_path / "other.lora"
    assert not (tmp_path / "out" / "project.lora").exists()


def test_a_resumed_run_is_not_planned_again(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(settings(), emit=Stop(2))
    with pytest.raises(UserError):
        train(settings(run={"resume": str(tmp_path / "run"), "dry_run": True}))


def test_what_cannot_watch_is_said_before_anything_is_done(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError) as caught:
        train(settings(run={"tensorboard": str(tmp_path / "file")}))
    assert "TensorBoard" in caught.value.message
    assert not (tmp_path / "run").exists()


def test_too_little_memory_is_said_and_the_run_can_go_on(
    settings: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")

    with monkeypatch.context() as patch:
        patch.setattr("neuralforge.training.loop._update", greedy)
        with pytest.raises(RunError) as caught:
            train(settings())
    assert "--low-memory" in caught.value.hint
    assert RunDirectory.open_existing(tmp_path / "run").state.outcome == "failed"
    assert package(train(settings(run={"resume": str(tmp_path / "run"), "directory": ...}))).exists()


def test_epochs_bound_a_budget(settings: Callable[..., TrainConfig]) -> None:
    plan = train(settings(training={"epochs": 1}, run={"budget": 20.0, "dry_run": True})).plan
    assert plan["epochs"] == 1
    assert plan["steps"] == plan["most_steps"] == -(-plan["sequences"] // 4)


def test_a_budget_plans_what_fits_and_ends(settings: Callable[..., TrainConfig]) -> None:
    result = train(settings(run={"budget": 20.0}))
    assert package(result).exists()
    assert result.plan["training_seconds"] < 20
    assert result.plan["steps"] >= 1
    steps = read_manifest(package(result)).training["steps"]
    assert 1 <= steps <= result.plan["most_steps"]


def test_a_budget_survives_an_interruption(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(settings(run={"budget": 20.0}), emit=Stop(5))
    result = train(TrainConfig.model_validate({"run": {"resume": str(tmp_path / "run"), "force": True}}))
    assert package(result).exists()


@pytest.mark.parametrize("phase", ["load", "plan", "judge", "pack"])
def test_stopped_in_any_phase_it_goes_on_with_the_plan_it_would_have_had(
    phase: str, settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """A budget chooses what nobody set; what nobody set is still unset after an interruption."""

    def stop(event: Event) -> None:
        if isinstance(event, Phase) and event.name == phase:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        train(settings(run={"budget": 20.0}, evaluation={"generate_limit": ...}), emit=stop)
    result = train(TrainConfig.model_validate({"run": {"resume": str(tmp_path / "run"), "force": True}}))
    assert package(result).exists()
    assert result.plan["generate_limit"] == 0


def test_what_is_watched_is_recorded(settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    train(settings(run={"track_gradients": True, "profile_memory": True}))
    gradients = [json.loads(line) for line in (tmp_path / "run" / "gradients.jsonl").read_text().splitlines()]
    assert [row["step"] for row in gradients] == list(range(1, len(gradients) + 1))
    assert all(norm >= 0 for row in gradients for norm in row["norms"].values())
    memory = [json.loads(line) for line in (tmp_path / "run" / "memory.jsonl").read_text().splitlines()]
    assert any("weights" in row for row in memory)
    assert {"train", "judge"} <= {row["phase"] for row in memory}


@pytest.mark.parametrize("architecture", ["gpt2", "t5"])
def test_other_architectures_too(architecture: str, settings: Callable[..., TrainConfig], tmp_path: Path) -> None:
    save_tiny(architecture, tmp_path / "other")
    result = train(settings(model={"base": str(tmp_path / "other")}))
    assert result.verdict is not None
    assert package(result).exists()
