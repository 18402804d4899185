"""What differs between two adapters: their manifests, and what they do to each weight matrix.

The update of a module is ΔW = s·B·A with A of shape (r, in) and B of shape (out, r). Products of such updates need no
out × in matrix: ⟨B₁A₁, B₂A₂⟩ = tr(A₁ᵀB₁ᵀB₂A₂) = Σ (B₁ᵀB₂) ∘ (A₁A₂ᵀ), which is a sum over r × r numbers, in double
precision. A difference below about 1e-8 of the norms is lost in rounding; equal tensors are told apart exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge.adapter.package import Adapter, inspect, opened
from neuralforge.adapter.refusal import Refused
from neuralforge.adapter.tensors import load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Change:
    """A manifest value that differs; None where one side does not have it. ``field`` is a dotted path."""

    field: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True)
class ModuleDifference:
    """One module's updates: Frobenius norms of ΔW in a, in b and of their difference, and their cosine.

    A module that only one side adapts has norm 0 on the other and no cosine, as has a zero update. With DoRA the norms
    are those of the low-rank part alone.
    """

    module: str
    norm_a: float
    norm_b: float
    norm_difference: float
    cosine: float | None


@dataclass(frozen=True, slots=True)
class AdapterDifference:
    """Everything that differs between adapters a and b.

    Attributes:
        manifest: changed manifest values, hyper-parameters aside.
        settings: changed hyper-parameters (``lora`` and ``training``).
        modules: every module that either adapts, by name; None when the two cannot be compared (other bases).
        norm_a, norm_b, norm_difference, cosine: over all modules together.
    """

    manifest: tuple[Change, ...]
    settings: tuple[Change, ...]
    modules: tuple[ModuleDifference, ...] | None
    norm_a: float | None
    norm_b: float | None
    norm_difference: float | None
    cosine: float | None

    @property
    def identical(self) -> bool:
        """Whether manifests (which hold the digest of every file) are equal."""
        return not self.manifest and not self.settings


def diff(a: Path, b: Path) -> AdapterDifference:
    """Compare two adapters, each a package or a folder.

    Raises:
        Refused: one of them is not a valid adapter.
    """
    with opened(a) as folder_a, opened(b) as folder_b:
        first, second = inspect(folder_a), inspect(folder_b)
        changes = tuple(_changes(first.manifest.to_json(), second.manifest.to_json()))
        settings = tuple(change for change in changes if change.field.split(".")[0] in ("lora", "training"))
        manifest = tuple(change for change in changes if change not in settings)
        if first.manifest.base.digest != second.manifest.base.digest:
            return AdapterDifference(manifest, settings, None, None, None, None, None)
        names = sorted(first.modules.keys() | second.modules.keys())
        products = [_products(first, second, name) for name in names]
    modules = tuple(
        ModuleDifference(name, aa**0.5, bb**0.5, dd**0.5, _cosine(aa, bb, ab))
        for name, (aa, bb, dd, ab) in zip(names, products, strict=True)
    )
    aa, bb, dd, ab = (sum(column) for column in zip(*products, strict=True))
    return AdapterDifference(manifest, settings, modules, aa**0.5, bb**0.5, dd**0.5, _cosine(aa, bb, ab))


def _changes(a: Any, b: Any, field: str = "") -> Iterator[Change]:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            yield from _changes(a.get(key), b.get(key), f"{field}.{key}" if field else key)
    elif a != b:
        yield Change(field, a, b)


def _products(first: Adapter, second: Adapter, name: str) -> tuple[float, float, float, float]:
    """‖ΔW_a‖², ‖ΔW_b‖², ‖ΔW_a − ΔW_b‖² and ⟨ΔW_a, ΔW_b⟩ of one module."""
    import numpy as np

    a, b = _factors(first, name), _factors(second, name)
    if a is None or b is None:
        aa = _inner(*a, *a) if a else 0.0
        bb = _inner(*b, *b) if b else 0.0
        return aa, bb, aa + bb, 0.0
    (B_a, A_a), (B_b, A_b) = a, b
    if (B_a.shape[0], A_a.shape[1]) != (B_b.shape[0], A_b.shape[1]):
        raise Refused("wrong-tensors", f"The two adapters state one base, but {name} has another shape in each.")
    aa, bb, ab = _inner(*a, *a), _inner(*b, *b), _inner(*a, *b)
    same = np.array_equal(B_a, B_b) and np.array_equal(A_a, A_b)
    return aa, bb, 0.0 if same else max(0.0, aa + bb - 2 * ab), ab


def _factors(adapter: Adapter, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(s·B, A) of a module, or None when the adapter leaves it alone."""
    module = adapter.modules.get(name)
    if module is None:
        return None
    return adapter.manifest.lora.scale * load(adapter.weights, module.B), load(adapter.weights, module.A)


def _inner(
    B_1: NDArray[np.float64], A_1: NDArray[np.float64], B_2: NDArray[np.float64], A_2: NDArray[np.float64]
) -> float:
    """⟨B₁A₁, B₂A₂⟩ of two updates of one matrix."""
    if B_1 is B_2:
        return max(0.0, float(((B_1.T @ B_1) * (A_1 @ A_1.T)).sum()))
    return float(((B_1.T @ B_2) * (A_1 @ A_2.T)).sum())


def _cosine(aa: float, bb: float, ab: float) -> float | None:
    return max(-1.0, min(1.0, ab / (aa * bb) ** 0.5)) if aa > 0 and bb > 0 else None
