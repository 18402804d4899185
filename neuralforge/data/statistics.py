"""What is in a set of examples, how long training on it will take, and what would make it better.

One pass in bounded memory: lengths go into a histogram, duplicates into the same bounded indexes that cleaning
uses, and names (languages, licences, kinds) into counters of at most a thousand entries.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from neuralforge.data.cleaning.duplicates import ExactDuplicates, NearDuplicates
from neuralforge.data.cleaning.quality import QualityLimits, fault
from neuralforge.data.cleaning.secrets import SecretScanner
from neuralforge.data.records import Example, Funnel

# Fewer usable examples than this often end below the base model (RepoPeftBench reports the same border).
FEWEST = 50
# Characters a token: 3.7 for the default base's tokenizer, over 115,000 tokens from five Python libraries.
CHARACTERS_PER_TOKEN = 3.7
# Training speed of the default base on two CPU cores, LoRA on all linear layers, 8 x 254 tokens in 5.5 s.
TOKENS_PER_SECOND = 370.0
# Context and completion together, as training uses them by default.
MAX_TOKENS = 256

_MOST_NAMES = 1_000
_NEAR_THRESHOLD = 0.8
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Lengths:
    """Length of one part over all examples, in characters. Quantiles are exact to 2 %."""

    mean: float
    median: int
    p90: int
    longest: int


@dataclass(frozen=True, slots=True)
class DatasetStatistics:
    """What `describe` found.

    Attributes:
        examples: how many were seen here.
        usable: those that cleaning with default options would keep.
        problems: reasons and counts of those it would not.
        languages, kinds, licences: counts by name; an unknown licence is ``unknown``.
        with_suffix: examples with text after the completion, which fill-in-the-middle needs.
        prefix, completion, suffix: lengths.
        tokens: estimated tokens one epoch reads (context clipped to the window).
        completion_tokens: estimated tokens one epoch learns.
        exact_duplicates, near_duplicates: examples that repeat an earlier one.
        secrets: examples with a secret, by what it looks like.
        commits: distinct commits.
        oldest, newest: author times, seconds since 1970 UTC, or None without times.
        training_seconds: expected duration of one epoch.
        funnel: what reading or mining dropped before, as `Funnel.to_json` gives it, or None.
        advice: sentences on what to do better, the most important first.
    """

    examples: int
    usable: int
    problems: dict[str, int]
    languages: dict[str, int]
    kinds: dict[str, int]
    licences: dict[str, int]
    with_suffix: int
    prefix: Lengths
    completion: Lengths
    suffix: Lengths
    tokens: int
    completion_tokens: int
    exact_duplicates: int
    near_duplicates: int
    secrets: dict[str, int]
    commits: int
    oldest: int | None
    newest: int | None
    training_seconds: float
    funnel: dict[str, Any] | None
    advice: tuple[str, ...]

    @property
    def too_small(self) -> bool:
        """Fewer than 50 usable examples: training is likely to end below the base."""
        return self.usable < FEWEST

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for ``--json``."""
        return {**asdict(self), "advice": list(self.advice), "too_small": self.too_small}


def describe(
    examples: Iterable[Example],
    funnel: Funnel | None = None,
    *,
    tokens_per_second: float = TOKENS_PER_SECOND,
    max_tokens: int = MAX_TOKENS,
) -> DatasetStatistics:
    """Describe ``examples`` in one pass.

    Args:
        examples: streamed; none is kept.
        funnel: what produced them, to be carried along.
        tokens_per_second: training speed; the default is the default base on two CPU cores.
        max_tokens: window of context and completion together, in tokens.
    """
    survey = _Survey(max_tokens)
    for example in examples:
        survey.add(example)
    return survey.result(funnel, tokens_per_second)


