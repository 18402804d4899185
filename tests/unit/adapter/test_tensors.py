import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from neuralforge.adapter.refusal import Refused
from neuralforge.adapter.tensors import check_finite, load, lora_modules, read_header

from .samples import RANK, tensors

STEM = "base_model.model.model.layers.0.self_attn.q_proj"


def written(folder: Path, header: Any, body: bytes = b"", length: int | None = None) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + body)
    return path


def entry(shape: list[Any], start: int, stop: int, dtype: str = "F32", **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop], **more}


def test_what_the_library_writes_is_read_with_its_values(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for dtype in (np.float64, np.float32, np.float16):
        expected = tensors(3, dtype)
        path.write_bytes(save(expected, metadata={"format": "pt"}))
        found = read_header(path)
        assert found.keys() == expected.keys()
        check_finite(path, found)
        for name, tensor in found.items():
            np.testing.assert_array_equal(load(path, tensor), expected[name].astype(np.float64))
        assert len(lora_modules(found, RANK, use_dora=False)) == 4


@given(values=st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_bfloat16_is_the_upper_half_of_float32(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    halves = (np.array(values, dtype="<f4").view("<u4") >> 16).astype("<u2")
    body = halves.tobytes()
    path = written(tmp_path_factory.mktemp("t"), {"x": entry([len(values)], 0, len(body), "BF16")}, body)
    expected = (halves.astype("<u4") << 16).view("<f4").astype(np.float64)
    np.testing.assert_array_equal(load(path, read_header(path)["x"]), expected)


HOSTILE: list[tuple[str, Any, bytes, int | None]] = [
    ("tensor-header", {}, b"", 1 << 62),
    ("tensor-header", {}, b"", (16 << 20) + 1),
    ("tensor-header", {}, b"", 3),
    ("tensor-header", [], b"", None),
    ("tensor-header", b"{]", b"", None),
    ("tensor-header", b'{"a": {}, "a": {}}', b"", None),
    ("tensor-header", b"[" * 9999, b"", None),
    ("tensor-header", {"a": {"dtype": "F32"}}, b"", None),
    ("tensor-header", {"a": entry([1], 0, 4, extra=1)}, b"1234", None),
    ("tensor-header", {"a": entry([-1], 0, 4)}, b"1234", None),
    ("tensor-header", {"a": entry([0], 0, 0)}, b"", None),
    ("tensor-header", {"a": entry([True], 0, 4)}, b"1234", None),
    ("tensor-header", {"a": entry([1.0], 0, 4)}, b"1234", None),
    ("tensor-header", {"a": entry([1 << 50], 0, 4)}, b"1234", None),
    ("tensor-header", {"a": entry([1] * 9, 0, 4)}, b"1234", None),
    ("tensor-header", {"a": entry([], 0, 4)}, b"1234", None),
    ("tensor-header", {"a": entry([1], 0, 4)}, b"123", None),
    ("tensor-header", {"a": entry([1], 0, 4)}, b"12345", None),
    ("tensor-header", {"a": entry([1], 4, 8)}, b"12345678", None),
    ("tensor-header", {"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"1234", None),
    ("tensor-header", {"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, b"12345678", None),
    ("tensor-header", {"__metadata__": {"format": 3}}, b"", None),
    ("tensor-shape", {"a": entry([2], 0, 4)}, b"1234", None),
    ("tensor-shape", {"a": entry([1], 4, 0)}, b"1234", None),
    ("tensor-type", {"a": entry([4], 0, 4, "U8")}, b"1234", None),
    ("tensor-type", {"a": entry([1], 0, 4, "I32")}, b"1234", None),
    ("tensor-type", {"a": entry([4], 0, 4, "F8_E4M3")}, b"1234", None),
    ("tensor-type", {"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, b"1234", None),
]


@pytest.mark.parametrize(("reason", "header", "body", "length"), HOSTILE)
def test_hostile_headers(tmp_path: Path, reason: str, header: Any, body: bytes, length: int | None) -> None:
    with pytest.raises(Refused) as caught:
        read_header(written(tmp_path, header, body, length))
    assert caught.value.reason == reason


def test_a_file_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1234")
    with pytest.raises(Refused, match="too short"):
        read_header(tmp_path / "x")


def saved(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / "m.safetensors"
    path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in values.items()}))
    return path


A, B = np.ones((RANK, 6), np.float32), np.ones((5, RANK), np.float32)


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("tensor-name", {}),
        ("tensor-name", {"weight": A}),
        ("tensor-name", {f"{STEM}.lora_A.default.weight": A, f"{STEM}.lora_B.weight": B}),
        ("tensor-name", {f"other.{STEM}.lora_A.weight": A}),
        ("tensor-name", {"base_model.model...lora_A.weight": A}),
        ("tensor-name", {f"{STEM}/../x.lora_A.weight": A}),
        ("tensor-name", {f"{STEM}.lora_A.weight": A}),
        ("tensor-name", {f"{STEM}.lora_A.weight": A, f"{STEM}.lora_B.weight": B, f"{STEM}.lora_magnitude_vector": A}),
        ("tensor-shape", {f"{STEM}.lora_A.weight": A[:3], f"{STEM}.lora_B.weight": B}),
        ("tensor-shape", {f"{STEM}.lora_A.weight": A, f"{STEM}.lora_B.weight": B[:, :3]}),
        ("tensor-shape", {f"{STEM}.lora_A.weight": A.T, f"{STEM}.lora_B.weight": B}),
        ("tensor-shape", {f"{STEM}.lora_A.weight": A[0], f"{STEM}.lora_B.weight": B}),
    ],
)  # fmt: skip
def test_tensors_that_are_not_lora_of_that_rank(tmp_path: Path, reason: str, values: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        lora_modules(read_header(saved(tmp_path, values)), RANK, use_dora=False)
    assert caught.value.reason == reason


def test_dora_has_a_magnitude_of_the_right_length(tmp_path: Path) -> None:
    values = {f"{STEM}.lora_A.weight": A, f"{STEM}.lora_B.weight": B}
    with pytest.raises(Refused, match="tensor-name"):
        lora_modules(read_header(saved(tmp_path, values)), RANK, use_dora=True)
    right = read_header(saved(tmp_path, {**values, f"{STEM}.lora_magnitude_vector": B[:, 0]}))
    assert lora_modules(right, RANK, use_dora=True)["model.layers.0.self_attn.q_proj"].magnitude is not None
    wrong = read_header(saved(tmp_path, {**values, f"{STEM}.lora_magnitude_vector": A[0]}))
    with pytest.raises(Refused, match="tensor-shape"):
        lora_modules(wrong, RANK, use_dora=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(tmp_path: Path, bad: float) -> None:
    poisoned = A.copy()
    poisoned[1, 2] = bad
    path = saved(tmp_path, {"x": poisoned})
    with pytest.raises(Refused, match="tensor-value"):
        check_finite(path, read_header(path))
