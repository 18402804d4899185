"""Widening a gated feed-forward network without changing what it computes.

New neurons get random rows in the gate and up projections, of the spread that the trained rows have, and zero columns
in the down projection: their output counts nothing yet, so the function is the same to rounding, and their columns
have a gradient from the first step on, which then reaches gate and up. Zero rows *and* columns would be dead for ever,
and copies of old neurons would stay copies (Net2Net, arXiv 1511.05641, and LEMON, arXiv 2310.07999, discuss both).

Under LoRA the new rows of B and the new columns of A are zero, so the adapter's part is the same, too.

A parameter keeps its identity and gets larger data. ``widen_state`` gives an Adam optimiser zero moments for the new
part, and ``YoungNeurons`` makes it step there as a fresh Adam would: with bias correction by their own age and a rate
that warms up again (SPARKLING, arXiv 2602.02472, re-warms likewise).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Widths are multiples of this, where a factor allows: matrix kernels are fastest there.
WIDTH_STEP = 32


@dataclass(frozen=True, slots=True)
class Part:
    """A parameter that grew: its entries from ``start`` to ``stop`` along ``dim`` are new."""

    parameter: nn.Parameter
    dim: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Growth:
    """One widening. ``parameters_*`` count the whole model; ``parts`` are the grown parameters."""

    layer: int
    width_before: int
    width_after: int
    parameters_before: int
    parameters_after: int
    parts: tuple[Part, ...] = ()


def grown_width(width: int, factor: float) -> int:
    """``width`` times ``factor``, rounded up to a multiple of ``WIDTH_STEP``.

    Raises:
        ValueError: the factor is not a number above 1.
    """
    if not (math.isfinite(factor) and factor > 1):
        raise ValueError(f"A growth factor is above 1, not {factor}.")
    return -(-math.ceil(width * factor) // WIDTH_STEP) * WIDTH_STEP


@torch.no_grad()
def widen(gate: Any, up: Any, down: Any, width: int, seed: int | None = None) -> list[Part]:
    """Give the network of the three projections ``width`` neurons; they may be wrapped by PEFT's LoRA.

    Random numbers come from torch's default generator, or from one made of ``seed`` alone. Gradients of what grows are
    dropped. A smaller ``width`` cuts
    the last neurons off, which is for putting back the weights of a time when there were fewer.

    Returns:
        The parameters that grew, those of adapters included.

    Raises:
        ValueError: an adapter here is of a kind that cannot grow (DoRA, biases in B), or a loss computed earlier still
            exists: its graph knows the old shapes. Nothing was changed.
    """
    for projection in (gate, up, down):
        _check(projection)
    parts = []
    source = None if seed is None else torch.Generator(_unwrapped(gate)[0].weight.device).manual_seed(seed)
    for projection in (gate, up):
        linear, lora = _unwrapped(projection)
        spread = float(linear.weight.detach().float().std())
        parts.append(_extend(linear.weight, 0, width, spread, source))
        linear.out_features = width
        for _, b in lora:
            parts.append(_extend(b.weight, 0, width))
            b.out_features = width
    linear, lora = _unwrapped(down)
    parts.append(_extend(linear.weight, 1, width))
    linear.in_features = width
    for a, _ in lora:
        parts.append(_extend(a.weight, 1, width))
        a.in_features = width
    for projection in (gate, up, down):
        if hasattr(projection, "base_layer"):
            projection.in_features = projection.base_layer.in_features
            projection.out_features = projection.base_layer.out_features
    return parts


def _unwrapped(projection: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """The linear layer itself and the (A, B) pairs around it."""
    pairs = [(projection.lora_A[name], projection.lora_B[name]) for name in getattr(projection, "lora_A", {})]
    return getattr(projection, "base_layer", projection), pairs


def _check(projection: Any) -> None:
    linear, lora = _unwrapped(projection)
    if len(getattr(projection, "lora_magnitude_vector", ())) or any(b.bias is not None for _, b in lora):
        raise ValueError("Adapters with DoRA or with biases cannot grow; merge them into the model first.")
    for parameter in (linear.weight, *(layer.weight for pair in lora for layer in pair)):
        if parameter.requires_grad and _in_use(parameter):
            raise ValueError("A loss from before the growth is still held; delete it (`del loss`), then grow.")


def _in_use(parameter: nn.Parameter) -> bool:
    """Whether autograd still keeps the node that accumulates this gradient: it would insist on the old shape."""
    own = parameter.data
    try:
        parameter.data = own.new_empty((own.shape[0] + 1, *own.shape[1:]))
        with torch.enable_grad():
            node: Any = parameter.view_as(parameter).grad_fn
            return tuple(node.next_functions[0][0]._input_metadata[0].shape) != tuple(parameter.shape)
    finally:
        parameter.data = own


def _extend(
    parameter: nn.Parameter, dim: int, size: int, spread: float = 0.0, source: torch.Generator | None = None
) -> Part:
    """Lengthen along ``dim`` with normal numbers of this spread, or zeros; or cut off."""
    start = min(parameter.shape[dim], size)
    shape = list(parameter.shape)
    shape[dim] = size - start
    fresh = torch.empty(shape, dtype=parameter.dtype, device=parameter.device)
    fresh = fresh.normal_(0.0, spread, generator=source) if spread else fresh.zero_()
    parameter.grad = None
    parameter.data = torch.cat((parameter.data.narrow(dim, 0, start), fresh), dim=dim)
    return Part(parameter, dim, start, size)


def widen_state(optimiser: torch.optim.Optimizer, parts: Sequence[Part]) -> None:
    """Lengthen the optimiser's moments of each grown parameter with zeros; those of old entries stay."""
    for part in parts:
        state = optimiser.state.get(part.parameter, {})
        old = list(part.parameter.shape)
        old[part.dim] = part.start
        for name, value in state.items():
            if isinstance(value, Tensor) and list(value.shape) == old:
                shape = list(old)
                shape[part.dim] = part.stop - part.start
                state[name] = torch.cat((value, value.new_zeros(shape)), dim=part.dim)


