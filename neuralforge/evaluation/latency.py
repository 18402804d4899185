"""How long a person waits: time to the first token and between tokens, one request at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from neuralforge.evaluation.completions import completion_span
from neuralforge.evaluation.prompts import neutral_prompts
from neuralforge.evaluation.subject import adapter_off
from neuralforge.models.base import BaseModel
from neuralforge.models.generation import context_length, generate
from neuralforge.runs.events import Emit, Phase, Progress, silent

if TYPE_CHECKING:
    from neuralforge.tokens.encoding import Encoded

PROMPTS = 12
NEW_TOKENS = 24
WARM_UP = 2


@dataclass(slots=True)
class Latency:
    """Waiting times in seconds: one first-token time a request, one per-token time a token after it."""

    first_token: list[float] = field(default_factory=list)
    per_token: list[float] = field(default_factory=list)

    def percentile(self, which: str, share: float) -> float:
        """A percentile of ``first_token`` or ``per_token`` in seconds (NaN where nothing was timed)."""
        times = self.first_token if which == "first_token" else self.per_token
        return float(np.percentile(times, share)) if times else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Medians and 95th percentiles in milliseconds, with the number of times behind them."""
        return {
            which: {
                "p50_ms": round(self.percentile(which, 50) * 1000, 3),
                "p95_ms": round(self.percentile(which, 95) * 1000, 3),
                "measured": len(times),
            }
            for which, times in (("first_token", self.first_token), ("per_token", self.per_token))
            if times
        }


def measure_latency(
    base: BaseModel, prompts: Sequence[Sequence[int]], *, new_tokens: int = NEW_TOKENS, emit: Emit = silent
) -> tuple[Latency, Latency]:
    """Time greedy generation without and with the attached adapter.

    The two take turns on each prompt, so that a machine that slows down or is shared slows both. The first two
    prompts are also run beforehand, unmeasured. A model that ends a text early gives fewer times between tokens
    for it, none of them shorter or longer for that.
    """
    emit(Phase("latency", f"{len(prompts)} prompts, {new_tokens} tokens each"))
    off, on = Latency(), Latency()
    warm_up = prompts[:WARM_UP]
    for number, prompt in enumerate([*warm_up, *prompts], start=1 - len(warm_up)):
        for adapter, result in ((False, off), (True, on)):
            with contextlib.nullcontext() if adapter else adapter_off(base):
                _time(base, prompt, new_tokens, result if number > 0 else Latency())
        if number > 0:
            emit(Progress(number, len(prompts), "prompts"))
    return off, on


def measure_speed(
    base: BaseModel, prompts: Sequence[Sequence[int]], *, new_tokens: int = NEW_TOKENS, emit: Emit = silent
) -> Latency:
    """Time greedy generation of the model as it is, with the attached adapter."""
    emit(Phase("latency", f"{len(prompts)} prompts, {new_tokens} tokens each"))
    result = Latency()
    for prompt in prompts[:WARM_UP]:
        _time(base, prompt, new_tokens, Latency())
    for number, prompt in enumerate(prompts, start=1):
        _time(base, prompt, new_tokens, result)
        emit(Progress(number, len(prompts), "prompts"))
    return result


def prompts_for(base: BaseModel, encoded: Sequence[Encoded], most: int = PROMPTS) -> list[list[int]]:
    """Prompts to time: what stands before the completions of some examples, or neutral ones without examples.

    Of a prompt that leaves no room for ``NEW_TOKENS``, the end.
    """
    positions = context_length(base)
    room = None if positions is None else positions - NEW_TOKENS
    usable = [item for item in encoded if item.loss.any() and not item.loss[0]]
    if usable:
        step = max(1, len(usable) // most)
        prompts = (item.ids[: completion_span(item.loss)[0]].tolist() for item in usable[::step][:most])
        return [prompt if room is None else prompt[-room:] for prompt in prompts]
    texts = [text for _, text in neutral_prompts(("python", "javascript", "java"), most)]
    return [[int(token) for token in base.tokenizer(text)["input_ids"]] for text in texts]


def _time(base: BaseModel, prompt: Sequence[int], new_tokens: int, into: Latency) -> None:
    stamps = [time.perf_counter()]
    generate(base, [prompt], max_new_tokens=new_tokens, on_tokens=lambda *_: stamps.append(time.perf_counter()))
    gaps = np.diff(stamps).tolist()
    into.first_token += gaps[:1]
    into.per_token += gaps[1:]
