"""Headers that lie are refused before they cost memory or time."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuralforge.errors import DataError, NeuralForgeError, TrustError
from neuralforge.models.gguf.header import read_header


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def field(name: str, kind: int, raw: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + raw


def tensor(name: str, dimensions: list[int], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)


def gguf(fields: list[bytes], tensors: list[bytes], data: bytes = b"", **claims: int) -> bytes:
    head = b"GGUF" + struct.pack(
        "<IQQ",
        claims.get("version", 3),
        claims.get("tensor_count", len(tensors)),
        claims.get("field_count", len(fields)),
    )
    head += b"".join(fields) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + data


SOUND = gguf(
    [
        field("general.architecture", 8, text("llama")),
        field("llama.block_count", 4, struct.pack("<I", 2)),
        field("some.names", 9, struct.pack("<IQ", 8, 2) + text("a") + text("é")),
        field("some.flag", 7, b"\1"),
    ],
    [tensor("one", [4, 3]), tensor("two", [32], kind=8, offset=64)],
    b"\0" * (64 + 34),
)


def test_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "sound.gguf"
    path.write_bytes(SOUND)
    header = read_header(path)
    assert header.architecture == "llama"
    assert header.fields["some.names"] == ["a", "é"]
    assert header.fields["some.flag"] is True
    assert header.tensors["one"].shape == (3, 4)
    assert header.tensors["one"].size == 48
    assert header.tensors["two"].size == 34
    assert header.tensors["two"].offset == header.tensors["one"].offset + 64


HUGE = 1 << 62
BAD = {
    "magic": b"GGML" + SOUND[4:],
    "empty": b"",
    "version": gguf([], [], version=1),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "tensor count": gguf([], [], tensor_count=HUGE),
    "field count": gguf([], [], field_count=HUGE),
    "string length": gguf([field("a", 8, struct.pack("<Q", HUGE))], []),
    "array count": gguf([field("a", 9, struct.pack("<IQ", 4, HUGE))], []),
    "array of strings count": gguf([field("a", 9, struct.pack("<IQ", 8, HUGE))], []),
    "array depth": gguf([field("a", 9, struct.pack("<IQ", 9, 1) * 500)], []),
    "array type": gguf([field("a", 9, struct.pack("<IQ", 77, 1))], []),
    "field type": gguf([field("a", 77, b"")], []),
    "field twice": gguf([field("a", 7, b"\0"), field("a", 7, b"\0")], []),
    "rank": gguf([], [tensor("a", [1] * 9)]),
    "shape overflows": gguf([], [tensor("a", [1 << 33, 1 << 33])]),
    "shape zero": gguf([], [tensor("a", [0])]),
    "block": gguf([], [tensor("a", [33], kind=8)], b"\0" * 99),
    "tensor type": gguf([], [tensor("a", [4], kind=999)], b"\0" * 99),
    "offset": gguf([], [tensor("a", [4], offset=HUGE)], b"\0" * 99),
    "cut data": gguf([], [tensor("a", [400])], b"\0" * 99),
    "tensor twice": gguf([], [tensor("a", [4]), tensor("a", [4])], b"\0" * 99),
    "alignment": gguf([field("general.alignment", 4, struct.pack("<I", 0))], []),
}


@pytest.mark.parametrize("kind", BAD)
def test_refuses(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(BAD[kind])
    with pytest.raises(TrustError) as caught:
        read_header(path)
    assert "bad.gguf" in caught.value.message
    assert caught.value.hint


def test_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_header(tmp_path / "none.gguf")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(SOUND)), place=st.integers(0, len(SOUND) - 1), value=st.integers(0, 255))
def test_damage_never_escapes_as_a_foreign_error(cut: int, place: int, value: int, tmp_path: Path) -> None:
    path = tmp_path / "damaged.gguf"
    damaged = bytearray(SOUND)
    damaged[place] = value
    for content in (SOUND[:cut], bytes(damaged)):
        path.write_bytes(content)
        with contextlib.suppress(NeuralForgeError):
            read_header(path)
