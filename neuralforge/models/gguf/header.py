"""Read and check the header of a GGUF file before anything trusts it.

Every count, length and offset is compared with the number of bytes that are really there before memory is taken for
it, so that a forged header costs neither memory nor time. Weights are never read here.

Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuralforge.errors import DataError, TrustError

MAGIC = b"GGUF"
MAX_TENSORS = 1 << 16
MAX_FIELDS = 1 << 16
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 1 << 40
MAX_ARRAY_DEPTH = 2
MAX_KEY = 1 << 16
MAX_ALIGNMENT = 1 << 16

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
# The smallest number of bytes one element of each type can take; it bounds the count of an array by the file's size.
_SMALLEST = {kind: struct.calcsize(code) for kind, code in _SCALARS.items()} | {_STRING: 8, _ARRAY: 12}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: ``shape`` as PyTorch counts it (slowest dimension first), ggml type number, bytes in the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself. ``fields`` holds plain Python values; ``offset`` of a tensor is absolute."""

    path: Path
    fields: dict[str, Any]
    tensors: dict[str, TensorInfo]

    @property
    def architecture(self) -> str:
        """The value of ``general.architecture``."""
        return str(self.fields.get("general.architecture", ""))

    def field(self, name: str, kind: type, default: Any = None) -> Any:
        """A metadata value checked to be of ``kind``.

        Raises:
            TrustError: the field has another type, or is missing while no ``default`` is given.
        """
        value = self.fields.get(name, default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _malformed(self.path, f"the field {name!r} is missing or not of type {kind.__name__}")
        return value


def _malformed(path: Path, reason: str) -> TrustError:
    return TrustError(
        f"{path} is not a sound GGUF file: {reason}.",
        "The download may be cut short or the file may have been tampered with; fetch it again from its source.",
    )


class _Cursor:
    """A position in the mapped file that refuses to run past its end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.position, self.end = path, data, 0, len(data)

    def take(self, count: int, what: str) -> int:
        """Move over ``count`` bytes and return where they start."""
        start = self.position
        if count < 0 or count > self.end - start:
            raise _malformed(self.path, f"{what} would need {count:,} bytes where {self.end - start:,} are left")
        self.position = start + count
        return start

    def scalar(self, code: str, what: str) -> Any:
        start = self.take(struct.calcsize(code), what)
        return struct.unpack_from(code, self.data, start)[0]

    def text(self, what: str, limit: int | None = None) -> str:
        length = self.scalar("<Q", what)
        if limit is not None and length > limit:
            raise _malformed(self.path, f"{what} is {length:,} bytes long")
        start = self.take(length, what)
        # llama.cpp allows any bytes in vocabulary entries; surrogate escapes keep them apart.
        return self.data[start : start + length].decode("utf-8", "surrogateescape")

    def value(self, kind: int, what: str, depth: int = 0) -> Any:
        if kind == _STRING:
            return self.text(what)
        if kind == _ARRAY:
            return self.array(what, depth)
        if kind not in _SCALARS:
            raise _malformed(self.path, f"{what} has the unknown type {kind}")
        return self.scalar(_SCALARS[kind], what)

    def array(self, what: str, depth: int) -> list[Any]:
        if depth >= MAX_ARRAY_DEPTH:
            raise _malformed(self.path, f"{what} nests arrays deeper than {MAX_ARRAY_DEPTH}")
        kind, count = self.scalar("<I", what), self.scalar("<Q", what)
        if kind not in _SMALLEST:
            raise _malformed(self.path, f"{what} is an array of the unknown type {kind}")
        if count * _SMALLEST[kind] > self.end - self.position:
            raise _malformed(self.path, f"{what} claims {count:,} elements, more than the file can hold")
        if kind in _SCALARS:
            code = _SCALARS[kind]
            start = self.take(count * _SMALLEST[kind], what)
            return list(struct.unpack_from(f"<{count}{code[1]}", self.data, start))
        return [self.value(kind, what, depth + 1) for _ in range(count)]


def _read_fields(cursor: _Cursor, count: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for number in range(count):
        key = cursor.text(f"the name of field {number + 1}", MAX_KEY)
        if key in fields:
            raise _malformed(cursor.path, f"the field {key!r} appears twice")
        fields[key] = cursor.value(cursor.scalar("<I", f"the type of {key!r}"), f"the field {key!r}")
    return fields


def _read_tensor(cursor: _Cursor, number: int, sizes: dict[int, tuple[int, int]]) -> TensorInfo:
    name = cursor.text(f"the name of tensor {number + 1}", MAX_KEY)
    rank = cursor.scalar("<I", f"the rank of {name!r}")
    if not 1 <= rank <= MAX_DIMENSIONS:
        raise _malformed(cursor.path, f"the tensor {name!r} has {rank} dimensions")
    dimensions = [cursor.scalar("<Q", f"the shape of {name!r}") for _ in range(rank)]
    kind = cursor.scalar("<I", f"the type of {name!r}")
    offset = cursor.scalar("<Q", f"the offset of {name!r}")
    if kind not in sizes:
        raise _malformed(cursor.path, f"the tensor {name!r} has the unknown type {kind}")
    # Python integers do not overflow, so the product of four 64-bit numbers is compared as it is.
    elements = math.prod(dimensions)
    block, size_of_block = sizes[kind]
    if elements == 0 or elements > MAX_ELEMENTS or dimensions[0] % block:
        raise _malformed(cursor.path, f"the tensor {name!r} has the impossible shape {dimensions}")
    size = elements // block * size_of_block
    return TensorInfo(name, tuple(reversed(dimensions)), kind, offset, size)


def read_header(path: Path) -> Header:
    """Parse and check the header of the GGUF file at ``path``.

    Raises:
        DataError: the file cannot be opened.
        TrustError: wrong magic or version, a count, length, type, shape or offset that the file cannot hold,
            a name that appears twice.
    """
    from gguf.constants import GGML_QUANT_SIZES

    sizes = {int(kind): (int(block), int(size)) for kind, (block, size) in GGML_QUANT_SIZES.items()}
    try:
        with path.open("rb") as handle:
            if handle.read(4) != MAGIC:
                raise _malformed(path, "it does not begin with the four letters GGUF")
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(path, data, sizes)
    except OSError as failure:
        raise DataError(f"Cannot read {path}: {failure.strerror or failure}.", "Check the path.") from failure


def _parse(path: Path, data: mmap.mmap, sizes: dict[int, tuple[int, int]]) -> Header:
    cursor = _Cursor(path, data)
    cursor.take(4, "the magic number")
    version = cursor.scalar("<I", "the version")
    if version not in (2, 3):
        raise _malformed(path, f"its version is {version}; versions 2 and 3 in little-endian order are read")
    tensor_count, field_count = cursor.scalar("<Q", "the tensor count"), cursor.scalar("<Q", "the field count")
    if tensor_count > MAX_TENSORS or field_count > MAX_FIELDS:
        raise _malformed(path, f"it claims {tensor_count:,} tensors and {field_count:,} fields")
    fields = _read_fields(cursor, field_count)
    described = [_read_tensor(cursor, number, sizes) for number in range(tensor_count)]

    alignment = fields.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= MAX_ALIGNMENT:
        raise _malformed(path, f"its alignment is {alignment!r}")
    start = -(-cursor.position // alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for tensor in described:
        absolute = start + tensor.offset
        if absolute + tensor.size > cursor.end:
            raise _malformed(path, f"the tensor {tensor.name!r} reaches past the end of the file")
        if tensor.name in tensors:
            raise _malformed(path, f"the tensor {tensor.name!r} appears twice")
        tensors[tensor.name] = TensorInfo(tensor.name, tensor.shape, tensor.kind, absolute, tensor.size)
    return Header(path, fields, tensors)
