"""From examples to token ids with a mark on what is learned.

A decoder-only base sees ``prefix + completion`` left to right, or, where it has fill-in-the-middle tokens,
prefix-suffix-middle (Bavarian et al. 2022, arXiv 2207.14255). An encoder-decoder base gets the text around the hole
as its source, with its first sentinel in the hole (span corruption, Raffel et al. 2020, arXiv 1910.10683).

Left to right, the blanks and newlines at the end of the prefix are tokenised with the completion ("token healing"):
a base has hardly ever seen a newline token followed by an indentation token, because in running text the two are one.
Cut apart, the first token of nearly every completion costs the base over 10 nats, and any adapter would look good by
unlearning that artefact alone.

What carries loss is what someone typed, the completion. In a sequence made for training it may also be the text
around a mined edit, which is the repository's own code, typed a little earlier, and computed anyway.

Nothing is cut in silence: a context that does not fit is clipped at its far end and a completion that does not fit
is left out, and the ``EncodingReport`` counts both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuralforge.data.records import Example
from neuralforge.models.base import BaseModel

# Text that is certainly longer than the tokens it may become is cut before it is tokenised: no tokenizer in the
# catalogue packs more than this many characters into a token of ordinary code, on average over a long context.
CHARACTERS_PER_TOKEN = 12
CONVERSATIONS = ("instruction", "chat")
# Kinds whose context is the repository's own code, not a question that someone else asks.
CODE = ("hunk", "definition", "file")
# The first tokens of a clipped context say more about where it was clipped than about the code.
OPENING = 32


@dataclass(frozen=True, slots=True)
class Encoded:
    """One sequence for the model.

    Attributes:
        ids: token ids [T], int32. For an encoder-decoder the first ``source`` of them go to the encoder.
        loss: bool [T]; True where the token is predicted with loss. Never True at position 0 of a decoder.
        example: index of the (first) example in what ``encode`` was given.
        group: what the judges resample by: the commit, else the path, else the example itself.
        source: tokens for the encoder, 0 for a decoder-only base.
        others: indices of the other examples that share the sequence.
    """

    ids: NDArray[np.int32]
    loss: NDArray[np.bool_]
    example: int
    group: str
    source: int = 0
    others: tuple[int, ...] = ()

    @property
    def supervised(self) -> int:
        """Tokens that carry loss."""
        return int(self.loss.sum())


@dataclass(slots=True)
class EncodingReport:
    """What encoding had to leave out."""

    clipped_contexts: int = 0
    too_long: int = 0
    merged: int = 0


def encode(
    examples: Sequence[Example],
    base: BaseModel,
    *,
    max_length: int,
    fim: bool = False,
    fim_rate: float = 1.0,
    seed: int = 0,
    report: EncodingReport | None = None,
) -> list[Encoded]:
    """Encode each example on its own, in order; ones whose completion cannot fit are left out and counted.

    Args:
        max_length: tokens of a sequence, source and target together.
        fim: use the base's fill-in-the-middle tokens for examples that have a suffix.
        fim_rate: share of those examples that are shown that way; which ones is a function of ``seed``.
    """
    report = report if report is not None else EncodingReport()
    chooser = random.Random(seed)  # noqa: S311 — reproducible choice, not secrecy
    filled = [bool(fim and base.fim and one.suffix and chooser.random() < fim_rate) for one in examples]
    pieces = _tokenise(examples, filled, base, max_length)
    encoded = []
    limit = max_length * CHARACTERS_PER_TOKEN
    for index, (example, (before, middle, after)) in enumerate(zip(examples, pieces, strict=True)):
        counted = report.clipped_contexts
        one = _encode_one(example, base, before, middle, after, filled[index], max_length, index, report)
        if one is None:
            report.too_long += 1
            continue
        encoded.append(one)
        shown = example.suffix if filled[index] or base.encoder_decoder else ""
        if report.clipped_contexts == counted:  # what was cut as text before it was tokenised
            report.clipped_contexts += max(len(example.prefix), len(shown)) > limit
    return encoded


def encode_for_training(
    examples: Sequence[Example],
    base: BaseModel,
    *,
    max_length: int,
    fim: bool = False,
    fim_rate: float = 0.5,
    seed: int = 0,
    completion_only_loss: bool = False,
    report: EncodingReport | None = None,
) -> list[Encoded]:
    """Like ``encode``, and examples that lie near each other in one file at one commit share a sequence.

    The text between two completions is then computed once instead of twice, which on real histories buys half
    as many supervised tokens again for the same work. Sequences are left-to-right wherever they are shared.

    Args:
        completion_only_loss: take loss on completions alone. Otherwise the context of mined code carries loss too, once
            ``OPENING`` tokens stand before it; the context of everything else (questions, inputs) never does.
    """
    report = report if report is not None else EncodingReport()
    alone: list[int] = []
    merged: list[Encoded] = []
    for run in _neighbours(examples):
        if len(run) == 1 or base.encoder_decoder:
            alone.extend(run)
        else:
            shared, left = _merge(run, examples, base, max_length, report)
            merged.extend(shared)
            alone.extend(left)
    chosen = [examples[index] for index in alone]
    single = encode(chosen, base, max_length=max_length, fim=fim, fim_rate=fim_rate, seed=seed, report=report)
    single = [replace(one, example=alone[one.example]) for one in single]
    made = sorted([*single, *merged], key=lambda one: one.example)
    if completion_only_loss or base.encoder_decoder:
        return made
    marks = {base.fim.prefix, base.fim.suffix, base.fim.middle} if base.fim else set()
    return [
        one if examples[one.example].kind not in CODE or not marks.isdisjoint(one.ids) else _with_context(one)
        for one in made
    ]


def _with_context(one: Encoded) -> Encoded:
    loss = one.loss.copy()
    loss[OPENING:] = True
    return replace(one, loss=loss)


def group_of(example: Example, index: int) -> str:
    """The unit that the judges resample: commit, else path, else the example itself."""
    return example.commit or example.path or f"example {index}"


def plain_ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each text, no special tokens added and none recognised inside: what looks like one is text."""
    if not texts:
        return []
    options = {"add_special_tokens": False, "split_special_tokens": True, "return_attention_mask": False}
    return [list(ids) for ids in tokenizer([*map(well_formed, texts)], verbose=False, **options)["input_ids"]]


