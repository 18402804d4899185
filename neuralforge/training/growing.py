"""When a model widens in training, and what must be remembered for a killed run to widen alike.

A layer grows when it is *full*, which is three things at once (``Grower``), asked every ``monitor_frequency`` steps:

* its neurons are used: the share that is not dormant is at least ``threshold``;
* they no longer spread: the effective rank of their activations has risen by less than ``RISING`` since the last time
  (it falls or rises for reasons of its own early on, so alone it would set off far too often);
* the loss has slowed down: its mean over the last ``monitor_frequency`` steps is less than ``plateau`` (a share) below
  that of as many steps before.

The figures are those of ``models.arbor.utilisation``, on a fixed draw of the training sequences. How new neurons enter
the model and the optimiser is in ``models.arbor.growth``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from neuralforge.errors import RunError, UserError
from neuralforge.models.arbor.growth import Growth, YoungNeurons, grown_width, widen_state
from neuralforge.models.arbor.utilisation import TOKENS, Utilisation, utilisation
from neuralforge.models.base import BaseModel, causal
from neuralforge.runs.events import Grown
from neuralforge.tokens.encoding import Encoded

RISING = 0.02


@dataclass(frozen=True, slots=True)
class GrowthSettings:
    """When and how far.

    Attributes:
        factor: width after one widening over the width before. most: width at the end over that at the beginning.
        threshold: share of neurons in use from which a layer may be full.
        monitor_frequency: steps between two looks. plateau: share by which a loss that still falls falls between them.
        warmup: steps over which the rate of new neurons rises to that of the others.
    """

    factor: float = 2.0
    most: float = 2.0
    threshold: float = 0.95
    monitor_frequency: int = 100
    plateau: float = 0.02
    warmup: int = 50


class Grower:
    """Looks at the model every so often and widens the layers that are full.

    Args:
        base: an ``ArborForCausalLM``, with or without adapters.
        optimiser: an Adam of what is trained.
        encoded: the training sequences; a few of them are looked at, always the same.

    Raises:
        UserError: the model is of another family.
    """

    def __init__(
        self,
        base: BaseModel,
        optimiser: torch.optim.Optimizer,
        settings: GrowthSettings,
        encoded: Sequence[Encoded],
    ) -> None:
        self.model: Any = causal(base)
        if getattr(self.model.config, "model_type", "") != "arbor":
            raise UserError(f"{base.name} cannot grow: only Arbor models do.", "Switch growth off for this model.")
        self.base, self.optimiser, self.settings = base, optimiser, settings
        self.young = YoungNeurons(optimiser, settings.warmup)
        self.first = list(self.widths)
        self.history: list[tuple[int, int]] = []
        self.losses: list[float] = []
        self.before: float | None = None
        self.ranks: list[float] = []
        self.probe = _probe(encoded)

    @property
    def widths(self) -> list[int]:
        """The width of every layer."""
        return list(self.model.config.intermediate_sizes)

    def after(self, step: int, losses: Sequence[float]) -> list[Grown]:
        """Take note of ``losses`` (nats a token), the last of which is of ``step``; look, if it is time, and widen.

        Returns:
            What grew. A network that was opened on the model must then be opened again.
        """
        due = any((step - back) % self.settings.monitor_frequency == 0 for back in range(len(losses)))
        self.losses += losses
        if not due:
            return []
        mean = sum(self.losses) / len(self.losses)
        improvement = None if self.before is None else 1 - mean / self.before
        self.losses, self.before = [], mean
        ids_BT, mask_BT = self.probe
        seen = utilisation(self.base.model, ids_BT.to(self.model.device), mask_BT.to(self.model.device))
        ranks, self.ranks = self.ranks, [one.effective_rank for one in seen]
        if improvement is None or improvement >= self.settings.plateau or not ranks:
            return []
        grown = [
            self._widen(one, step, improvement)
            for one, rank in zip(seen, ranks, strict=True)
            if 1 - one.dormant >= self.settings.threshold
            and one.effective_rank <= rank * (1 + RISING)
            and self._next(one.layer) > one.width
        ]
        if grown:  # what comes next is another model: its first figures are compared with nothing
            self.before, self.ranks = None, []
        return grown

    def _next(self, layer: int) -> int:
        most = int(self.first[layer] * self.settings.most)
        return min(grown_width(self.widths[layer], self.settings.factor), most)

    def _widen(self, one: Utilisation, step: int, improvement: float) -> Grown:
        growth = self._resize(one.layer, self._next(one.layer))
        widen_state(self.optimiser, growth.parts)
        self.young.add(growth.parts)
        return Grown(
            step,
            growth.layer,
            growth.width_before,
            growth.width_after,
            growth.parameters_before,
            growth.parameters_after,
            one.dormant,
            one.effective_rank,
            improvement,
        )

    def _resize(self, layer: int, width: int) -> Growth:
        """New neurons are a function of layer and width: where the model itself is frozen, no checkpoint keeps them."""
        self.history.append((layer, width))
        growth: Growth = self.model.resize_layer(layer, width, seed=layer << 32 | width)
        return growth

    def to_json(self) -> dict[str, Any]:
        """Everything that decides what grows next, in plain JSON values."""
        names = {id(parameter): name for name, parameter in self.base.model.named_parameters()}
        return {
            "first": self.first,
            "history": list(self.history),
            "losses": list(self.losses),
            "before": self.before,
            "ranks": self.ranks,
            "young": [
                [names[id(one.part.parameter)], one.part.dim, one.part.start, one.part.stop, one.age]
                for one in self.young.young
            ],
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Give the layers the widths they had, before their weights are put back, and go on from there.

        Raises:
            RunError: that was another model.
        """
        try:
            history = [(int(layer), int(width)) for layer, width in content["history"]]
            if list(content["first"]) != self.first:
                raise ValueError("its layers began with other widths")
            self.losses, self.before, self.ranks = list(content["losses"]), content["before"], list(content["ranks"])
            self.history = []
            for layer, width in enumerate(self.first):
                self.model.resize_layer(layer, width)
            for layer, width in history:
                self._resize(layer, width)
            named = dict(self.base.model.named_parameters())
            self.young.resume((named[name], dim, start, stop, age) for name, dim, start, stop, age in content["young"])
        except (KeyError, TypeError, ValueError) as failure:
            raise RunError(
                f"The checkpoint was written for a model that grew otherwise: {failure}.",
                "Resume with the command that began the run, or start a new run in another folder.",
            ) from failure


def _probe(encoded: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """An even draw of sequences with about ``TOKENS`` tokens: ids and mask [B, T]."""
    usual = max(1, len(encoded[len(encoded) // 2].ids))
    count = max(1, min(len(encoded), -(-TOKENS // usual)))
    chosen = [encoded[int(index)].ids for index in np.linspace(0, len(encoded) - 1, count)]
    longest = max(map(len, chosen))
    ids = torch.zeros(count, longest, dtype=torch.long)
    mask = torch.zeros(count, longest, dtype=torch.long)
    for row, one in enumerate(chosen):
        ids[row, : len(one)] = torch.from_numpy(one.astype(np.int64))
        mask[row, : len(one)] = 1
    return ids, mask
