"""Train on the past, judge on the future: the newest commits are held out whole.

With times, the newest commits are taken until they make up the hold-out; nothing of a held-out commit is
trained on, sampled or not, because its other hunks give the answers away. Without times, whole files are
held out, chosen by a hash of their path. Either way, what is nearly a held-out completion leaves training.
"""

import hashlib
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from neuralforge.data.cleaning.duplicates import NearDuplicates, content_key
from neuralforge.data.records import COMMIT, Example, Funnel
from neuralforge.errors import UserError

Item = TypeVar("Item")

# The judge's intervals are drawn over commits: with fewer than about ten, they say little.
WANTED_COMMITS = 10
# Held-out commits never take more than this share, so that a giant newest commit does not eat the training set.
LARGEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How much is held out.

    Attributes:
        fraction: share of the examples to hold out.
        at_most: cap on held-out examples; when more qualify, they are sampled evenly over commits and files.
        near_duplicates: estimated Jaccard similarity from which a training example repeats a held-out one.
    """

    fraction: float = 0.1
    at_most: int = 200
    near_duplicates: float = 0.7

    def __post_init__(self) -> None:
        """Refuse shares and counts that leave one side empty."""
        if not 0.0 < self.fraction < 1.0:
            raise UserError(f"The held-out share {self.fraction} is not between 0 and 1.", "0.1 holds out a tenth.")
        if self.at_most < 1:
            raise UserError(
                f"At most {self.at_most} held-out examples is none.", "Give at least 1; 200 is the default."
            )
        if not 0.0 < self.near_duplicates <= 1.0:
            raise UserError(
                f"The near-duplicate threshold {self.near_duplicates} is not a similarity.",
                "Give a number above 0 and at most 1.",
            )


@dataclass(frozen=True, slots=True)
class Split:
    """Both sides, in the order the examples came in, and the commits they span.

    Attributes:
        train: what may be learned.
        held_out: what is judged on; at least one example when two or more were given.
        train_commits: full hashes of the oldest and the newest commit trained on; empty without commits.
        held_out_commits: likewise for the hold-out.
        by: ``time``, or ``file`` / ``content`` where there was no time to go by.
    """

    train: list[Example]
    held_out: list[Example]
    train_commits: tuple[str, ...] = field(default=())
    held_out_commits: tuple[str, ...] = field(default=())
    by: str = "time"


def split(examples: Sequence[Example], options: SplitOptions, funnel: Funnel) -> Split:
    """Divide ``examples``; those on neither side are moved in ``funnel`` from kept to a reason.

    Fewer than two examples are all training. The result depends on the examples alone, not on their order.
    """
    if len(examples) < 2:
        return _ordered(examples, list(range(len(examples))), [], "time")
    target = min(options.at_most, max(1, round(options.fraction * len(examples))))
    commits = grouped(
        (index for index, example in enumerate(examples) if example.author_time is not None),
        lambda index: examples[index].commit or str(examples[index].author_time),
    )
    if len(commits) >= 2:
        by, candidates = "time", _newest(examples, commits, target, options.fraction)
    else:
        by, candidates = _whole_files(examples, target)
    chosen = set(spread(examples, candidates, target))
    training = set(range(len(examples))) - set(candidates)
    rest = "split: rest of held-out commits" if by == "time" else "split: rest of held-out files"
    if len(candidates) > len(chosen):
        funnel.discard(rest, len(candidates) - len(chosen))
    held_out = sorted(chosen)
    repeated = _repeats(examples, training, held_out, options.near_duplicates)
    if len(repeated) == len(training):  # everything resembles the hold-out: judging on it would say nothing new
        repeated = set()
    if repeated:
        funnel.discard("split: near duplicate of a held-out example", len(repeated))
    return _ordered(examples, sorted(training - repeated), held_out, by)


def evenly_spaced(count: int, limit: int) -> list[int]:
    """At most ``limit`` of ``count`` positions, as evenly as they go: nobody picks the flattering ones.

    >>> evenly_spaced(10, 3)
    [0, 3, 6]
    """
    chosen = min(count, limit)
    return [index * count // chosen for index in range(chosen)]


def _newest(examples: Sequence[Example], commits: dict[Hashable, list[int]], target: int, fraction: float) -> list[int]:
    """Examples of the newest commits: ``target`` of them at least, from several commits where a tenth allows it."""
    newest = sorted(
        commits.values(),
        key=lambda members: (
            max(examples[index].author_time or 0 for index in members),
            examples[members[0]].commit or "",
        ),
        reverse=True,
    )
    taken: list[int] = []
    for count, members in enumerate(newest[:-1]):  # the oldest commit is always left to train on
        if taken and len(taken) + len(members) > LARGEST_SHARE * len(examples):
            break
        taken += members
        if len(taken) >= target and (count + 1 >= WANTED_COMMITS or len(taken) >= fraction * len(examples)):
            break
    return taken


def _whole_files(examples: Sequence[Example], target: int) -> tuple[str, list[int]]:
    """Examples of whole files in the order of a hash of their path; single examples where there are no paths."""
    files = grouped(range(len(examples)), lambda index: examples[index].path or content_key(examples[index]))
    by = "file" if any(example.path for example in examples) else "content"
    if len(files) < 2:
        by = "content"
        files = grouped(range(len(examples)), lambda index: content_key(examples[index]))
    if len(files) < 2:
        return by, [0]
    hashed = sorted(
        files.items(), key=lambda item: hashlib.sha256(repr(item[0]).encode("utf-8", "surrogatepass")).digest()
    )
    taken: list[int] = []
    # A file larger than what is still wanted waits for the second round, in which the smallest is taken.
    for _, members in hashed:
        if len(taken) + len(members) <= target:
            taken += members
        if len(taken) == target:
            break
    return by, taken or min((members for _, members in hashed), key=len)


def spread(examples: Sequence[Example], candidates: Sequence[int], count: int) -> list[int]:
    """``count`` of ``candidates``, one commit after the other, and within a commit one file after the other."""
    if len(candidates) <= count:
        return list(candidates)
    by_content = sorted(candidates, key=lambda index: (content_key(examples[index]), index))
    commits = grouped(by_content, lambda index: examples[index].commit or examples[index].author_time or 0)
    turns = [
        in_turn(list(grouped(members, lambda index: examples[index].path or "").values()))
        for members in commits.values()
    ]
    return in_turn(turns)[:count]


def in_turn(groups: Sequence[Sequence[Item]]) -> list[Item]:
    """First of each group, then second of each, and so on."""
    longest = max(map(len, groups), default=0)
    return [group[position] for position in range(longest) for group in groups if position < len(group)]


def _repeats(examples: Sequence[Example], training: set[int], held_out: Sequence[int], threshold: float) -> set[int]:
    future = NearDuplicates(threshold, bounded=False)
    exact = set()
    for index in held_out:
        future.add(examples[index])
        exact.add(_completion(examples[index]))
    return {index for index in training if _completion(examples[index]) in exact or future.near(examples[index])}


def _completion(example: Example) -> str:
    """What counts as the same text: short ones only together with what stands before them."""
    text = example.completion.strip()
    return text if len(text) >= 40 else f"{example.prefix.rstrip()[-80:]}\0{text}"


def grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> dict[Hashable, list[Item]]:
    """Items of equal ``key`` together, in the order in which they come."""
    found: dict[Hashable, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _ordered(examples: Sequence[Example], training: Sequence[int], held_out: Sequence[int], by: str) -> Split:
    train = [examples[index] for index in training]
    future = [examples[index] for index in held_out]
    return Split(train, future, span(train), span(future), by)


def span(examples: Sequence[Example]) -> tuple[str, ...]:
    """The oldest and the newest commit of ``examples``; () where no example names both a commit and its time."""
    timed = [
        (example.author_time, example.commit)
        for example in examples
        if example.commit is not None and example.author_time is not None and re.fullmatch(COMMIT, example.commit)
    ]
    if timed:
        return (min(timed)[1], max(timed)[1])
    return ()
