"""Teacher-forced scores of held-out sequences, adapter off and on, sharing the layers that no adapter touches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuralforge.models.base import BaseModel
from neuralforge.runs.events import Emit, Progress, silent
from neuralforge.tokens.batching import collate, cut
from neuralforge.tokens.encoding import Encoded
from neuralforge.training.lanes import Lanes, cores
from neuralforge.training.network import Network, open_network

MICRO_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one sequence's supervised tokens, in order.

    Attributes:
        nll: negative log-likelihood in nats [S], float32.
        correct: the most likely token is the target [S].
        predicted: the most likely token [S], int32.
        example, group: as in ``Encoded``.
    """

    nll: NDArray[np.float32]
    correct: NDArray[np.bool_]
    predicted: NDArray[np.int32]
    example: int
    group: str


def score(base: BaseModel, encoded: Sequence[Encoded], *, emit: Emit = silent) -> list[Scored]:
    """Scores of the model as it is (with its adapter, if it has one), in the order of ``encoded``."""
    (scored,) = _passes(base, encoded, (True,), emit)
    return scored


def score_pair(
    base: BaseModel, encoded: Sequence[Encoded], *, emit: Emit = silent
) -> tuple[list[Scored], list[Scored]]:
    """(adapter off, adapter on): layers below the adapter are computed once for both."""
    off, on = _passes(base, encoded, (False, True), emit)
    return off, on


def mean_loss(network: Network, encoded: Sequence[Encoded], lanes: Lanes) -> float:
    """Nats per supervised token over all of ``encoded``, adapter on."""
    parts = _micro_batches(encoded, MICRO_TOKENS)

    def work(part: tuple[int, ...]) -> tuple[float, int]:
        losses, _ = network.scores(collate(encoded, part), adapt=True)
        return float(losses.double().sum()), len(losses)

    sums = list(lanes.map(work, parts))
    return sum(total for total, _ in sums) / max(1, sum(count for _, count in sums))


def _micro_batches(encoded: Sequence[Encoded], limit: int) -> list[tuple[int, ...]]:
    lengths = [len(one.ids) for one in encoded]
    return list(cut(range(len(encoded)), lengths, limit))


def _passes(base: BaseModel, encoded: Sequence[Encoded], adapt: tuple[bool, ...], emit: Emit) -> list[list[Scored]]:
    model: Any = base.model
    model.eval()
    network = open_network(base)
    results: list[dict[int, Scored]] = [{} for _ in adapt]
    done = 0

    def work(part: tuple[int, ...]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        batch = collate(encoded, part)
        with torch.no_grad():
            below = network.frozen(batch) if network.depth else None
        return [network.scores(batch, on, below) for on in adapt]

    parts = _micro_batches(encoded, MICRO_TOKENS)
    with Lanes(cores() if network.concurrent else 1) as lanes:
        for part, scores in zip(parts, lanes.map(work, parts), strict=True):
            for (losses, likely), into in zip(scores, results, strict=True):
                _file(encoded, part, losses, likely, into)
            done += len(part)
            emit(Progress(done, len(encoded), "examples"))
    return [[into[index] for index in range(len(encoded))] for into in results]


def _file(
    encoded: Sequence[Encoded],
    part: tuple[int, ...],
    losses: torch.Tensor,
    likely: torch.Tensor,
    into: dict[int, Scored],
) -> None:
    counts = [encoded[index].supervised for index in part]
    for index, nll, predicted in zip(part, losses.split(counts), likely.split(counts), strict=True):
        one = encoded[index]
        guess = predicted.numpy().astype(np.int32)
        into[index] = Scored(nll.float().numpy(), guess == one.ids[one.loss], guess, one.example, one.group)
