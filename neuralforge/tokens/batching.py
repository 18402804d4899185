"""Which sequences are computed together, and in which order: a pure function of lengths and a seed.

Every sequence is in exactly one batch of every epoch. A *batch* is what one optimiser step learns from; it is cut
into *micro-batches* of about equal numbers of tokens that are computed one after another, or side by side in the
lanes of ``training.lanes``. Sequences of one batch have similar lengths, so that neither padding (where a model needs
it) nor an idle lane wastes work.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuralforge.tokens.encoding import Encoded

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches of one epoch: indices of sequences, micro-batch by micro-batch."""

    batches: tuple[tuple[tuple[int, ...], ...], ...]


def plan_epoch(
    lengths: Sequence[int], batch_size: int, micro_tokens: int, seed: int, epoch: int, together: int = 1
) -> Plan:
    """Shuffle, group by length within windows, cut into batches of ``batch_size``, shuffle the groups.

    Args:
        lengths: tokens of each sequence.
        batch_size: sequences to one optimiser step.
        micro_tokens: a micro-batch holds at most this many tokens, padding included, unless one sequence is longer.
        together: batches of like length that follow one another, because they are computed side by side.
    """
    chooser = random.Random(f"{seed}/{epoch}")  # noqa: S311 — reproducible order, not secrecy
    order = list(range(len(lengths)))
    chooser.shuffle(order)
    # Wide enough to find company of like length, narrow enough to stay random; in whole groups, so that only the
    # last group of an epoch is short.
    group = batch_size * together
    window = group * 16
    groups: list[list[int]] = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window], key=lambda index: (lengths[index], index))
        groups += [near[at : at + group] for at in range(0, len(near), group)]
    whole = len(order) // group
    shuffled = groups[:whole]
    chooser.shuffle(shuffled)
    return Plan(
        tuple(
            cut(one[at : at + batch_size], lengths, micro_tokens)
            for one in (*shuffled, *groups[whole:])
            for at in range(0, len(one), batch_size)
        )
    )


def cut(indices: Sequence[int], lengths: Sequence[int], micro_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Split into micro-batches whose padded size (longest times count) stays within ``micro_tokens``."""
    pieces: list[list[int]] = []
    longest = 0
    for index in sorted(indices, key=lambda one: (-lengths[one], one)):
        if pieces and max(longest, lengths[index]) * (len(pieces[-1]) + 1) <= micro_tokens:
            pieces[-1].append(index)
        else:
            pieces.append([index])
            longest = lengths[index]
    return tuple(tuple(piece) for piece in pieces)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Sequences computed in one pass.

    Attributes:
        ids: [N] int64, the sequences one after another.
        lengths: tokens of each sequence; they add up to N.
        sources: tokens of each sequence that go to the encoder (all 0 for a decoder-only base).
        rows: [S] positions in ``ids`` whose *next* token is predicted with loss (for an encoder-decoder: the
            predicted positions themselves).
        targets: [S] the tokens predicted there.
        indices: which sequences these are.
        counts: supervised tokens of each sequence; they add up to S.
        seed: of whatever this pass draws at random.
    """

    ids: torch.Tensor
    lengths: tuple[int, ...]
    sources: tuple[int, ...]
    rows: torch.Tensor
    targets: torch.Tensor
    indices: tuple[int, ...]
    counts: tuple[int, ...]
    seed: int = 0

    @property
    def tokens(self) -> int:
        """Tokens computed."""
        return int(self.ids.numel())


def collate(encoded: Sequence[Encoded], indices: Sequence[int], seed: int = 0) -> MicroBatch:
    """Lay the sequences ``indices`` one after another."""
    import torch

    chosen = [encoded[index] for index in indices]
    ids: NDArray[np.int64] = np.concatenate([one.ids for one in chosen]).astype(np.int64)
    marked = np.flatnonzero(np.concatenate([one.loss for one in chosen]))
    ahead = 0 if chosen[0].source else 1
    return MicroBatch(
        ids=torch.from_numpy(ids),
        lengths=tuple(len(one.ids) for one in chosen),
        sources=tuple(one.source for one in chosen),
        rows=torch.from_numpy(marked - ahead),
        targets=torch.from_numpy(ids[marked]),
        indices=tuple(indices),
        counts=tuple(one.supervised for one in chosen),
        seed=seed,
    )
