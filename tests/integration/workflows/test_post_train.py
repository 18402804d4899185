"""``neuralforge post-train``: whole weights and adapters, frozen layers, answers, kills, what cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from neuralforge.adapter.package import read_manifest
from neuralforge.cli.app import run
from neuralforge.config.load import POSTTRAINING, preset_names, preset_text, resolve
from neuralforge.config.posttraining import PostTrainConfig
from neuralforge.errors import RunError
from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.modeling import ArborForCausalLM
from neuralforge.runs.events import Event, Phase, Step
from neuralforge.tokens.tokenizer import train_tokenizer
from neuralforge.workflows.post_train import post_train
from tests.tiny import save_tiny

Call = Callable[..., tuple[int, str, str]]
TEXTS = [f"def f{n}(first):\n    return first + {n}\n" for n in range(200)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    (tmp_path / "code.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    answers = [{"instruction": f"What is {n}?", "output": f"It is {n}.\n"} for n in range(60)]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    torch.manual_seed(0)
    model = ArborForCausalLM(
        ArborConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=2, context_length=64, eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    model.expand_layer(1, 2.0)
    model.save_pretrained(tmp_path / "own")
    tokenizer.save_pretrained(tmp_path / "own")
    return tmp_path


@pytest.fixture
def call(folder: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    def called(*arguments: str) -> tuple[int, str, str]:
        code = run(["post-train", *arguments])
        return (code, *capfd.readouterr())

    return called


def settings(**changes: Any) -> PostTrainConfig:
    content: dict[str, Any] = {
        "model_path": "own",
        "datasets": [{"source": "code.jsonl"}],
        "training": {"max_seq_len": 32, "batch_size": 4, "learning_rate": 3e-3, "max_steps": 24},
        "evaluation": {"eval_every": 8, "windows": 4, "validation": 0.1},
        "run": {"save_dir": "more", "checkpoint_every_seconds": 1.0},
    }
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value} if isinstance(value, dict) else value
    return PostTrainConfig.model_validate(content)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def changed(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> set[str]:
    assert one.keys() == two.keys()
    return {name for name in one if not torch.equal(one[name], two[name])}


@pytest.mark.parametrize("lora", [False, True])
def test_it_learns_and_leaves_frozen_layers_alone(folder: Path, lora: bool) -> None:
    rate = {"learning_rate": 2e-2} if lora else {}
    made = post_train(
        settings(training_type="domain_adapt", freeze_layers=[0, 2], lora={"enabled": lora}, training=rate)
    )
    assert made.before is not None
    assert made.after is not None
    assert made.after < 0.97 * made.before
    found = changed(weights(folder / "own"), weights(folder / "more"))
    assert any(name.startswith("model.layers.1.") for name in found)
    assert not [name for name in found if name.startswith(("model.layers.0.", "model.layers.2."))]
    assert ("model.embed_tokens.weight" in found) is not lora
    model = AutoModelForCausalLM.from_pretrained(folder / "more")
    assert model.config.intermediate_sizes == [48, 96, 48]
    assert json.loads((folder / "more" / "post-training.json").read_text())["settings"]["freeze_layers"] == [0, 2]


def test_an_adapter_that_is_not_merged_is_a_package(folder: Path, call: Call) -> None:
    made = post_train(settings(lora={"enabled": True, "merge": False, "rank": 4}, run={"save_dir": "a.lora"}))
    manifest = read_manifest(made.output)
    assert (manifest.lora.rank, manifest.base.name, manifest.verdict) == (4, "own", None)
    assert run(["generate", "--model", "own", "--adapter", "a.lora", "--prompt", "def", "--max-tokens", "3"]) == 0


def test_of_answers_only_the_answers_are_learned(folder: Path) -> None:
    seen: list[Event] = []
    made = post_train(
        settings(training_type="instruct", datasets=[{"source": "answers.jsonl"}], training={"max_seq_len": 64}),
        emit=seen.append,
    )
    assert made.after is not None
    assert made.before is not None
    assert made.after < made.before
    assert any(isinstance(one, Phase) and "56 sequences" in (one.detail or "") for one in seen)


@pytest.mark.parametrize("changes", [{}, {"lora": {"enabled": True}}, {"training_type": "instruct"}], ids=str)
def test_killed_it_goes_on_to_the_same_bits(folder: Path, changes: dict[str, Any]) -> None:
    if "training_type" in changes:
        changes = {**changes, "datasets": [{"source": "answers.jsonl"}], "training": {"max_seq_len": 64}}
    post_train(settings(**changes, run={"save_dir": "whole"}))

    def killer(event: Event) -> None:
        if isinstance(event, Step) and event.step == 11:
            raise MemoryError

    with pytest.raises(RunError, match="memory"):
        post_train(settings(**changes, run={"save_dir": "torn", "directory": "run"}), emit=killer)
    post_train(PostTrainConfig.model_validate({"run": {"resume": "run"}}))
    assert not changed(weights(folder / "whole"), weights(folder / "torn"))
    told = [json.loads((folder / name / "post-training.json").read_text()) for name in ("whole", "torn")]
    assert told[0]["id"] != told[1]["id"]


def test_the_command_says_what_it_did(call: Call) -> None:
    code, out, err = call(
        "--model", "own", "--type", "fine_tune", "--data", "code.jsonl", "--max-seq-len", "32", "--max-steps", "8",
        "--validation", "0.1", "--prompt", "def f", "--eval-every", "4", "--save-dir", "more", "--json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert (told["type"], told["steps"]) == ("fine_tune", 8)
    assert told["validation_loss"]["after"] < told["validation_loss"]["before"]
    assert "sample: def f" in err
    assert call("--resume", told["run"])[0] != 0  # it is finished


def test_a_budget_is_planned_for(folder: Path) -> None:
    made = post_train(settings(training={"max_steps": None, "epochs": 1000}, run={"budget": 12.0}))
    assert made.steps >= 4
    assert (made.run / "plan.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--data"),
        (("--data", "code.jsonl"), 2, "--model"),
        (("--model", "own", "--data", "gone.txt"), 3, "gone.txt"),
        (("--model", "nowhere", "--data", "code.jsonl"), 2, "nowhere"),
        (("--model", "own", "--data", "code.jsonl", "--type", "instruckt"), 2, "did you mean instruct"),
        (("--model", "own", "--data", "code.jsonl", "--freeze-layers", "3"), 2, "0 to 2"),
        (("--model", "own", "--data", "code.jsonl", "--freeze-layers", "0,1,2"), 2, "Every layer"),
        (("--model", "own", "--data", "code.jsonl", "--freeze-layers", "first"), 2, "layer numbers"),
        (("--model", "own", "--data", "code.jsonl", "--max-seq-len", "4096"), 2, "positions"),
        (("--model", "own", "--data", "code.jsonl", "--save-dir", "own"), 2, "already exists"),
        (("--model", "own", "--data", "code.jsonl", "--lora", "--no-merge", "--save-dir", "x"), 2, ".lora"),
        (("--model", "t5", "--data", "code.jsonl", "--max-seq-len", "32"), 2, "encoder-decoder"),
        (("--model", "own", "--data", "code.jsonl", "--rank", "0"), 2, "lora.rank"),
        (("--resume", "nowhere"), 4, "nowhere"),
        (("--resume", "nowhere", "--type", "instruct"), 2, "--resume"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_trained_is_refused_before_any_work(
    call: Call, folder: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    save_tiny("t5", folder / "t5")
    before = sorted(path.name for path in folder.iterdir() if path.name != "home")
    found, _, err = call(*words)
    assert found == code, err
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert sorted(path.name for path in folder.iterdir() if path.name != "home") == before
    assert not list((folder / "home").glob("runs/*"))


@pytest.mark.parametrize(
    ("content", "said"),
    [("def f(): pass\n", "fewer than one window"), ("", "empty")],
)
def test_too_little_text_is_said(call: Call, folder: Path, content: str, said: str) -> None:
    (folder / "short.txt").write_text(content)
    code, _, err = call("--model", "own", "--data", "short.txt", "--max-seq-len", "64")
    assert code == 3
    assert said in err
    assert not (folder / "post-trained").exists()


def test_answers_in_a_text_file_are_no_answers(call: Call, folder: Path) -> None:
    (folder / "plain.txt").write_text("not JSON\n")
    code, _, err = call("--model", "own", "--data", "plain.txt", "--type", "instruct", "--max-seq-len", "64")
    assert code == 3
    assert "line 1" in err


@pytest.mark.parametrize("name", preset_names(POSTTRAINING))
def test_presets_train(folder: Path, name: str) -> None:
    assert preset_text(name, POSTTRAINING).startswith("# ")
    data = "answers.jsonl" if name == "instruct" else "code.jsonl"
    flags = {
        "model_path": ("--model", "own"),
        "datasets": ("--data", [{"source": data}]),
        "training.max_seq_len": ("--max-seq-len", 64),
        "training.max_steps": ("--max-steps", 3),
        "run.save_dir": ("--save-dir", "more"),
    }
    made = post_train(resolve(POSTTRAINING, preset=name, flags=flags).config)
    assert made.steps == 3
    assert (folder / "more" / "config.json").exists()
