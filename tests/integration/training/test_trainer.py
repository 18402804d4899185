"""``LoRATrainer`` as a program of one's own would use it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from neuralforge.adapter.package import inspect, unpack
from neuralforge.data.records import Example
from neuralforge.errors import DataError, UserError
from neuralforge.models import load_base_model
from neuralforge.models.base import causal
from neuralforge.training import CosineScheduler, LoRATrainer
from neuralforge.training.attach import attach_adapter
from tests.tiny import save_tiny, tiny_base

ROWS = [{"context": f"def f{n}(a):\n    ", "completion": f"return a + {n}\n"} for n in range(20)]


@pytest.fixture(autouse=True)
def _quiet_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEURALFORGE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    save_tiny("llama", tmp_path / "base")
    for name, rows in (("train", ROWS[:14]), ("eval", ROWS[14:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "base"


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    out: torch.Tensor = model.eval()(input_ids=torch.arange(2, 22).unsqueeze(0)).logits
    return out


def test_from_files_to_a_package_that_peft_loads(base_folder: Path, tmp_path: Path) -> None:
    model = load_base_model(str(base_folder), dtype="fp32")
    trainer = LoRATrainer(model=model, rank=8, alpha=16, target_modules=["q_proj", "v_proj"])
    result = trainer.train(train_dataset="train.jsonl", eval_dataset="eval.jsonl", epochs=3, batch_size=8)
    assert result.state.step <= 6
    assert trainer.save_adapter("my-adapter.lora") == Path("my-adapter.lora")
    assert [path.name for path in tmp_path.glob(".packing*")] == []

    manifest = unpack(Path("my-adapter.lora"), tmp_path / "open")
    assert (manifest.lora.rank, manifest.lora.alpha) == (8, 16.0)
    assert manifest.lora.target_modules == ("q_proj", "v_proj")
    assert manifest.base.digest == model.digest
    assert manifest.data.examples == 14
    assert manifest.training["steps"] == result.state.step
    assert inspect(tmp_path / "open").manifest == manifest

    import peft
    from transformers import AutoModelForCausalLM

    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_folder), tmp_path / "open")
    torch.testing.assert_close(logits(theirs), logits(model.model))
    again = load_base_model(str(base_folder), dtype="fp32")
    attach_adapter(again, tmp_path / "open")
    assert torch.equal(logits(again.model), logits(model.model))


def test_accumulation_and_a_schedule_of_ones_own(base_folder: Path) -> None:
    model = load_base_model(str(base_folder), dtype="fp32")
    trainer = LoRATrainer(model=model, gradient_accumulation_steps=4, batch_size=2)
    scheduler = CosineScheduler(base_lr=0.0001, warmup_steps=100, total_steps=1000)
    rates: list[float] = []
    trainer.emit = lambda event: rates.append(event.learning_rate) if hasattr(event, "learning_rate") else None
    result = trainer.train("train.jsonl", lr_scheduler=scheduler, epochs=2)
    assert result.state.step == 4
    assert rates == pytest.approx([1e-6, 2e-6, 3e-6, 4e-6])


def test_half_precision_with_scaled_gradients(base_folder: Path) -> None:
    model = load_base_model(str(base_folder), dtype="fp32")
    trainer = LoRATrainer(model=model, fp16=True, gradient_scaling=True, batch_size=8)
    result = trainer.train("train.jsonl", epochs=1)
    assert model.model.get_base_model().dtype == torch.float16
    assert result.state.step == 2


def test_examples_in_memory_will_do() -> None:
    trainer = LoRATrainer(tiny_base("gpt2"), rank=2, epochs=1, batch_size=4)
    trainer.train([Example("a =", f" {n}\n") for n in range(4)])
    assert trainer.manifest("x").training["steps"] == 1


def test_the_same_settings_give_the_same_package_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        trainer = LoRATrainer(tiny_base("llama"), rank=2, epochs=2, seed=4)
        trainer.train([Example("a =", f" {n}\n") for n in range(9)])
        trainer.save_adapter(tmp_path / f"{name}.lora")
        unpack(tmp_path / f"{name}.lora", tmp_path / name)
    one, two = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_validation_decides_the_weights_without_any_store() -> None:
    """Learning the examples by heart at a rate far too high ruins the validation: the first steps are kept."""
    events: list[Any] = []
    base = tiny_base("llama")
    trainer = LoRATrainer(base, rank=4, emit=events.append, learning_rate=0.3, scheduler="constant")
    rows = [Example(f"def f{n}(a):\n    ", f"return a + {n}\n") for n in range(12)]
    result = trainer.train(rows[:8], rows[8:], epochs=20, batch_size=4, eval_every=1, early_stopping_patience=3)
    losses = {event.step: event.loss for event in events if hasattr(event, "best")}
    assert result.state.best_step == min(losses, key=lambda step: losses[step])
    from neuralforge.tokens.encoding import encode
    from neuralforge.training.scoring import score

    scored = score(base, encode(rows[8:], base, max_length=512))
    mean = sum(one.nll.sum() for one in scored) / sum(len(one.nll) for one in scored)
    assert float(mean) == pytest.approx(losses[result.state.best_step], rel=1e-4)


@pytest.mark.parametrize("lean", [{"gradient_checkpointing": True}, {"low_memory": True}], ids=str)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "t5"])
def test_saving_memory_changes_what_is_learned_by_rounding_only(architecture: str, lean: dict[str, Any]) -> None:
    rows = [Example(f"def f{n}(a):\n    ", f"return a + {n}\n") for n in range(8)]
    found = []
    for options in ({}, lean):
        base = tiny_base(architecture)
        for module in base.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        trainer = LoRATrainer(base, rank=2, epochs=1, int8=False, **options)
        found.append([loss for _, loss in trainer.train(rows, batch_size=4).losses])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_settings_given_to_train_count_as_if_given_at_once() -> None:
    rows = [Example(f"def f{n}(a):\n    ", f"return a + {n}\n") for n in range(8)]
    trainer = LoRATrainer(tiny_base("llama"), rank=2, epochs=1)
    trainer.train(rows, batch_size=4, gradient_checkpointing=True)
    assert (trainer.settings.round_steps, trainer.settings.learning_rate) == (1, 1.5e-3)
    assert causal(trainer.base).is_gradient_checkpointing
    with pytest.raises(UserError, match="int8"):
        LoRATrainer(tiny_base("gpt2"), rank=2).train(rows, int8=True)


def test_a_second_trainer_starts_from_the_plain_base() -> None:
    base = tiny_base("llama")
    rows = [Example("a =", f" {n}\n") for n in range(6)]
    losses = []
    for _ in range(2):
        trainer = LoRATrainer(base, rank=2, epochs=2, learning_rate=0.01)
        losses.append([loss for _, loss in trainer.train(rows).losses])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "options",
    [
        {"fp16": True, "bf16": True},
        {"epoch": 3},
        {"target_modules": ["nothing"]},
        {"layers": 9},
        {"int8": True, "use_dora": True},
        {"int8": True, "fp16": True},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError) as failure:
        LoRATrainer(tiny_base("llama"), **options)
    assert failure.value.hint


def test_batch_rate_and_rounds_are_chosen_together() -> None:
    """One sequence a step, two of them at a time, where the fused network runs; else two sequences a step."""
    for options, batch, together, rate in (
        ({}, 1, 2, 1e-3),
        ({"dropout": 0.1}, 2, 1, 1.5e-3),
        ({"batch_size": 8}, 8, 1, 1.5e-3),
        ({"gradient_accumulation": 4}, 1, 1, 1.5e-3),
        ({"parallel_steps": 1, "learning_rate": 0.5}, 1, 1, 0.5),
    ):
        settings = LoRATrainer(tiny_base("llama"), **options).settings
        assert (settings.batch_size, settings.round_steps, settings.learning_rate) == (batch, together, rate)


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(DataError):
        LoRATrainer(tiny_base("llama")).train([])


def test_a_package_has_its_ending_and_a_missing_folder_is_made(tmp_path: Path) -> None:
    trainer = LoRATrainer(tiny_base("llama"), rank=2)
    with pytest.raises(UserError, match=r"\.lora"):
        trainer.save_adapter(tmp_path / "a.zip")
    assert trainer.save_adapter(tmp_path / "new" / "a.lora").exists()
