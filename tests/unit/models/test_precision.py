"""Formats and devices."""

import pytest
import torch

from neuralforge.errors import UserError
from neuralforge.models import precision


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_names(name: str, dtype: torch.dtype) -> None:
    assert precision.choose_dtype(name, torch.device("cpu")) is dtype


@pytest.mark.parametrize(
    ("features", "platform", "dtype"),
    [
        ({"avx512f", "avx512_bf16"}, "linux", torch.bfloat16),
        ({"amx_bf16"}, "win32", torch.bfloat16),
        ({"avx2", "avx512f"}, "linux", torch.float32),
        ({"bf16"}, "linux", torch.bfloat16),
        ({"bf16"}, "darwin", torch.float32),
    ],
)
def test_the_fastest_is_by_instructions(
    features: set[str], platform: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_features", lambda: frozenset(features))
    monkeypatch.setattr(precision.sys, "platform", platform)
    assert precision.choose_dtype(None, torch.device("cpu")) is dtype


@pytest.mark.parametrize("name", ["fp8", "float32", ""])
def test_unknown_formats(name: str) -> None:
    with pytest.raises(UserError):
        precision.choose_dtype(name, torch.device("cpu"))


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cpu0", ""])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(UserError):
        precision.choose_device(name)
