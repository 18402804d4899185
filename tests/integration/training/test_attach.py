"""Adapters on and off a base: fresh ones, stored ones, and ones that do not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from neuralforge.errors import TrustError, UserError
from neuralforge.models.base import BaseModel
from neuralforge.training.attach import LoraSettings, attach, attach_adapter, detach, save
from tests.tiny import ARCHITECTURES, tiny_base

IDS = torch.arange(2, 22).unsqueeze(0)
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@torch.no_grad()
def logits(base: BaseModel) -> torch.Tensor:
    base.model.eval()
    more = {"decoder_input_ids": IDS} if base.encoder_decoder else {}
    out: torch.Tensor = base.model(input_ids=IDS, **more).logits
    return out


def shaken(base: BaseModel, settings: LoraSettings) -> None:
    attach(base, settings)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in base.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("change", [{}, {"rslora": True}, {"dora": True}, {"layers": 1}], ids=str)
def test_a_saved_adapter_comes_back_with_the_same_logits(
    architecture: str, change: dict[str, Any], tmp_path: Path
) -> None:
    base = tiny_base(architecture)
    plain = logits(base)
    shaken(base, LoraSettings(rank=4, alpha=8, **change))
    expected = logits(base)
    save(base, tmp_path / "a")
    assert not torch.allclose(expected, plain)

    other = tiny_base(architecture)
    assert attach_adapter(other, tmp_path / "a") == []
    assert torch.equal(logits(other), expected)
    assert not any(parameter.requires_grad for parameter in other.model.parameters())
    detach(other)
    assert not hasattr(other.model, "peft_config")
    assert torch.equal(logits(other), plain)


def test_a_fresh_adapter_changes_nothing_and_depends_on_its_seed_alone() -> None:
    base = tiny_base("llama")
    plain = logits(base)
    torch.manual_seed(8)
    state = torch.get_rng_state()
    one = [parameter.detach().clone() for parameter in attach(base, LoraSettings(), seed=1)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits(base), plain)
    detach(base)
    two = attach(base, LoraSettings(), seed=1)
    assert all(torch.equal(left, right) for left, right in zip(one, two, strict=True))
    detach(base)
    three = attach(base, LoraSettings(), seed=2)
    assert not all(torch.equal(left, right) for left, right in zip(one, three, strict=True))


def test_adapter_weights_are_fp32_on_a_base_of_16_bits(tmp_path: Path) -> None:
    base = tiny_base("llama")
    base.model.to(torch.bfloat16)
    learned = attach(base, LoraSettings(rank=2))
    assert {parameter.dtype for parameter in learned} == {torch.float32}
    save(base, tmp_path / "a")
    assert {tensor.dtype for tensor in load_file(tmp_path / "a" / WEIGHTS).values()} == {torch.float32}


def test_a_trainable_adapter_learns_and_the_base_does_not(tmp_path: Path) -> None:
    base = tiny_base("llama")
    shaken(base, LoraSettings(rank=2))
    save(base, tmp_path / "a")
    learned = attach_adapter(base, tmp_path / "a", trainable=True)
    assert learned
    names = {name for name, parameter in base.model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in names)
    assert len(names) == len(learned)


def test_the_saved_configuration_names_no_place_on_this_machine(tmp_path: Path) -> None:
    base = tiny_base("llama")
    base.model.name_or_path = base.model.config._name_or_path = str(tmp_path / "secret")
    attach(base, LoraSettings(rank=2))
    save(base, tmp_path / "a")
    written = (tmp_path / "a" / "adapter_config.json").read_text()
    assert json.loads(written)["base_model_name_or_path"] == base.identity
    assert str(tmp_path) not in written


@pytest.mark.parametrize(("layers", "expected"), [("all", {0, 1}), ("upper-half", {1}), (1, {1}), (2, {0, 1})])
def test_layers_are_counted_from_the_top(layers: str | int, expected: set[int]) -> None:
    base = tiny_base("llama")
    attach(base, LoraSettings(rank=2, layers=layers))
    names = [name for name, parameter in base.model.named_parameters() if parameter.requires_grad]
    assert {int(name.split(".layers.")[1].split(".")[0]) for name in names} == expected


@pytest.mark.parametrize(
    "settings",
    [LoraSettings(layers=3), LoraSettings(layers=0), LoraSettings(target_modules=("nothing",))],
    ids=["too many layers", "no layer", "no such module"],
)
def test_what_does_not_fit_the_base_is_refused(settings: LoraSettings) -> None:
    base = tiny_base("llama")
    plain = logits(base)
    with pytest.raises(UserError) as failure:
        attach(base, settings)
    assert failure.value.hint
    assert not hasattr(base.model, "peft_config")
    assert torch.equal(logits(base), plain)


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop(sorted(tensors)[0])


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight"] = torch.zeros(2, 32)


def _rename(tensors: dict[str, torch.Tensor]) -> None:
    first = sorted(tensors)[0]
    tensors[first.replace("layers", "strata")] = tensors.pop(first)


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    first = sorted(tensors)[0]
    tensors[first] = tensors[first].T.contiguous()


@pytest.mark.parametrize("spoil", [_drop, _add, _rename, _reshape])
def test_tensors_that_do_not_fit_are_refused_and_the_base_stays_plain(
    spoil: Callable[[dict[str, torch.Tensor]], None], tmp_path: Path
) -> None:
    base = tiny_base("llama")
    plain = logits(base)
    shaken(base, LoraSettings(rank=2))
    save(base, tmp_path / "a")
    tensors = load_file(tmp_path / "a" / WEIGHTS)
    spoil(tensors)
    save_file(tensors, tmp_path / "a" / WEIGHTS)
    with pytest.raises(TrustError, match="does not fit the base"):
        attach_adapter(base, tmp_path / "a")
    assert not hasattr(base.model, "peft_config")
    assert torch.equal(logits(base), plain)
    assert not any("lora" in name for name, _ in base.model.named_modules())


def test_an_adapter_of_another_architecture_is_refused_and_the_base_stays_plain(tmp_path: Path) -> None:
    gpt2 = tiny_base("gpt2")
    shaken(gpt2, LoraSettings(rank=2))
    save(gpt2, tmp_path / "a")
    base = tiny_base("llama")
    plain = logits(base)
    with pytest.raises(TrustError):
        attach_adapter(base, tmp_path / "a")
    assert not hasattr(base.model, "peft_config")
    assert torch.equal(logits(base), plain)


def _no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def _torn_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:40])


def _no_json(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def _another_method(folder: Path) -> None:
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"peft_type": "LOHA"}))


def _rank_nought(folder: Path) -> None:
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"r": 0}))


@pytest.mark.parametrize("spoil", [_no_weights, _torn_weights, _no_json, _another_method, _rank_nought])
def test_a_damaged_folder_is_refused(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    base = tiny_base("llama")
    shaken(base, LoraSettings(rank=2))
    save(base, tmp_path / "a")
    spoil(tmp_path / "a")
    detach(base)
    plain = logits(base)
    with pytest.raises(TrustError):
        attach_adapter(base, tmp_path / "a")
    assert not hasattr(base.model, "peft_config")
    assert torch.equal(logits(base), plain)