@dataclass(slots=True)
class _Young:
    part: Part
    age: int = 0
    before: Tensor | None = None


class YoungNeurons:
    """Lets the new entries of grown parameters step as under an Adam optimiser that began with them.

    An optimiser has one step count for a parameter, so its bias correction (Kingma & Ba 2015, arXiv 1412.6980) is that
    of the old entries. With moments that begin at zero, Adam's own step of an entry of age ``a`` in a parameter of step
    count ``t`` is the one taken times

        (1 - β₁ᵗ) / (1 - β₁ᵃ) · √(1 - β₂ᵃ) / √(1 - β₂ᵗ)

    (ε aside), and that times ``age / warmup`` is what is applied here, after each of the optimiser's steps.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, warmup: int = 0) -> None:
        self.optimiser, self.warmup = optimiser, warmup
        self.young: list[_Young] = []
        optimiser.register_step_pre_hook(lambda *_: self._remember())
        optimiser.register_step_post_hook(lambda *_: self._correct())

    def add(self, parts: Sequence[Part]) -> None:
        """Watch over these from now on.

        Parts of parameters that the optimiser does not have are passed over.
        """
        known = {id(parameter) for group in self.optimiser.param_groups for parameter in group["params"]}
        self.young += [_Young(part) for part in parts if id(part.parameter) in known]

    def resume(self, young: Iterable[tuple[nn.Parameter, int, int, int, int]]) -> None:
        """Watch over (parameter, dim, start, stop, age) as an earlier session did, and over nothing else."""
        self.young = [_Young(Part(parameter, dim, start, stop), age) for parameter, dim, start, stop, age in young]

    @torch.no_grad()
    def _remember(self) -> None:
        for one in self.young:
            one.before = _fresh(one.part).clone() if one.part.parameter.grad is not None else None

    @torch.no_grad()
    def _correct(self) -> None:
        for one in self.young:
            if one.before is None:
                continue
            one.age += 1
            now = _fresh(one.part)
            now.copy_(torch.lerp(one.before, now, self._share(one)))
            one.before = None
        self.young = [one for one in self.young if one.age < self.warmup or not self._grown_up(one)]

    def _share(self, one: _Young) -> float:
        return self._correction(one) * (min(1.0, one.age / self.warmup) if self.warmup else 1.0)

    def _grown_up(self, one: _Young) -> bool:
        """Whether all bias corrections have died away; that one is 1 by chance says nothing of the next step."""
        return one.age > 0 and max(self._betas(one)) ** one.age < 1e-4

    def _betas(self, one: _Young) -> tuple[float, float]:
        groups = self.optimiser.param_groups
        group = next(group for group in groups if any(p is one.part.parameter for p in group["params"]))
        return group["betas"]  # type: ignore[no-any-return]

    def _correction(self, one: _Young) -> float:
        first, second = self._betas(one)
        step = float(self.optimiser.state[one.part.parameter]["step"])
        fresh = math.sqrt(1 - second**one.age) / (1 - first**one.age)
        return float(fresh * (1 - first**step) / math.sqrt(1 - second**step))


def _fresh(part: Part) -> Tensor:
    return part.parameter.data.narrow(part.dim, part.start, part.stop - part.start)
