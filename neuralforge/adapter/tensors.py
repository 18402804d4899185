"""The weights of an adapter: ``adapter_model.safetensors`` read with nothing taken on trust.

The safetensors format: eight bytes of header length (little endian), a JSON header that gives every tensor's type,
shape and byte range, then the bytes (https://huggingface.co/docs/safetensors, "Format"). The names are PEFT's:
``base_model.model.<module>.lora_A.weight`` of shape (rank, inputs), ``….lora_B.weight`` of shape (outputs, rank),
and for DoRA ``….lora_magnitude_vector`` of shape (outputs,).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge.adapter.refusal import Refused, shown
from neuralforge.adapter.strict_text import parse_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADER_LIMIT = 16 << 20
_WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_PREFIX = "base_model.model."
_SUFFIXES = {".lora_A.weight": "A", ".lora_B.weight": "B", ".lora_magnitude_vector": "magnitude"}
_MODULE = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*")
_INSPECTED = 1 << 22  # elements looked at in one go


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the header states it; ``start`` is its offset in the file in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class LoraModule:
    """The adapted module ``name`` (as the base model calls it): ΔW = scale · B @ A."""

    name: str
    A: Tensor
    B: Tensor
    magnitude: Tensor | None

    @property
    def inputs(self) -> int:
        return self.A.shape[1]

    @property
    def outputs(self) -> int:
        return self.B.shape[0]


def read_header(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name.

    Raises:
        Refused: the header is oversized, not JSON or of another shape; a type is not floating point; byte ranges
            overlap, leave gaps or leave the file.
    """
    size = path.stat().st_size
    with path.open("rb") as handle:
        first = handle.read(8)
        if len(first) < 8:
            raise Refused("tensor-header", f"{path.name} is too short to be a safetensors file.")
        (length,) = struct.unpack("<Q", first)
        if length > HEADER_LIMIT or 8 + length > size:
            raise Refused(
                "tensor-header",
                f"{path.name} states a header of {length:,} bytes in a file of {size:,}; at most {HEADER_LIMIT:,} go.",
            )
        header = parse_json(handle.read(length), f"the header of {path.name}", reason="tensor-header", depth=4)
    if not isinstance(header, dict):
        raise Refused("tensor-header", f"The header of {path.name} is not a JSON object.")
    remarks = header.pop("__metadata__", {})
    if not isinstance(remarks, dict) or not all(isinstance(text, str) for text in remarks.values()):
        raise Refused("tensor-header", f"The remarks in the header of {path.name} are not plain strings.")
    tensors = []
    for name, entry in header.items():
        tensor, stated_end = _tensor(name, entry, 8 + length)
        if stated_end != tensor.start + tensor.elements * _WIDTH[tensor.dtype]:
            raise Refused("tensor-shape", f"{shown(name)} does not have the bytes that its shape needs.")
        tensors.append((tensor.start, stated_end, tensor))
    position = 8 + length
    for start, stop, tensor in sorted(tensors, key=lambda each: (each[0], each[1], each[2].name)):
        if start != position:
            raise Refused("tensor-header", f"{shown(tensor.name)} overlaps another tensor or leaves a gap before it.")
        position = stop
    if position != size:
        raise Refused("tensor-header", f"The tensors of {path.name} end at byte {position:,} of {size:,}.")
    return {tensor.name: tensor for _, _, tensor in tensors}


def lora_modules(tensors: Mapping[str, Tensor], rank: int, use_dora: bool) -> dict[str, LoraModule]:
    """Group LoRA tensors by module, sorted by name, and check that the shapes belong together.

    Raises:
        Refused: a name is not PEFT's, a tensor is missing or superfluous, or a shape does not fit ``rank``.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        suffix = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
        module = name[len(_PREFIX) : -len(suffix)] if suffix and name.startswith(_PREFIX) else ""
        if suffix is None or not _MODULE.fullmatch(module):
            raise Refused("tensor-name", f"{shown(name, 160)} is not a LoRA tensor of a linear module.")
        parts.setdefault(module, {})[_SUFFIXES[suffix]] = tensor
    if not parts:
        raise Refused("tensor-name", "It holds no LoRA tensors.")
    expected = {"A", "B", "magnitude"} if use_dora else {"A", "B"}
    modules = {}
    for name, found in sorted(parts.items()):
        if set(found) != expected:
            raise Refused(
                "tensor-name", f"{shown(name)} has the tensors {sorted(found)} where {sorted(expected)} belong."
            )
        A, B, magnitude = found["A"], found["B"], found.get("magnitude")
        fits = len(A.shape) == len(B.shape) == 2 and A.shape[0] == B.shape[1] == rank
        fits = fits and (magnitude is None or magnitude.shape == (B.shape[0],))
        if not fits:
            shapes = ", ".join(f"{part} {tensor.shape}" for part, tensor in sorted(found.items()))
            raise Refused("tensor-shape", f"{shown(name)} has {shapes}, which is not LoRA of rank {rank}.")
        modules[name] = LoraModule(name, A, B, magnitude)
    return modules


def load(path: Path, tensor: Tensor) -> NDArray[np.float64]:
    """One tensor's values in double precision, in its shape."""
    import numpy as np

    values = np.empty(tensor.elements, dtype=np.float64)
    position = 0
    for piece in _pieces(path, tensor):
        values[position : position + piece.size] = piece
        position += piece.size
    return values.reshape(tensor.shape)


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights with an infinity or NaN in them: one is enough to make every output NaN."""
    import numpy as np

    for tensor in tensors.values():
        if not all(np.isfinite(piece).all() for piece in _pieces(path, tensor)):
            raise Refused(
                "tensor-value",
                f"{shown(tensor.name, 160)} holds values that are not finite.",
                "The training diverged; train again with a lower learning rate.",
            )


def _tensor(name: str, entry: Any, base: int) -> tuple[Tensor, int]:
    """A tensor and the end of its bytes, both as the header states them."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Refused("tensor-header", f"The entry of {shown(name)} does not have the keys it should.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _WIDTH:
        raise Refused("tensor-type", f"{shown(name)} is of type {shown(dtype)}; only {', '.join(_WIDTH)} are weights.")
    whole = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and 1 <= len(shape) <= 4
    if not whole or not all(type(each) is int and 0 <= each < 1 << 40 for each in [*shape, *offsets]) or 0 in shape:
        raise Refused("tensor-header", f"The shape or the byte range of {shown(name)} is not valid.")
    return Tensor(name, dtype, tuple(shape), base + offsets[0]), base + offsets[1]


def _pieces(path: Path, tensor: Tensor) -> Iterator[NDArray[Any]]:
    """The values in order, a bounded number at a time; bf16 arrives as float32, which holds it exactly."""
    import numpy as np

    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    with path.open("rb") as handle:
        handle.seek(tensor.start)
        left = tensor.elements
        while left:
            count = min(left, _INSPECTED)
            raw = handle.read(count * _WIDTH[tensor.dtype])
            piece = np.frombuffer(raw, dtype=kinds[tensor.dtype])
            yield (piece.astype(np.uint32) << 16).view(np.float32) if tensor.dtype == "BF16" else piece
            left -= count