def well_formed(text: str) -> str:
    """``text`` with a question mark for every half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


def _tokenise(
    examples: Sequence[Example], filled: Sequence[bool], base: BaseModel, max_length: int
) -> list[tuple[list[int], list[int], list[int]]]:
    limit = max_length * CHARACTERS_PER_TOKEN
    healed = []
    for example, hole in zip(examples, filled, strict=True):
        prefix = _line_start(example.prefix, limit)
        apart = hole or base.encoder_decoder  # a marker stands between the two, so nothing is torn
        healed.append((prefix, example.completion) if apart else heal(prefix, example.completion))
    before = plain_ids([prefix for prefix, _ in healed], base.tokenizer)
    middle = plain_ids([completion for _, completion in healed], base.tokenizer)
    after = plain_ids([example.suffix[:limit] for example in examples], base.tokenizer)
    return list(zip(before, middle, after, strict=True))


def heal(prefix: str, completion: str) -> tuple[str, str]:
    """Give the blanks and newlines at the end of the prefix to the completion."""
    kept = prefix.rstrip(" \t\n")
    return kept, prefix[len(kept) :] + completion


def _line_start(text: str, limit: int) -> str:
    """The last ``limit`` characters of ``text``, from a line start where there is one."""
    if len(text) <= limit:
        return text
    tail = text[-limit:]
    return tail[tail.find("\n") + 1 :] if "\n" in tail[:-1] else tail


def _encode_one(
    example: Example,
    base: BaseModel,
    before: list[int],
    middle: list[int],
    after: list[int],
    filled: bool,
    max_length: int,
    index: int,
    report: EncodingReport,
) -> Encoded | None:
    group = group_of(example, index)
    if example.kind in CONVERSATIONS and base.tokenizer.eos_token_id is not None:
        middle = [*middle, base.tokenizer.eos_token_id]  # an answer ends; an edit goes on into the file
    if base.encoder_decoder:
        return _encode_pair(base, before, middle, after, max_length, index, group, report)
    start = base.tokenizer.bos_token_id if getattr(base.tokenizer, "add_bos_token", False) else None
    opening = [start] if start is not None else []
    if filled and base.fim is not None:
        around = max_length - len(middle) - len(opening) - 3
        kept_after = min(len(after), max(0, around // 3))
        kept_before = min(len(before), max(0, around - kept_after))
        if around < 0 or not middle:
            return None
        clipped = kept_before < len(before) or kept_after < len(after)
        head = [
            *opening,
            base.fim.prefix,
            *before[len(before) - kept_before :],
            base.fim.suffix,
            *after[:kept_after],
            base.fim.middle,
        ]
    else:
        kept_before = min(len(before), max_length - len(middle) - len(opening))
        if kept_before < 0 or not middle:
            return None
        clipped = kept_before < len(before)
        head = [*opening, *before[len(before) - kept_before :]]
    report.clipped_contexts += clipped
    ids = np.array([*head, *middle], dtype=np.int32)
    loss = np.zeros(len(ids), dtype=np.bool_)
    loss[max(1, len(head)) :] = True
    return Encoded(ids, loss, index, group) if loss.any() else None


def _encode_pair(
    base: BaseModel,
    before: list[int],
    middle: list[int],
    after: list[int],
    max_length: int,
    index: int,
    group: str,
    report: EncodingReport,
) -> Encoded | None:
    """Source: text before, sentinel, text after, end. Target: the completion and the end mark."""
    end = [base.tokenizer.eos_token_id] if base.tokenizer.eos_token_id is not None else []
    sentinel = base.tokenizer.convert_tokens_to_ids("<extra_id_0>")
    known = isinstance(sentinel, int) and sentinel != base.tokenizer.unk_token_id
    hole = [sentinel] if known and after else []
    after = after if hole else []
    room = max_length - len(middle) - 2 * len(end) - len(hole)
    if room < 0 or not middle:
        return None
    kept_after = min(len(after), room // 3)
    kept_before = min(len(before), room - kept_after)
    report.clipped_contexts += kept_before < len(before) or kept_after < len(after)
    source = [*before[len(before) - kept_before :], *hole, *after[:kept_after], *end] or list(end)
    target = [*middle, *end]
    loss = np.zeros(len(source) + len(target), dtype=np.bool_)
    loss[len(source) :] = True
    return Encoded(np.array([*source, *target], dtype=np.int32), loss, index, group, len(source))


def _neighbours(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Indices of examples from one file at one commit together, in file order; all others alone."""

    def place(index: int) -> tuple[str, str] | None:
        example = examples[index]
        known = example.commit and example.path and example.offset is not None
        return (example.commit or "", example.path or "") if known else None

    order = sorted(range(len(examples)), key=lambda i: (place(i) or ("", ""), examples[i].offset or 0, i))
    for where, run in groupby(order, key=place):
        if where is None:
            yield from ([index] for index in run)
        else:
            yield list(run)


