"""How much of its width a feed-forward layer uses, measured on the activations that it shows on real text.

For the activations h = act(gate(x)) · up(x), [N tokens, W neurons]:

* *dormant*: the share of neurons whose mean |h| is at most ``DORMANT`` times the layer's mean (τ-dormant neurons, Sokar
  et al. 2023, arXiv 2302.12902). Widening a layer with dormant neurons adds what is not used.
* *effective rank*: exp of the entropy of the covariance's normalised eigenvalues (Roy & Vetterli 2007), as a share of
  what N centred tokens could show, min(N - 1, W). It says in how many directions the neurons differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuralforge.models.base import unwrapped

DORMANT = 0.025
# Tokens that the figures are taken on; more would cost time (a square matrix of them) and change little.
TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Utilisation:
    """Figures of one layer: its width, and the two shares of the module's docstring, from 0 to 1."""

    layer: int
    width: int
    dormant: float
    effective_rank: float


@torch.no_grad()
def utilisation(model: Any, ids_BT: Tensor, attention_mask: Tensor | None = None) -> list[Utilisation]:
    """Figures of every layer of an ``ArborForCausalLM`` (or PEFT's wrapper of one) on the tokens ``ids_BT``.

    Dropout is off while it computes; the model is otherwise left as it is. Positions where ``attention_mask`` is 0 do
    not count, and of more than ``TOKENS`` an even draw does.
    """
    inner = unwrapped(model)
    chosen = torch.ones_like(ids_BT) if attention_mask is None else attention_mask
    rows = chosen.flatten().nonzero().squeeze(1)
    if len(rows) > TOKENS:
        rows = rows[torch.linspace(0, len(rows) - 1, TOKENS, device=rows.device).long()]
    seen: list[Tensor] = []
    training = [module for module in inner.modules() if module.training]
    inner.eval()
    try:
        with _watching([layer.mlp.down_proj for layer in inner.model.layers], rows, seen):
            inner.model(input_ids=ids_BT, attention_mask=attention_mask, use_cache=False)
    finally:
        for module in training:
            module.training = True
    return [Utilisation(index, h_NW.shape[1], _dormant(h_NW), effective_rank(h_NW)) for index, h_NW in enumerate(seen)]


def effective_rank(h_NW: Tensor) -> float:
    """exp(entropy of the covariance's eigenvalues) / min(N - 1, W); 0 where nothing varies."""
    centred = h_NW.double() - h_NW.double().mean(dim=0)
    few = min(centred.shape)
    gram = centred @ centred.T if centred.shape[0] == few else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).clamp_min(0)
    total = float(values.sum())
    most = min(h_NW.shape[0] - 1, h_NW.shape[1])
    if not total > 0 or most < 1:
        return 0.0
    shares = values / total
    shares = shares[shares > 1e-12]
    return float(torch.exp(-(shares * shares.log()).sum())) / most


def _dormant(h_NW: Tensor) -> float:
    strength_W = h_NW.float().abs().mean(dim=0)
    mean = float(strength_W.mean())
    return float((strength_W <= DORMANT * mean).float().mean()) if mean > 0 else 1.0


@contextmanager
def _watching(modules: Sequence[Any], rows: Tensor, seen: list[Tensor]) -> Iterator[None]:
    """Append the input of each module, its positions flattened and ``rows`` of them taken, to ``seen``."""

    def look(_module: Any, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].flatten(0, -2)[rows])

    hooks = [module.register_forward_pre_hook(look) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
