"""How the next token is chosen from its logits: the likeliest, or drawn after the usual adjustments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuralforge.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; applied in this order, as transformers does.

    Attributes:
        repetition_penalty: divide positive logits of tokens seen before by it and multiply negative ones; 1 leaves them
            (Keskar et al. 2019, arXiv 1909.05858).
        temperature: draw from softmax(logits / temperature); 0 takes the likeliest token.
        top_k: draw among the so many likeliest tokens; 0 among all.
        top_p: draw among the fewest likeliest tokens that together have this probability (Holtzman et al. 2020, arXiv
            1904.09751); 1 among all.
        seed: makes drawing repeatable; prompt number i uses its own stream made of ``seed`` and i.

    Raises:
        UserError: a value out of bounds.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, value, fine, bounds in (
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, "0 (the likeliest token) or above"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, and 1 at the most"),
            ("top_k", self.top_k, self.top_k >= 0, "0 (any token) or above"),
            ("repetition_penalty", self.repetition_penalty, 0 < self.repetition_penalty < math.inf, "above 0"),
        ):
            if not fine:
                raise UserError(f"{name} cannot be {value}.", f"It is {bounds}.")


class Chooser:
    """Picks each row's next token; one random stream a prompt, so that the batch's make-up does not matter."""

    def __init__(self, sampling: Sampling) -> None:
        from transformers.generation import logits_process

        self.sampling = sampling
        self.streams: dict[int, torch.Generator] = {}
        self.steps: list[Any] = []
        if sampling.repetition_penalty != 1:
            self.steps.append(logits_process.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if sampling.temperature > 0:
            self.steps.append(logits_process.TemperatureLogitsWarper(float(sampling.temperature)))
            if sampling.top_k:
                self.steps.append(logits_process.TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1:
                self.steps.append(logits_process.TopPLogitsWarper(float(sampling.top_p)))

    def choose(self, logits_BV: torch.Tensor, numbers: Sequence[int], seen: Mapping[int, Sequence[int]]) -> list[int]:
        """One token a row; ``numbers`` are the rows' prompts, ``seen`` the tokens that each has so far."""
        import torch

        if not self.steps:
            return [int(token) for token in logits_BV.argmax(dim=-1).tolist()]
        chosen = []
        for logits_V, number in zip(logits_BV.float().cpu(), numbers, strict=True):
            ids_1T, scores_1V = torch.tensor([list(seen[number])], dtype=torch.long), logits_V.unsqueeze(0)
            for step in self.steps:
                scores_1V = step(ids_1T, scores_1V)
            if self.sampling.temperature == 0:
                chosen.append(int(scores_1V.argmax()))
            else:
                chosen.append(int(scores_1V.softmax(dim=-1)[0].multinomial(1, generator=self._stream(number))))
        return chosen

    def _stream(self, number: int) -> torch.Generator:
        import torch

        if number not in self.streams:
            stream = torch.Generator()
            if self.sampling.seed is None:
                stream.seed()
            else:
                # Odd multiplier: distinct prompts and seeds get distinct 63-bit states.
                stream.manual_seed((self.sampling.seed * 0x9E3779B97F4A7C15 + number) % (1 << 63))
            self.streams[number] = stream
        return self.streams[number]
