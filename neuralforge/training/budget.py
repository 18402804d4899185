"""Time and memory: measure this machine for a few seconds, say what a training will take, keep to a deadline.

The predictions come from running the very thing: real sequences, the real network, the real lanes. Nothing about the
processor is assumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from neuralforge import files
from neuralforge.errors import DataError
from neuralforge.models.base import BaseModel
from neuralforge.tokens.batching import collate, cut
from neuralforge.tokens.encoding import Encoded
from neuralforge.tokens.shards import lengths_of
from neuralforge.training.checkpoint import trainable
from neuralforge.training.lanes import lanes_for
from neuralforge.training.loop import LoopSettings
from neuralforge.training.scoring import MICRO_TOKENS

SAMPLE_BATCHES = 4
# A schedule that is cut short by less than this share of its steps is not worth bending.
TOLERANCE = 0.03
# A step that takes so many times what was expected says no more about what follows.
SLOWEST = 2.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What was measured.

    Attributes:
        train: seconds a token of training (forward, backward), all lanes at work.
        score: seconds a token of a forward pass alone.
        memory: resident bytes of this process at the peak of the measurement.
    """

    train: float
    score: float
    memory: int


def measure(base: BaseModel, encoded: Sequence[Encoded], settings: LoopSettings) -> Pulse:
    """Train on a few micro-batches without learning from them, in the lanes that a round of ``settings`` fills.

    Takes the longest sequences for the memory's sake and ordinary ones for the time's.
    """
    network = settings.network(base, encoded)
    parameters = list(trainable(base.model).values())
    lengths = lengths_of(encoded)
    workers = lanes_for(settings.together if network.concurrent else 1)
    count = workers.count
    longest = sorted(range(len(encoded)), key=lambda index: -lengths[index])[:count]
    stride = max(1, len(encoded) // (SAMPLE_BATCHES * count))
    usual = list(range(0, len(encoded), stride))[: SAMPLE_BATCHES * count]

    def learn(part: tuple[int, ...]) -> int:
        batch = collate(encoded, part)
        torch.autograd.grad(network.loss(batch), parameters)
        return batch.tokens

    def look(part: tuple[int, ...]) -> int:
        batch = collate(encoded, part)
        network.scores(batch, adapt=True)
        return batch.tokens

    def timed(work: Callable[[tuple[int, ...]], int], indices: Sequence[int], together: int, limit: int) -> float:
        groups = (indices[at : at + together] for at in range(0, len(indices), together))
        parts = [part for group in groups for part in cut(group, lengths, limit)]
        began = time.perf_counter()
        tokens = sum(lanes.map(work, parts))
        return (time.perf_counter() - began) / max(1, tokens)

    peak = 0

    def observed(part: tuple[int, ...]) -> int:
        nonlocal peak
        tokens = learn(part)
        peak = max(peak, psutil.Process().memory_info().rss)
        return tokens

    base.model.train()
    with workers as lanes:
        # The first pass of a kind prepares its matrix kernels, which a whole run does once.
        passes = settings.batch_size, settings.micro_tokens
        timed(observed, longest, *passes)
        train = timed(learn, usual, *passes)
        timed(look, usual, len(usual), MICRO_TOKENS)
        score = timed(look, usual, len(usual), MICRO_TOKENS)
    base.model.eval()
    return Pulse(train, score, max(peak, psutil.Process().memory_info().rss))


class Pace:
    """Keep a run to its deadline by changing how many steps it plans, and remember every such decision.

    The learning rate follows the plan, so a run that is found too slow still ends with a small rate, on time. What was
    decided is written down before it takes effect: a run that was killed and resumed decides the same again.

    Args:
        seconds: of training that are left for this run, what earlier sessions spent included.
        spent: seconds that earlier sessions spent.
        steps: never plan more than this.
        record: JSON file of decisions.
        expected: seconds of a step when ``afterwards``, the seconds of work that follows, was predicted: where steps
            turn out slower or faster than that, so will what follows, and the time for training gives way.
    """

    def __init__(
        self,
        seconds: float,
        *,
        spent: float = 0.0,
        steps: int,
        record: Path,
        expected: float = 0.0,
        afterwards: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.expected, self.afterwards = expected, afterwards
        self.seconds, self.spent, self.most, self.record, self.clock = seconds, spent, steps, record, clock
        self.began: float | None = None
        self.first = self.calls = 0
        self.decided: dict[int, int] = _read(record)

    def __call__(self, step: int, total: int) -> int:
        """Steps to plan for, now that ``step`` of ``total`` are done."""
        if step in self.decided:
            return self.decided[step]
        if self.decided and step < max(self.decided):
            return total
        now = self.clock()
        if self.began is None:
            self.began, self.first = now, step  # the first round carries the warm-up of the kernels
            return total
        self.calls += 1
        if self.calls % 4:
            return total
        each = (now - self.began) / (step - self.first)
        gained = self.afterwards * (1 - min(each / self.expected, SLOWEST)) if self.expected else 0.0
        left = self.seconds + gained - self.spent - (now - self.began)
        possible = min(self.most, step + max(0, int(left / each)))
        if abs(possible - total) <= max(1, TOLERANCE * total):
            return total
        self.decided[step] = possible
        files.write_json(self.record, {str(at): planned for at, planned in self.decided.items()})
        return possible


def _read(record: Path) -> dict[int, int]:
    if not record.exists():
        return {}
    content = files.read_json(record)
    try:
        return {int(step): int(total) for step, total in content.items()}
    except (AttributeError, ValueError, TypeError) as failure:
        raise DataError(f"{record} is damaged.", "Delete it; the schedule is then planned anew.") from failure
