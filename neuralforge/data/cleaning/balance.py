"""Keep one language from drowning the others."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from neuralforge.data.cleaning.duplicates import content_key
from neuralforge.data.records import Example, Funnel

# A language is never cut below this many examples, or two tiny neighbours would empty a large one.
FLOOR = 50


def caps(counts: Counter[str], factor: float) -> dict[str, int]:
    """The most examples each language may keep: ``factor`` times the median language's count, at least 50."""
    if len(counts) < 2:
        return dict(counts)
    most = max(FLOOR, round(factor * statistics.median(counts.values())))
    return {language: min(count, most) for language, count in counts.items()}


def balance_by_language(examples: Sequence[Example], factor: float, funnel: Funnel) -> list[Example]:
    """Cut every language to its cap, in the order given; the rest is discarded as ``balance: <language>``.

    Which ones stay depends on their content only, so the same examples in another order give the same set.
    """
    most = caps(Counter(example.language for example in examples), factor)
    chosen = _chosen(examples, most)
    kept = []
    for index, example in enumerate(examples):
        if index in chosen:
            kept.append(example)
        else:
            funnel.discard(f"balance: {example.language}")
    return kept


def _chosen(examples: Iterable[Example], most: dict[str, int]) -> set[int]:
    by_language: dict[str, list[tuple[bytes, int]]] = {}
    for index, example in enumerate(examples):
        key = hashlib.blake2b(
            content_key(example) + (example.path or "").encode("utf-8", "surrogatepass"), digest_size=16
        )
        by_language.setdefault(example.language, []).append((key.digest(), index))
    return {index for language, keyed in by_language.items() for _, index in sorted(keyed)[: most[language]]}
