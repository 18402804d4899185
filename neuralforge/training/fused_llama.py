"""Llama-shaped decoder layers with LoRA, forward and backward written out by hand.

The generic path (transformers + PEFT under autograd) spends more than half of a CPU step outside the large
matrix products: adapter casts, low-rank products, rotary and norm temporaries, padding. Here a layer is one
``torch.autograd.Function`` on *packed* tokens (one sequence after another, and fewer than ``ROW_STEP`` rows of
filling at the end), which

* multiplies q, k, v (and gate, up), and their LoRA matrices, as one product each,
* never forms a gradient for a frozen weight,
* attends per sequence, the query heads of one key/value head folded into the rows of one product,
* rounds the sizes of its products up to a few that recur, because the matrix library compiles (and keeps) a kernel
  for every new size: on text of all lengths that took a tenth of the time and a gigabyte,
* keeps for the backward only what is dear to recompute.

It computes the same function as transformers' ``LlamaDecoderLayer`` (and Mistral's and Qwen2's) with PEFT's LoRA,
to rounding; ``tests/integration/training/test_fused_llama.py`` holds outputs and gradients against them.

Shapes: N packed tokens, T tokens of one sequence, D hidden size, F feed-forward width, H query heads, K key/value
heads, G = H / K, E head size, r LoRA rank. Sources: RoPE arXiv 2104.09864, SwiGLU arXiv 2002.05202, RMSNorm arXiv
1910.07467, GQA arXiv 2305.13245, LoRA arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralforge.training.int8 import Int8Matrix

# Packed rows, and tokens of one sequence in attention, are rounded up to multiples of these.
ROW_STEP, LENGTH_STEP = 64, 32
# So many tokens attend at once to all before them; what lies after them is not computed only to be masked.
BLOCK = 192

_silu_backward = torch.ops.aten.silu_backward


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes that every layer of the model shares."""

    heads: int
    kv_heads: int
    head_size: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the packed sequences lie and how far their positions turn.

    Attributes:
        blocks: (first, start, end): rows ``start`` to ``end`` attend to rows ``first`` to ``end``, the block and what
            stands before it in its sequence; rows after the last block are filling.
        cos, sin: rotary tables gathered by position, [N, 1, E]; the first half of ``sin`` is negated, so that
            rotate(x) = x * cos + swap_halves(x) * sin.
        mask: additive causal mask [T, T] for the longest sequence, rounded up; shorter ones use its corner.
    """

    blocks: tuple[tuple[int, int, int], ...]
    cos: Tensor
    sin: Tensor
    mask: Tensor


def rounded(size: int, step: int) -> int:
    """The next multiple of ``step``."""
    return -(-size // step) * step


def layout(lengths: Sequence[int], rotary: nn.Module, dtype: torch.dtype) -> Layout:
    """Bounds, rotary tables and mask for sequences of ``lengths`` tokens; ``rotary`` is the model's own module."""
    longest = rounded(max(lengths), LENGTH_STEP)
    filling = rounded(sum(lengths), ROW_STEP) - sum(lengths)
    cos_1TE, sin_1TE = rotary(torch.empty(1, dtype=dtype), torch.arange(longest).unsqueeze(0))
    half = sin_1TE.shape[-1] // 2
    sin_TE = torch.cat((-sin_1TE[0, :, :half], sin_1TE[0, :, half:]), dim=-1)
    positions = torch.cat([*(torch.arange(length) for length in lengths), torch.zeros(filling, dtype=torch.long)])
    ends = torch.tensor(lengths).cumsum(0).tolist()
    firsts = [end - length for end, length in zip(ends, lengths, strict=True)]
    blocks = tuple(
        (first, start, min(start + BLOCK, end))
        for first, end in zip(firsts, ends, strict=True)
        for start in range(first, end, BLOCK)
    )
    mask = torch.full((longest, longest), float("-inf"), dtype=dtype).triu_(1)
    return Layout(blocks, cos_1TE[0][positions].unsqueeze(1), sin_TE[positions].unsqueeze(1), mask)


