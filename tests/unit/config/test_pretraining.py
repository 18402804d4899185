"""Settings of ``pretrain``: sections within sections, lists of them, the guides' names, whose variable is whose."""

from pathlib import Path
from typing import Any

import pytest

from neuralforge.config.load import PRETRAINING, ConfigError, load_config, preset_names, preset_text, resolve
from neuralforge.config.pretraining import PretrainConfig


def resolved(tmp_path: Path, text: str, **options: Any) -> PretrainConfig:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return resolve(PRETRAINING, path, **options).config


def test_sections_within_sections_and_flags_into_them(tmp_path: Path) -> None:
    text = "model:\n  growth:\n    factor: 1.5\n    threshold: 0.5\n"
    config = resolved(tmp_path, text, flags={"model.growth.enabled": ("--growth", True)})
    assert (config.model.growth.enabled, config.model.growth.factor, config.model.growth.threshold) == (True, 1.5, 0.5)


def test_a_file_changes_single_keys_of_a_section_within_a_preset(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model:\n  growth: {warmup: 77}\n")
    growth = resolve(PRETRAINING, tmp_path / "c.yaml", preset="arbor-699m").config.model.growth
    assert (growth.enabled, growth.factor, growth.max, growth.warmup) == (True, 1.3, 1.3, 77)


def test_sources_are_a_list_of_sections(tmp_path: Path) -> None:
    text = "datasets:\n  - source: a.txt\n    filtering: {min_words: 3}\n  - source: b\n    name: two\n"
    config = resolved(tmp_path, text)
    assert [str(one.source) for one in config.datasets] == ["a.txt", "b"]
    assert config.datasets[0].filtering.min_words == 3


def test_the_guides_names_are_understood_and_do_not_contradict(tmp_path: Path) -> None:
    text = "training:\n  per_device_train_batch_size: 3\n  gradient_accumulation_steps: 5\n  eval_steps: 7\n"
    config = resolved(tmp_path, text)
    assert (config.training.batch_size, config.training.gradient_accumulation) == (3, 5)
    assert config.evaluation.eval_every == 7
    with pytest.raises(ConfigError, match="contradicts training"):
        resolved(tmp_path, "training:\n  per_device_train_batch_size: 3\n  batch_size: 4\n")


def test_each_command_has_its_own_variables() -> None:
    environment = {"NEURALFORGE_PRETRAIN_TRAINING__BATCH_SIZE": "3", "NEURALFORGE_LORA__RANK": "4"}
    assert resolve(PRETRAINING, environment=environment).config.training.batch_size == 3
    assert load_config(environment=environment).config.lora.rank == 4
    assert load_config(environment=environment).config.training.batch_size is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model:\n  growth:\n    factor: 0.5\n", "c.yaml:3: model.growth.factor"),
        ("model:\n  growth:\n    fator: 2\n", "model.growth.fator"),
        ("datasets:\n  - source: a\n  - name: b\n", "datasets[1].source"),
        ("datasets:\n  - source: a\n    filtering: {min_words: 9, max_words: 2}\n", "max_words is below min_words"),
        ("trianing:\n  epochs: 2\n", "trianing.epochs"),
        ("training:\n  epochz: 2\n", "did you mean training.epochs"),
        ("training:\n  warmup_steps: 3\n  warmup_ratio: 0.1\n", "keep one"),
        ("lora:\n  rank: 3\n", "lora.rank"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as failure:
        resolved(tmp_path, text)
    assert said in str(failure.value)


@pytest.mark.parametrize("name", preset_names(PRETRAINING))
def test_presets_say_what_they_are_for_and_resolve(name: str) -> None:
    assert preset_text(name, PRETRAINING).startswith("# ")
    assert resolve(PRETRAINING, preset=name).config.model.hidden_size >= 256
    assert name not in preset_names()
