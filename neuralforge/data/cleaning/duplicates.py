"""Examples that say what another one already said: exactly, or nearly.

Near duplicates are found by MinHash (Broder 1997) with locality-sensitive hashing (Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", chapter 3) over runs of three tokens, both as rensa implements them:
its sketches and its index together take a tenth of the time of datasketch's, and it needs no SciPy.
"""

import hashlib
import re
from typing import Any

from neuralforge.data.records import Example

PERMUTATIONS = 64
# A pair of similarity s shares one of b bands of r rows with probability 1 - (1 - s^r)^b: with 16 bands of 4 that is
# 0.9998 at 0.8 and 0.988 at 0.7. What shares a band is then compared by its whole sketch.
BANDS = 16
RUN = 3
# An index this large is set aside for a fresh one, and dropped when that one is full too: what is compared
# with reaches back 10,000 to 20,000 examples, and memory stays flat however many come.
GENERATION = 10_000
EXACT_GENERATION = 1_000_000

_SHORT = 80
_LONGEST = 50_000

_TOKEN = re.compile(r"\w+|[^\w\s]")


def content_key(example: Example) -> bytes:
    """16 bytes that are equal for examples of equal completion and equal text just before it.

    White space at the ends is ignored; of the text before, the last 200 characters count, since the same
    edit is often seen through windows of different width.
    """
    before = example.prefix.rstrip()[-200:]
    text = f"{before}\0{example.completion.strip()}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class ExactDuplicates:
    """Remembers the content of the examples it was shown (the last one to two million of them)."""

    def __init__(self) -> None:
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def seen(self, example: Example) -> bool:
        """True when an equal example came before; else remember this one."""
        key = content_key(example)
        if key in self._new or key in self._old:
            return True
        if len(self._new) >= EXACT_GENERATION:
            self._old, self._new = self._new, set()
        self._new.add(key)
        return False


class NearDuplicates:
    """Remembers the completions it was given and finds those nearly equal to another.

    A completion of fewer than 80 characters is compared together with the text just before it: the same
    ``return None`` in two functions is no duplicate.

    Args:
        threshold: estimated Jaccard similarity of the two sets of token runs, 0 to 1, from which two
            completions are near duplicates. The estimate's standard error is about 0.05.
        bounded: forget the oldest completions so that memory stays flat; False remembers all.
    """

    def __init__(self, threshold: float = 0.8, *, bounded: bool = True) -> None:
        self._threshold = threshold
        self._bounded = bounded
        self._new = _Index(threshold)
        self._old = _Index(threshold)

    def seen(self, example: Example) -> bool:
        """True when a near duplicate came before; else remember this one."""
        sketch = _sketch(_compared(example))
        if self._known(sketch):
            return True
        self._remember(sketch)
        return False

    def add(self, example: Example) -> None:
        """Remember ``example`` without asking."""
        self._remember(_sketch(_compared(example)))

    def near(self, example: Example) -> bool:
        """True when a remembered completion is nearly this one. Remembers nothing."""
        return self._known(_sketch(_compared(example)))

    def _known(self, sketch: Any) -> bool:
        return self._new.near(sketch) or self._old.near(sketch)

    def _remember(self, sketch: Any) -> None:
        if self._bounded and len(self._new) >= GENERATION:
            self._old, self._new = self._new, _Index(self._threshold)
        self._new.add(sketch)


class _Index:
    """One generation of sketches: the library's band tables, and the sketches to verify candidates with."""

    def __init__(self, threshold: float) -> None:
        from rensa import RMinHashLSH

        self._threshold = threshold
        self._bands = RMinHashLSH(threshold, PERMUTATIONS, BANDS)
        self._sketches: list[Any] = []

    def __len__(self) -> int:
        return len(self._sketches)

    def add(self, sketch: Any) -> None:
        self._bands.insert(len(self._sketches), sketch)
        self._sketches.append(sketch)

    def near(self, sketch: Any) -> bool:
        return any(self._sketches[other].jaccard(sketch) >= self._threshold for other in self._bands.query(sketch))


def _compared(example: Example) -> str:
    missing = _SHORT - len(example.completion)
    before = example.prefix[-2 * missing :] if missing > 0 else ""
    return before + example.completion[:_LONGEST]


def _sketch(text: str) -> Any:
    """The MinHash of every run of ``RUN`` tokens of ``text``; of its tokens as one run when there are fewer."""
    from rensa import RMinHash

    tokens = _TOKEN.findall(text.encode("utf-8", "replace").decode())  # without lone surrogates
    runs = list(map(" ".join, zip(*(tokens[start:] for start in range(RUN)), strict=False)))
    sketch = RMinHash(PERMUTATIONS, 1)
    sketch.update(runs or [" ".join(tokens)])
    return sketch