@dataclass(slots=True)
class Adapted:
    """One LoRA pair inside a group: rows ``out`` of the group's output, columns ``rank`` of its A products."""

    out: slice
    rank: slice
    scale: float
    a: nn.Parameter  # [r, in]
    b: nn.Parameter  # [out, r]


class Group:
    """Linear layers that share an input, as one matrix ``weight`` [out, in] with their LoRA pairs as one pair.

    The wrapped modules' frozen weights become views of it, so grouping costs no second copy of the model. With
    ``int8``, training multiplies with an 8-bit copy (see ``training.int8``).
    """

    def __init__(self, modules: Sequence[Any], int8: bool) -> None:
        frozen = [getattr(module, "base_layer", module) for module in modules]
        weights: list[Tensor] = [layer.weight for layer in frozen]
        self.adapted: list[Adapted] = []
        row = rank_row = 0
        for module, weight in zip(modules, weights, strict=True):
            rows = slice(row, row := row + weight.shape[0])
            for name in getattr(module, "active_adapters", []):
                if name in module.lora_A:
                    a, b = module.lora_A[name].weight, module.lora_B[name].weight
                    ranks = slice(rank_row, rank_row := rank_row + a.shape[0])
                    self.adapted.append(Adapted(rows, ranks, float(module.scaling[name]), a, b))
        kind = weights[0].data
        self.weight = _joined([weight.data for weight in weights])
        for part, weight in zip(self.weight.split([weight.shape[0] for weight in weights]), weights, strict=True):
            weight.data = part
        biases = [getattr(layer, "bias", None) for layer in frozen]
        self.bias = torch.cat([bias.data for bias in biases if bias is not None]) if biases[0] is not None else None
        self.int8 = Int8Matrix(self.weight) if int8 and self.adapted else None
        # Every pair's A beneath the other [Σr, in]; every B, times its scale, on the diagonal [out, Σr].
        self.down = kind.new_zeros(rank_row, kind.shape[1])
        self.up = kind.new_zeros(row, rank_row)

    def refresh(self) -> None:
        """Copy the current A and B (kept in fp32 by the optimiser) into the compute matrices."""
        with torch.no_grad():
            for pair in self.adapted:
                self.down[pair.rank].copy_(pair.a)
                self.up[pair.out, pair.rank].copy_(pair.b).mul_(pair.scale)

    def forward(self, x_NI: Tensor, adapt: bool, learn: bool) -> tuple[Tensor, Tensor | None]:
        """x W^T + Δ and, where adapted, the A products [N, Σr] that the backward needs."""
        if learn and self.int8 is not None:
            y_NO = self.int8.forward(x_NI)
            if self.bias is not None:
                y_NO.add_(self.bias)
        else:
            y_NO = functional.linear(x_NI, self.weight, self.bias)
        if not (adapt and self.adapted):
            return y_NO, None
        low_NR = x_NI @ self.down.T
        return y_NO.addmm_(low_NR, self.up.T), low_NR

    def backward(
        self, grad_NO: Tensor, x_NI: Tensor, low_NR: Tensor | None, grads: list[Tensor | None], into_x: bool = True
    ) -> Tensor | None:
        """Gradient for x (None unless ``into_x``); appends the gradients of each pair's A and B to ``grads``."""
        if low_NR is None:
            return grad_NO @ self.weight if into_x else None
        grad_low_NR = grad_NO @ self.up
        grad_a = grad_low_NR.T @ x_NI
        grad_b = grad_NO.T @ low_NR
        for pair in self.adapted:
            grads.append(grad_a[pair.rank].float())
            grads.append(grad_b[pair.out, pair.rank].float().mul_(pair.scale))
        if not into_x:
            return None
        grad_NI = grad_NO @ self.weight if self.int8 is None else self.int8.backward(grad_NO)
        return grad_NI.addmm_(grad_low_NR, self.down)


