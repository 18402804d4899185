"""Examples that say what another one already said: exactly, or nearly.

Near duplicates are found by MinHash (Broder 1997) with locality-sensitive hashing (Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", chapter 3), as datasketch implements them, over runs of three tokens.
Tokens are hashed by CRC-32 and runs are mixed in numpy, because hashing each run by SHA-1 (the library's way)
took most of the time.
"""

import hashlib
import re
import zlib
from typing import Any

import numpy as np

from neuralforge.data.records import Example

PERMUTATIONS = 64
# A pair of similarity s shares one of b bands of r rows with probability 1 - (1 - s^r)^b: at 0.8 that is 0.95
# with the strict setting, at 0.7 it is 0.988 with the wide one, which costs half as much again.
_STRICT, _WIDE = (10, 6), (16, 4)
_STRICT_FROM = 0.8
RUN = 3
# An index this large is set aside for a fresh one, and dropped when that one is full too: what is compared
# with reaches back 10,000 to 20,000 examples, and memory stays flat (146 MiB measured) however many come.
GENERATION = 10_000
EXACT_GENERATION = 1_000_000

_SHORT = 80
_LONGEST = 50_000

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SPACE = re.compile(r"\s+")


class _Codes(dict[str, int]):
    """CRC-32 of tokens, computed once each: code repeats itself. Emptied when it holds 100,000."""

    def __missing__(self, token: str) -> int:
        if len(self) >= 100_000:
            self.clear()
        code = self[token] = zlib.crc32(token.encode("utf-8", "surrogatepass"))
        return code


_CODES = _Codes()  # a cache of a pure function: what is in it never changes a result


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
        from datasketch import MinHash

        self._threshold = threshold
        self._bounded = bounded
        # Copies share the permutations; making them anew for each example would cost ten times the hashing.
        self._blank = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=_identity)
        self._bands = _STRICT if threshold >= _STRICT_FROM else _WIDE
        self._new = _Index(self._bands)
        self._old = _Index(self._bands)

    def seen(self, example: Example) -> bool:
        """True when a near duplicate came before; else remember this one."""
        sketch = self._sketch(_compared(example))
        if self._known(sketch):
            return True
        self._remember(sketch)
        return False

    def add(self, example: Example) -> None:
        """Remember ``example`` without asking."""
        self._remember(self._sketch(_compared(example)))

    def near(self, example: Example) -> bool:
        """True when a remembered completion is nearly this one. Remembers nothing."""
        return self._known(self._sketch(_compared(example)))

    def _sketch(self, text: str) -> Any:
        sketch = self._blank.copy()
        sketch.update_batch(token_runs(text).tolist())
        return sketch

    def _known(self, sketch: Any) -> bool:
        return self._new.near(sketch, self._threshold) or self._old.near(sketch, self._threshold)

    def _remember(self, sketch: Any) -> None:
        if self._bounded and len(self._new) >= GENERATION:
            self._old, self._new = self._new, _Index(self._bands)
        self._new.add(sketch)


class _Index:
    """One generation of sketches: the library's band tables, and the signatures to verify candidates with."""

    def __init__(self, bands: tuple[int, int]) -> None:
        from datasketch import MinHashLSH

        self._bands = MinHashLSH(num_perm=PERMUTATIONS, params=bands)
        self._signatures: list[np.ndarray[Any, np.dtype[Any]]] = []

    def __len__(self) -> int:
        return len(self._signatures)

    def add(self, sketch: Any) -> None:
        self._bands.insert(len(self._signatures), sketch, check_duplication=False)
        self._signatures.append(sketch.hashvalues)

    def near(self, sketch: Any, threshold: float) -> bool:
        if not self._signatures:
            return False
        least = threshold * PERMUTATIONS
        return any(
            np.count_nonzero(self._signatures[other] == sketch.hashvalues) >= least
            for other in self._bands.query(sketch)
        )


def _compared(example: Example) -> str:
    missing = _SHORT - len(example.completion)
    before = example.prefix[-2 * missing :] if missing > 0 else ""
    return before + example.completion[:_LONGEST]


def token_runs(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Hashes (uint32, in text order) of every run of three tokens; of the whole when it has fewer."""
    codes = np.array([_CODES[token] for token in _TOKEN.findall(text)], dtype=np.uint32)
    if len(codes) < RUN:
        whole = _SPACE.sub(" ", text.strip()).encode("utf-8", "surrogatepass")
        return np.array([zlib.crc32(whole)], dtype=np.uint32)
    second = codes[1:-1] ^ (codes[1:-1] >> np.uint32(15))
    mixed: np.ndarray[Any, np.dtype[np.uint32]] = codes[:-2] * np.uint32(0x9E3779B1)
    mixed += second * np.uint32(0x85EBCA6B)
    mixed ^= codes[2:] * np.uint32(0xC2B2AE35)
    return mixed


def _identity(code: int) -> int:
    return code
