import json
from typing import Any

import pytest

from neuralforge.adapter.manifest import LoraInfo
from neuralforge.adapter.peft_config import PeftConfig, check_agreement
from neuralforge.adapter.refusal import Refused
from neuralforge.adapter.tensors import LoraModule, Tensor

from .samples import peft_settings


def parsed(**changes: Any) -> PeftConfig:
    settings = peft_settings(base_model_name_or_path="smollm2-135m", **changes)
    return PeftConfig.from_bytes(json.dumps(settings).encode())


def test_what_peft_writes_is_understood_and_written_canonically() -> None:
    config = parsed(layers_to_transform=[1, 0], layers_pattern="layers")
    assert config.lora == LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj"), layers=(0, 1))
    assert PeftConfig.from_bytes(config.to_bytes()) == config
    assert parsed(target_modules=["q_proj", "v_proj"]).to_bytes() == parsed().to_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}},
        {"megatron_core": "evil.module"},
        {"megatron_config": {"x": 1}},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": False},
        {"loftq_config": {"bits": 4}},
        {"eva_config": {"rho": 2}},
        {"layer_replication": [[0, 2]]},
        {"modules_to_save": ["lm_head"]},
        {"rank_pattern": {"q_proj": 64}},
        {"alpha_pattern": {"q_proj": 64}},
        {"trainable_token_indices": [1]},
        {"bias": "all"},
        {"lora_bias": True},
        {"target_modules": "(a+)+$"},
        {"target_modules": ["(a+)+$"]},
        {"target_modules": ["a..b"]},
        {"layers_pattern": ".*"},
        {"exclude_modules": "x"},
        {"peft_type": "IA3"},
        {"task_type": "FEATURE_EXTRACTION"},
        {"r": 0},
        {"r": "4"},
        {"lora_alpha": True},
        {"use_dora": "yes"},
        {"custom_code": "x.py"},
        {"revision": "main"},
        {"peft_version": "1; rm"},
    ],
)
def test_whatever_is_more_than_lora_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        parsed(**changes)
    assert caught.value.reason == "adapter-config"
    assert next(iter(changes)) in caught.value.message


@pytest.mark.parametrize(
    "base", ["/etc/passwd", "../x", "a/../b", "~/x", "http://x.y", "C:\\x", "a//b", ".hidden", "a b", "x/.git"]
)
def test_the_base_is_a_name_and_no_path(base: str) -> None:
    settings = peft_settings(base_model_name_or_path=base)
    with pytest.raises(Refused, match="base_model_name_or_path"):
        PeftConfig.from_bytes(json.dumps(settings).encode())


def test_features_that_are_off_may_be_there() -> None:
    parsed(some_new_feature=None, another={}, third=False, fourth=[])


def test_a_misspelt_key_gets_a_suggestion() -> None:
    with pytest.raises(Refused, match="did you mean 'lora_dropout'"):
        parsed(lora_dropuot=0.1)


def modules(*names: str) -> dict[str, LoraModule]:
    tensor = Tensor("x", "F32", (4, 4), 0)
    return {name: LoraModule(name, tensor, tensor, None) for name in names}


BOTH = modules("model.layers.0.q_proj", "model.layers.1.v_proj")


def test_manifest_settings_and_tensors_agree() -> None:
    check_agreement(parsed(), LoraInfo(4, 8.0, 0.0, ("v_proj", "q_proj")), BOTH)
    check_agreement(parsed(), LoraInfo(4, 8.0, 0.0, ("v_proj", "q_proj"), layers=(0, 1)), BOTH)
    whole = parsed(target_modules=["layers.0.q_proj"])
    check_agreement(whole, LoraInfo(4, 8.0, 0.0, ("layers.0.q_proj",)), modules("model.layers.0.q_proj"))


@pytest.mark.parametrize(
    ("stated", "found", "said"),
    [
        (LoraInfo(8, 8.0, 0.0, ("q_proj", "v_proj")), BOTH, "rank"),
        (LoraInfo(4, 9.0, 0.0, ("q_proj", "v_proj")), BOTH, "alpha"),
        (LoraInfo(4, 8.0, 0.1, ("q_proj", "v_proj")), BOTH, "dropout"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj",)), BOTH, "target_modules"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj"), use_dora=True), BOTH, "use_dora"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj"), use_rslora=True), BOTH, "use_rslora"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj"), layers=(1,)), BOTH, "layer is not adapted"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj"), layers=(0, 1, 2)), BOTH, "layer 2 has no tensors"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj")), modules("model.layers.0.q_proj"), "'v_proj' has no tensors"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj")), {**BOTH, **modules("lm_head")}, "which is no target"),
        (LoraInfo(4, 8.0, 0.0, ("q_proj", "v_proj")), {**BOTH, **modules("my_q_proj")}, "which is no target"),
    ],
)
def test_contradictions(stated: LoraInfo, found: dict[str, LoraModule], said: str) -> None:
    with pytest.raises(Refused, match="contradicts itself") as caught:
        check_agreement(parsed(), stated, found)
    assert said in caught.value.message