class Layer:
    """One decoder layer taken over from a transformers module (with or without PEFT's LoRA inside)."""

    def __init__(self, module: Any, shape: Shape, int8: bool = False) -> None:
        attention, mlp = module.self_attn, module.mlp
        self.shape = shape
        self.recompute = bool(getattr(module, "gradient_checkpointing", False))
        self.norm_in = module.input_layernorm.weight.data
        self.norm_mid = module.post_attention_layernorm.weight.data
        self.qkv = Group([attention.q_proj, attention.k_proj, attention.v_proj], int8)
        self.o = Group([attention.o_proj], int8)
        self.gate_up = Group([mlp.gate_proj, mlp.up_proj], int8)
        self.down = Group([mlp.down_proj], int8)
        self.groups = (self.qkv, self.o, self.gate_up, self.down)
        # In the order in which the backward visits the groups.
        backwards = (self.down, self.gate_up, self.o, self.qkv)
        self.parameters: list[nn.Parameter] = [p for g in backwards for pair in g.adapted for p in (pair.a, pair.b)]

    def refresh(self) -> None:
        """Take over the adapter's present weights."""
        for group in self.groups:
            group.refresh()

    def __call__(self, x_ND: Tensor, where: Layout, adapt: bool) -> Tensor:
        """[N, D] → [N, D]; with ``adapt`` off the frozen layer alone is computed."""
        if torch.is_grad_enabled() and adapt and (self.parameters or x_ND.requires_grad):
            y_ND: Tensor = _LayerFunction.apply(x_ND, self, where, *self.parameters)  # type: ignore[no-untyped-call]
            return y_ND
        out, _ = self.forward(x_ND, where, adapt)
        return out

    def forward(
        self, x_ND: Tensor, where: Layout, adapt: bool, learn: bool = False, keep: bool = False
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """The layer's output and, with ``keep``, what the backward will need; ``learn`` admits 8-bit products."""
        shape = self.shape
        turned = (shape.heads + shape.kv_heads) * shape.head_size
        h_ND, inverse_in = _normalise(x_ND, self.norm_in, shape.epsilon)
        qkv, low_qkv = self.qkv.forward(h_ND, adapt, learn)
        qk = _rotate(qkv[:, :turned].unflatten(1, (-1, shape.head_size)), where)
        v = qkv[:, turned:].unflatten(1, (-1, shape.head_size))
        o_ND, probabilities = _attend(qk, v, where, shape, keep)
        mixed, low_o = self.o.forward(o_ND, adapt, learn)
        x2_ND = mixed.add_(x_ND)
        h2_ND, inverse_mid = _normalise(x2_ND, self.norm_mid, shape.epsilon)
        gate_up, low_gu = self.gate_up.forward(h2_ND, adapt, learn)
        gate, up = gate_up.chunk(2, dim=1)
        y_ND, low_down = self.down.forward(functional.silu(gate).mul_(up), adapt, learn)
        y_ND.add_(x2_ND)
        if not keep:
            return y_ND, ()
        kept = (x_ND, inverse_in, low_qkv, qk, v, o_ND, low_o, x2_ND, inverse_mid, low_gu, gate_up, low_down)
        return y_ND, (*kept, *probabilities)

    def backward(
        self, grad_ND: Tensor, kept: Sequence[Any], where: Layout, into_x: bool
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """Gradient for the layer's input and for ``parameters``, in their order."""
        shape = self.shape
        x_ND, inverse_in, low_qkv, qk, v, o_ND, low_o, x2_ND, inverse_mid, low_gu, gate_up, low_down = kept[:12]
        grads: list[Tensor | None] = []
        gate, up = gate_up.chunk(2, dim=1)
        active = functional.silu(gate)
        grad_act = self.down.backward(grad_ND, active * up, low_down, grads)
        assert grad_act is not None
        grad_up = active.mul_(grad_act)
        grad_gate_up = torch.cat((_silu_backward(grad_act.mul_(up), gate), grad_up), dim=1)
        h2_ND = _renormalise(x2_ND, inverse_mid, self.norm_mid)
        grad_h2 = self.gate_up.backward(grad_gate_up, h2_ND, low_gu, grads)
        assert grad_h2 is not None
        grad_x2 = _normalise_backward(grad_h2, x2_ND, inverse_mid, self.norm_mid).add_(grad_ND)
        grad_o = self.o.backward(grad_x2, o_ND, low_o, grads)
        assert grad_o is not None
        grad_qkv = _attend_backward(grad_o, qk, v, o_ND, kept[12:], where, shape)
        h_ND = _renormalise(x_ND, inverse_in, self.norm_in)
        grad_h = self.qkv.backward(grad_qkv, h_ND, low_qkv, grads, into_x)
        if grad_h is None:
            return None, grads
        return _normalise_backward(grad_h, x_ND, inverse_in, self.norm_in).add_(grad_x2), grads


class _LayerFunction(torch.autograd.Function):
    """Autograd's view of a ``Layer``: inputs are the activations and the LoRA parameters."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, layer: Layer, where: Layout, *parameters: nn.Parameter) -> Tensor:
        out, kept = layer.forward(x_ND, where, adapt=True, learn=True, keep=not layer.recompute)
        ctx.layer, ctx.where = layer, where
        ctx.save_for_backward(*(kept or (x_ND,)))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        into_x: bool = ctx.needs_input_grad[0]
        kept = ctx.saved_tensors
        if ctx.layer.recompute:
            _, kept = ctx.layer.forward(kept[0], ctx.where, adapt=True, learn=True, keep=True)
        grad_x, grad_parameters = ctx.layer.backward(grads[0], kept, ctx.where, into_x)
        return grad_x, None, None, *grad_parameters


def _normalise(x_ND: Tensor, weight_D: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """RMSNorm, and 1/rms [N, 1] in at least fp32."""
    wide = x_ND.float() if x_ND.dtype != torch.float64 else x_ND
    inverse_N1 = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(wide.shape[-1])
    inverse_N1 = inverse_N1.add_(epsilon).rsqrt_()
    return _renormalise(x_ND, inverse_N1, weight_D), inverse_N1


def _renormalise(x_ND: Tensor, inverse_N1: Tensor, weight_D: Tensor) -> Tensor:
    return (x_ND * inverse_N1).to(x_ND.dtype).mul_(weight_D)


def _normalise_backward(grad_ND: Tensor, x_ND: Tensor, inverse_N1: Tensor, weight_D: Tensor) -> Tensor:
    scaled, wide = (grad_ND * weight_D).to(inverse_N1.dtype), x_ND.to(inverse_N1.dtype)
    projection_N1 = (scaled * wide).sum(-1, keepdim=True).mul_(inverse_N1.square()).div_(-wide.shape[-1])
    return scaled.addcmul_(wide, projection_N1).mul_(inverse_N1).to(x_ND.dtype)


def _rotate(x_NHE: Tensor, where: Layout) -> Tensor:
    half = x_NHE.shape[-1] // 2
    swapped = torch.cat((x_NHE[..., half:], x_NHE[..., :half]), dim=-1)
    return swapped.mul_(where.sin).addcmul_(x_NHE, where.cos)


def _rotate_backward(grad_NHE: Tensor, where: Layout) -> Tensor:
    half = grad_NHE.shape[-1] // 2
    turned = grad_NHE * where.sin
    swapped = torch.cat((turned[..., half:], turned[..., :half]), dim=-1)
    return swapped.addcmul_(grad_NHE, where.cos)


def _joined(weights: list[Tensor]) -> Tensor:
    """The matrices beneath each other; no copy where an earlier network has already laid them so."""
    rows = sum(weight.shape[0] for weight in weights)
    place = weights[0].storage_offset()
    home = weights[0].untyped_storage().data_ptr()
    for weight in weights:
        if (
            weight.untyped_storage().data_ptr() != home
            or weight.storage_offset() != place
            or not weight.is_contiguous()
        ):
            return torch.cat(weights)
        place += weight.numel()
    return weights[0].as_strided((rows, weights[0].shape[1]), (weights[0].shape[1], 1))


def _fold(x_THE: Tensor, kv_heads: int) -> Tensor:
    """[T, K·G, E] → [K, G·T, E]: the query heads of one key/value head become rows of one matrix."""
    grouped: Tensor = x_THE.unflatten(1, (kv_heads, -1))
    return grouped.permute(1, 2, 0, 3).reshape(kv_heads, -1, x_THE.shape[-1])


def _unfold(x_KRE: Tensor, length: int) -> Tensor:
    """[K, G·T, E] → [T, K·G·E]: the inverse of ``_fold`` with the heads flattened."""
    parted: Tensor = x_KRE.unflatten(1, (-1, length))
    return parted.permute(2, 0, 1, 3).flatten(1)


def _attend(qk: Tensor, v: Tensor, where: Layout, shape: Shape, keep: bool) -> tuple[Tensor, list[Tensor]]:
    """Causal attention of each sequence on itself: [N, H·E], and each block's probabilities [K, G·T, S]."""
    groups = shape.heads // shape.kv_heads
    out_ND = qk.new_zeros(qk.shape[0], shape.heads * shape.head_size)
    probabilities: list[Tensor] = []
    for first, start, end in where.blocks:
        rows, seen = rounded(end - start, LENGTH_STEP), rounded(end - first, LENGTH_STEP)
        q_KRE = _fold(_rows(qk[:, : shape.heads], start, end, rows), shape.kv_heads)
        k_KES = _rows(qk[:, shape.heads :], first, end, seen).permute(1, 2, 0)
        mask = where.mask[start - first : start - first + rows, :seen].repeat(groups, 1)
        p_KRS = torch.baddbmm(mask, q_KRE, k_KES, alpha=shape.head_size**-0.5).softmax(-1)
        o_KRE = torch.bmm(p_KRS, _rows(v, first, end, seen).permute(1, 0, 2))
        out_ND[start:end] = _unfold(o_KRE, rows)[: end - start]
        if keep:
            probabilities.append(p_KRS)
    return out_ND, probabilities


def _attend_backward(
    grad_ND: Tensor, qk: Tensor, v: Tensor, out_ND: Tensor, probabilities: Sequence[Tensor], where: Layout, shape: Shape
) -> Tensor:
    """Gradient [N, (H + 2K)·E] for q, k and v before their rotation."""
    heads, kv_heads, width = shape.heads, shape.kv_heads, shape.head_size
    grad_qk = torch.zeros_like(qk)
    grad_qkv = qk.new_zeros(qk.shape[0], (heads + 2 * kv_heads) * width)
    grad_v = grad_qkv[:, (heads + kv_heads) * width :].unflatten(1, (kv_heads, width))
    grad_NHE = grad_ND.unflatten(1, (heads, width))
    # Σ_s P ∂P equals the row-wise product of the output with its gradient (FlashAttention-2, eq. 4).
    delta_NH1 = (grad_ND * out_ND).unflatten(1, (heads, width)).sum(-1, keepdim=True)
    for (first, start, end), p_KRS in zip(where.blocks, probabilities, strict=True):
        length, rows, seen = end - start, rounded(end - start, LENGTH_STEP), rounded(end - first, LENGTH_STEP)
        # Filling rows get no gradient, and the causal mask keeps filling columns out of real rows.
        grad_KRE = _fold(_rows(grad_NHE, start, end, rows), kv_heads)
        grad_v[first:end] += torch.bmm(p_KRS.transpose(1, 2), grad_KRE).permute(1, 0, 2)[: end - first]
        slope = torch.bmm(grad_KRE, _rows(v, first, end, seen).permute(1, 2, 0))
        slope.sub_(_fold(_rows(delta_NH1, start, end, rows), kv_heads)).mul_(p_KRS)
        grad_q = torch.bmm(slope, _rows(qk[:, heads:], first, end, seen).permute(1, 0, 2))
        grad_qk[start:end, :heads] = _unfold(grad_q, rows)[:length].unflatten(1, (heads, width))
        grad_k = torch.bmm(slope.transpose(1, 2), _fold(_rows(qk[:, :heads], start, end, rows), kv_heads))
        grad_qk[first:end, heads:] += grad_k.permute(1, 0, 2)[: end - first]
    grad_qkv[:, : (heads + kv_heads) * width] = _rotate_backward(grad_qk.mul_(width**-0.5), where).flatten(1)
    return grad_qkv


def _rows(x_NME: Tensor, start: int, end: int, size: int) -> Tensor:
    """Rows of one block or sequence, zeros after its end up to ``size`` rows."""
    own = x_NME[start:end]
    extra = size - (end - start)
    return functional.pad(own, (0, 0, 0, 0, 0, extra)) if extra else own
