"""What two sequences have in common, by runs of ``GRAM`` tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuralforge.tokens.encoding import Encoded

GRAM = 8
# Share of a held-out completion's runs that, met in a training sequence, make the place a repetition of it.
REPEATED = 0.7


def grams(ids: NDArray[np.int32]) -> list[int]:
    """Hashes of every run of ``GRAM`` tokens (of the whole, where it is shorter), by starting position."""
    length = min(GRAM, len(ids))
    count = len(ids) - length + 1
    wide = ids.astype(np.uint64)
    hashes = np.zeros(count, np.uint64)
    for offset in range(length):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + wide[offset : offset + count]
    found: list[int] = hashes.tolist()
    return found


class HeldOut:
    """Completions that must not be learned, wherever they stand.

    The split drops training *examples* that nearly repeat a held-out one. The code around an example may do so as
    well, a function that was copied later for instance; there the repeated tokens lose their loss.
    """

    def __init__(self, held_out: Sequence[Encoded]) -> None:
        self._needed: list[float] = []
        self._where: dict[int, list[int]] = {}
        for one in held_out:
            learned = one.ids[one.loss]
            if len(learned) < GRAM:
                continue
            own = set(grams(learned))
            for gram in own:
                self._where.setdefault(gram, []).append(len(self._needed))
            self._needed.append(REPEATED * len(own))

    def unlearned(self, one: Encoded) -> Encoded:
        """``one`` without loss where it repeats a held-out completion."""
        places: dict[int, list[int]] = {}
        for position, gram in enumerate(grams(one.ids)):
            if gram in self._where:
                places.setdefault(gram, []).append(position)
        met = Counter(index for gram in places for index in self._where[gram])
        repeated = {index for index, count in met.items() if count >= self._needed[index]}
        if not repeated:
            return one
        loss = one.loss.copy()
        for gram, positions in places.items():
            if not repeated.isdisjoint(self._where[gram]):
                for position in positions:
                    loss[position : position + GRAM] = False
        return replace(one, loss=loss)