def _gap(earlier: Example, later: Example) -> str | None:
    """The file's text between two completions, or None where ``later`` does not carry it."""
    assert earlier.offset is not None
    assert later.offset is not None
    width = later.offset - (earlier.offset + len(earlier.completion))
    if width < 0 or width > len(later.prefix):
        return None
    known = later.prefix[: len(later.prefix) - width]
    agreed = known.endswith(earlier.completion) or earlier.completion.endswith(known)
    return later.prefix[len(later.prefix) - width :] if agreed else None


def _merge(
    run: list[int], examples: Sequence[Example], base: BaseModel, max_length: int, report: EncodingReport
) -> tuple[list[Encoded], list[int]]:
    """Sequences that hold two or more of ``run``'s examples, and the indices that stay alone."""
    gaps = [None, *(_gap(examples[a], examples[b]) for a, b in pairwise(run))]
    limit = max_length * CHARACTERS_PER_TOKEN
    opened = [heal(_line_start(examples[index].prefix, limit), examples[index].completion) for index in run]
    first = plain_ids([prefix for prefix, _ in opened], base.tokenizer)
    middles = plain_ids([completion for _, completion in opened], base.tokenizer)
    # Blanks before a completion are its own as far as the gap reaches; beyond lies the completion before it.
    joined = [heal(gap or "", examples[index].completion) for gap, index in zip(gaps, run, strict=True)]
    between = plain_ids([gap for gap, _ in joined], base.tokenizer)
    following = plain_ids([completion for _, completion in joined], base.tokenizer)
    start = base.tokenizer.bos_token_id if getattr(base.tokenizer, "add_bos_token", False) else None
    # At least this much context in front of the first completion of a shared sequence.
    context = max_length // 4
    shared: list[Encoded] = []
    alone: list[int] = []
    at = 0
    while at < len(run):
        head = first[at][-context:] if context else []
        head = head if start is None else [start, *head]
        parts: list[tuple[list[int], bool]] = [(head, False), (middles[at], True)]
        length = len(head) + len(middles[at])
        end = at + 1
        while end < len(run) and gaps[end] is not None:
            more = len(between[end]) + len(following[end])
            if length + more > max_length:
                break
            parts += [(between[end], False), (following[end], True)]
            length += more
            end += 1
        if end - at == 1 or length > max_length:
            alone.append(run[at])
            at += 1
            continue
        ids = np.array([token for part, _ in parts for token in part], dtype=np.int32)
        loss = np.concatenate([np.full(len(part), marked, dtype=np.bool_) for part, marked in parts])
        loss[0] = False
        group = group_of(examples[run[at]], run[at])
        shared.append(Encoded(ids, loss, run[at], group, others=tuple(run[at + 1 : end])))
        report.clipped_contexts += len(first[at]) > context
        report.merged += end - at
        at = end
    return shared, alone