class _Survey:
    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._limits = QualityLimits()
        self._exact = ExactDuplicates()
        self._near = NearDuplicates(_NEAR_THRESHOLD)
        self._scanner = SecretScanner()
        self._names: dict[str, Counter[str]] = {
            name: Counter() for name in ("language", "kind", "licence", "secret", "problem")
        }
        self._lengths = {part: _Histogram() for part in ("prefix", "completion", "suffix")}
        self._commits: set[int] = set()
        self._times: list[int] = []
        self._examples = self._usable = self._with_suffix = 0
        self._tokens = self._completion_tokens = 0.0

    def add(self, example: Example) -> None:
        self._examples += 1
        self._count("language", example.language)
        self._count("kind", example.kind)
        self._count("licence", example.licence or "unknown")
        for part, histogram in self._lengths.items():
            histogram.add(len(getattr(example, part)))
        self._with_suffix += bool(example.suffix)
        learned = min(self._max_tokens, len(example.completion) / CHARACTERS_PER_TOKEN)
        around = (len(example.prefix) + len(example.suffix)) / CHARACTERS_PER_TOKEN
        self._completion_tokens += learned
        self._tokens += min(self._max_tokens, learned + around)
        if example.commit is not None:
            self._commits.add(hash(example.commit))
        if example.author_time is not None:
            times = [*self._times, example.author_time]
            self._times = [min(times), max(times)]
        problem = self._problem(example)
        if problem is None:
            self._usable += 1
        else:
            self._count("problem", problem)

    def _problem(self, example: Example) -> str | None:
        """The first reason against the example, in the order that cleaning asks."""
        reason = fault(example, self._limits)
        secrets = self._scanner.find(example)
        if secrets:
            self._count("secret", secrets[0].kind)
        inside = [
            secret.kind
            for secret in secrets
            if secret.end > len(example.prefix) and secret.start < len(example.prefix) + len(example.completion)
        ]
        if reason is None and inside:
            reason = f"secret: {inside[0]}"
        if reason is not None:
            return reason
        if self._exact.seen(example):
            return "exact duplicate"
        return "near duplicate" if self._near.seen(example) else None

    def _count(self, what: str, name: str) -> None:
        counter = self._names[what]
        name = name[:_LONGEST_NAME]
        counter[name if name in counter or len(counter) < _MOST_NAMES else "(other)"] += 1

    def result(self, funnel: Funnel | None, tokens_per_second: float) -> DatasetStatistics:
        names = {what: dict(counter.most_common()) for what, counter in self._names.items()}
        problems = names["problem"]
        lengths = {part: histogram.lengths() for part, histogram in self._lengths.items()}
        seconds = self._tokens / tokens_per_second
        return DatasetStatistics(
            examples=self._examples,
            usable=self._usable,
            problems=problems,
            languages=names["language"],
            kinds=names["kind"],
            licences=names["licence"],
            with_suffix=self._with_suffix,
            prefix=lengths["prefix"],
            completion=lengths["completion"],
            suffix=lengths["suffix"],
            tokens=round(self._tokens),
            completion_tokens=round(self._completion_tokens),
            exact_duplicates=problems.get("exact duplicate", 0),
            near_duplicates=problems.get("near duplicate", 0),
            secrets=names["secret"],
            commits=len(self._commits),
            oldest=self._times[0] if self._times else None,
            newest=self._times[1] if self._times else None,
            training_seconds=seconds,
            funnel=funnel.to_json() if funnel is not None else None,
            advice=tuple(self._advice(names, lengths["completion"], seconds)),
        )

    def _advice(self, names: dict[str, dict[str, int]], completion: Lengths, seconds: float) -> Iterable[str]:
        total = max(1, self._examples)
        problems = names["problem"]
        if self._usable < FEWEST:
            yield (
                f"Only {self._usable} usable examples: fewer than {FEWEST} often leave an adapter worse than its base. "
                "Take more history (a later --until, an earlier --since, more --languages) or more files."
            )
        elif self._usable < 10 * FEWEST:
            yield f"{self._usable} usable examples are enough to start; a few hundred more usually pay."
        if names["secret"]:
            count = sum(names["secret"].values())
            yield (
                f"{count:,} examples hold what looks like a secret. clean-dataset drops or redacts "
                "them; revoke what is real, since it is in the source as well."
            )
        repeated = problems.get("exact duplicate", 0) + problems.get("near duplicate", 0)
        if repeated > 0.1 * total:
            yield f"{repeated / total:.0%} of the examples repeat earlier ones. clean-dataset removes them."
        poor = sum(count for reason, count in problems.items() if reason.startswith("quality:"))
        if poor > 0.1 * total:
            yield f"{poor / total:.0%} of the examples are too short, too long or no text. clean-dataset removes them."
        first, *others = names["language"].items() or [("", 0)]
        if others and first[1] > 0.9 * total:
            yield f"{first[1] / total:.0%} is {first[0]}; balance, or leave the other languages out with --languages."
        if len(names["licence"]) > 1 or (names["licence"].keys() - {"unknown"} and "unknown" in names["licence"]):
            yield "The examples come under more than one licence, or some under none; see that all permit training."
        if not self._times:
            yield "No example has a time, so the hold-out is chosen by file, not from the future. Git history has them."
        elif len(self._commits) < 10:
            yield f"Only {len(self._commits)} commits: an interval by commit will be wide. More history narrows it."
        if not self._with_suffix:
            yield "No example has text after its completion: fill-in-the-middle cannot be learned from this set."
        if completion.median < 20:
            yield "Half of the completions are under 20 characters; longer ones teach more for the same time."
        if seconds > 3600:
            yield (
                f"One epoch would take about {seconds / 3600:.1f} hours at this speed; "
                "`train --budget` chooses the examples that fit a given time."
            )


class _Histogram:
    """Lengths in buckets that grow by 2 %, so that memory does not depend on how many there are."""

    _GROWTH = math.log(1.02)

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = self._sum = self._longest = 0

    def add(self, length: int) -> None:
        self._buckets[round(math.log1p(length) / self._GROWTH)] += 1
        self._count += 1
        self._sum += length
        self._longest = max(self._longest, length)

    def lengths(self) -> Lengths:
        mean = self._sum / self._count if self._count else 0.0
        return Lengths(round(mean, 1), self._quantile(0.5), self._quantile(0.9), self._longest)

    def _quantile(self, share: float) -> int:
        passed = 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            if passed >= share * self._count:
                return min(self._longest, round(math.expm1(bucket * self._GROWTH)))
        return 0
