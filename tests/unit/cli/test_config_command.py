from pathlib import Path
from typing import Any

import pytest
import yaml

from neuralforge.config.load import preset_names
from neuralforge.config.schema import TrainConfig


def test_show_says_where_values_come_from(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("lora:\n  rank: 4\n")
    monkeypatch.setenv("NEURALFORGE_TRAINING__SEED", "9")
    arguments = ["config", "show", "--config", path, "--preset", "quick", "--set", "training.epochs=2"]
    shown = cli(*arguments, "--json").json
    assert shown["lora.rank"] == {"value": 4, "from": f"{path}:2"}
    assert shown["training.seed"] == {"value": 9, "from": "NEURALFORGE_TRAINING__SEED"}
    assert shown["training.epochs"] == {"value": 2, "from": "--set training.epochs"}
    assert shown["run.budget"] == {"value": 120.0, "from": "preset quick:7"}
    assert shown["model.base"] == {"value": "smollm2-135m", "from": "default"}
    table = cli(*arguments).out
    assert f"{path}:2" in table
    assert len(table.splitlines()) == len(shown) + 1
    assert len(cli(*arguments, "--changed").out.splitlines()) == 1 + 6


def test_yaml_can_be_used_as_a_file(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(cli("config", "show", "--preset", "low-memory", "--yaml").out)
    assert yaml.safe_load(path.read_text())["training"]["low_memory"] is True
    assert cli("config", "validate", path).code == 0


def test_validate_names_everything_wrong(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("lora:\n  rnak: 4\ntraining:\n  epochs: 0\n")
    seen = cli("config", "validate", path)
    assert seen.code == 2
    assert "2 problems" in seen.err
    assert f"{path}:2: lora.rnak" in seen.err
    assert f"{path}:4: training.epochs" in seen.err


def test_presets(cli: Any) -> None:
    assert sorted(cli("config", "presets", "--json").json) == preset_names()
    assert all(name in cli("config", "presets").out for name in preset_names())
    assert yaml.safe_load(cli("config", "presets", "quick").out)["run"]["budget"] == "2m"
    assert cli("config", "presets", "nonsuch").code == 2


@pytest.mark.parametrize("setting", ["rank=4", "lora.rank", "=", "lora.rank 4"])
def test_set_needs_a_key_and_a_value(cli: Any, setting: str) -> None:
    assert cli("config", "show", "--set", setting).code == 2


def test_everything_shown_has_a_place_in_the_schema(cli: Any) -> None:
    keys = {key.partition(".")[0] for key in cli("config", "show", "--json").json}
    assert keys == set(TrainConfig.model_fields)
