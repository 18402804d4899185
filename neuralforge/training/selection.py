"""Which sequences a training learns from when there is no time for all: the newest, and nothing twice.

Histories repeat themselves: the same few lines of a changelog, a version or a much edited function come back commit
after commit with the same text around them. A sequence most of which is in the training already teaches little, so it
is passed over for an older one that is new, and taken up only where a small history has no more of those: what it has
of its own is still more than a second look at the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from neuralforge.data.records import Example
from neuralforge.data.split import grouped, in_turn
from neuralforge.tokens.encoding import Encoded
from neuralforge.tokens.overlap import HeldOut, grams

if TYPE_CHECKING:
    from neuralforge.training.trainer import LoRATrainer

# Examples that are tokenised at a time, in whole commits.
CHUNK = 1000
# Share of known runs of tokens that makes a sequence a repetition, and one that is never worth learning.
REPEATED, SAME = 0.5, 0.9


class Selection:
    """Sequences of ``train`` in the order in which they are worth learning; a pure function of its arguments.

    Tokenises only as far as it is asked. ``Encoded.example`` and ``.others`` index ``train``.

    Attributes:
        chosen: sequences so far.
        repeated: sequences passed over so far because they repeat others, and not taken up since.
    """

    def __init__(self, trainer: LoRATrainer, train: Sequence[Example], held_out: HeldOut) -> None:
        self.chosen: list[Encoded] = []
        self.repeated = 0
        self._held_out = held_out
        self._known: set[int] = set()
        self._coming = self._fresh(_newest_first(trainer, train))

    def first(self, count: int) -> list[Encoded]:
        """The first ``count`` sequences, or all there are."""
        while len(self.chosen) < count:
            found = next(self._coming, None)
            if found is None:
                break
            self.chosen.append(found)
        return self.chosen[:count]

    def _fresh(self, sequences: Iterator[Encoded]) -> Iterator[Encoded]:
        """Those that are mostly new, and after them, by the same measure anew, those that are partly so."""
        passed: list[Encoded] = []
        for most, coming in ((REPEATED, sequences), (SAME, passed)):
            for one in coming:
                pieces = grams(one.ids)
                if sum(piece in self._known for piece in pieces) > most * len(pieces):
                    if coming is not passed:
                        passed.append(one)
                        self.repeated += 1
                    continue
                learned = self._held_out.unlearned(one)
                if learned.loss.any():
                    self._known.update(pieces)
                    self.repeated -= coming is passed
                    yield learned


def _newest_first(trainer: LoRATrainer, train: Sequence[Example]) -> Iterator[Encoded]:
    """Commit by commit, newest first; within a commit the files take turns, so that a great one is seen all over."""

    def time(index: int) -> tuple[int, str]:
        return train[index].author_time or 0, train[index].commit or ""

    def encoded(indices: Sequence[int]) -> Iterator[Encoded]:
        made = [
            replace(one, example=indices[one.example], others=tuple(indices[other] for other in one.others))
            for one in trainer.encode([train[index] for index in indices])
        ]
        made.sort(key=lambda one: time(one.example), reverse=True)
        for _, commit in groupby(made, key=lambda one: time(one.example)):
            files = grouped(commit, lambda one: train[one.example].path or "")
            yield from in_turn([sequences[::-1] for sequences in files.values()])

    waiting: list[int] = []
    order = sorted(range(len(train)), key=time, reverse=True)
    for _, commit in groupby(order, key=time):
        waiting += commit
        if len(waiting) >= CHUNK:
            yield from encoded(sorted(waiting))
            waiting = []
    yield from encoded(sorted(waiting))
