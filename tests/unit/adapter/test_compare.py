from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from neuralforge.adapter.compare import Change, diff
from neuralforge.adapter.manifest import BaseInfo
from neuralforge.workflows.adapters import diff_adapters

from .samples import BASE_DIGEST, tensors

Make = Callable[..., Path]


def test_an_adapter_does_not_differ_from_itself(package: Path, make_adapter: Make) -> None:
    found = diff_adapters(package, make_adapter())
    assert found.identical
    assert found.modules is not None
    assert [module.norm_difference for module in found.modules] == [0.0] * 4
    assert found.cosine == pytest.approx(1.0)
    assert found.norm_difference == 0.0


def test_norms_are_those_of_the_whole_matrices(make_adapter: Make) -> None:
    found = diff(make_adapter(seed=1), make_adapter(seed=2))
    assert found.modules is not None
    assert not found.identical
    stem = "base_model.model."
    a, b = tensors(1), tensors(2)
    for module in found.modules:
        first, second = (
            2.0 * each[f"{stem}{module.module}.lora_B.weight"].astype(float)
            @ each[f"{stem}{module.module}.lora_A.weight"].astype(float)
            for each in (a, b)
        )  # fmt: skip
        assert module.norm_a == pytest.approx(np.linalg.norm(first))
        assert module.norm_b == pytest.approx(np.linalg.norm(second))
        assert module.norm_difference == pytest.approx(np.linalg.norm(first - second))
        assert module.cosine == pytest.approx(np.sum(first * second) / np.linalg.norm(first) / np.linalg.norm(second))
    assert found.norm_a == pytest.approx(sum(module.norm_a**2 for module in found.modules) ** 0.5)


def test_manifest_and_settings_are_told_apart(make_adapter: Make) -> None:
    found = diff(make_adapter(), make_adapter(version="1.1.0", training={"learning_rate": 0.002, "epochs": 1}))
    assert Change("version", "1.0.0", "1.1.0") in found.manifest
    assert found.settings == (Change("training.learning_rate", 0.001, 0.002), Change("training.steps", 60, None))
    assert found.norm_difference == 0.0


def test_adapters_of_different_bases_have_no_common_weights(make_adapter: Make) -> None:
    found = diff(make_adapter(), make_adapter(base=BaseInfo("x", "x", BASE_DIGEST.replace("ab", "cd"))))
    assert found.modules is None
    assert found.cosine is None
