"""Judge an adapter against its base on examples that neither was trained on.

One teacher-forced pass a model gives every metric but edit similarity. For that, text has to be written out, which
is slow on a processor, so it is done for a limited number of examples, evenly spaced over all of them, and for the
first tokens of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuralforge.data.records import Example
from neuralforge.data.split import evenly_spaced
from neuralforge.errors import DataError
from neuralforge.evaluation.bootstrap import choose_units
from neuralforge.evaluation.compare import compare
from neuralforge.evaluation.completions import Start, decode, piece_texts, write_out
from neuralforge.evaluation.metrics import ScoreTable, blank_lead, edit_similarity, tabulate
from neuralforge.evaluation.subject import adapter_off
from neuralforge.evaluation.verdict import Sample, Verdict, decide
from neuralforge.models.base import BaseModel
from neuralforge.models.generation import Writing
from neuralforge.runs.events import Emit, Phase, silent
from neuralforge.tokens.encoding import Encoded
from neuralforge.training.scoring import Scored, score, score_pair

_USUAL = Writing()
_PROMPT_LINES = 10
_PROMPT_CHARACTERS = 700


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's scores and, by row of the table, the (target, written) texts of the examples written out."""

    table: ScoreTable
    texts: dict[int, tuple[str, str]]


def judge(
    base: BaseModel,
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    *,
    train_commits: Sequence[str] = (),
    held_out_commits: Sequence[str] = (),
    emit: Emit = silent,
    writing: Writing = _USUAL,
    seed: int = 0,
) -> Verdict:
    """Score base and adapter on held-out examples and reach a verdict.

    Args:
        base: a base with an adapter attached.
        examples: the held-out examples.
        encoded: the same as token ids; ``Encoded.example`` indexes ``examples``.
        train_commits: oldest and newest commit trained on.
        held_out_commits: oldest and newest commit of ``examples``; () when they are not known to be later.
        emit: told about progress.
        writing: how much of the completions is written out; without any there is no edit similarity and no sample.
        seed: of the resampling.

    Raises:
        DataError: no example has a token to predict.
    """
    emit(Phase("judge", f"{len(examples)} held-out examples, base and adapter"))
    pair = measure_pair(base, encoded, emit=emit, writing=writing)
    return reach_verdict(examples, pair, train_commits=train_commits, held_out_commits=held_out_commits, seed=seed)


def reach_verdict(
    examples: Sequence[Example],
    pair: tuple[Measured, Measured],
    *,
    train_commits: Sequence[str] = (),
    held_out_commits: Sequence[str] = (),
    seed: int = 0,
) -> Verdict:
    """The verdict on what ``measure_pair`` measured; arguments as in ``judge``."""
    before, after = pair
    judged = [examples[index] for index in before.table.examples]
    return decide(
        compare(before.table, after.table, choose_units(judged), seed=seed),
        examples=len(judged),
        tokens=int(before.table.tokens.sum()),
        train_commits=train_commits,
        held_out_commits=held_out_commits,
        seed=seed,
        samples=side_by_side(judged, before, after),
    )


def measure_pair(
    base: BaseModel,
    encoded: Sequence[Encoded],
    *,
    emit: Emit = silent,
    writing: Writing = _USUAL,
) -> tuple[Measured, Measured]:
    """Measure without and with the attached adapter, sharing what the two passes have in common.

    Raises:
        DataError: no example has a token to predict.
    """
    off, on = score_pair(base, encoded, emit=emit)
    with adapter_off(base):
        before = _measured(base, encoded, off, writing, emit, "base")
    after = _measured(base, encoded, on, writing, emit, "adapter")
    return before, after


def measure(
    base: BaseModel,
    encoded: Sequence[Encoded],
    *,
    emit: Emit = silent,
    writing: Writing = _USUAL,
) -> Measured:
    """Measure the model as it is, adapter included where one is attached.

    Raises:
        DataError: no example has a token to predict.
    """
    scored = score(base, encoded, emit=emit)
    return _measured(base, encoded, scored, writing, emit, "adapter")


def _measured(
    base: BaseModel,
    encoded: Sequence[Encoded],
    scored: Sequence[Scored],
    writing: Writing,
    emit: Emit,
    detail: str,
) -> Measured:
    pieces = piece_texts(base)
    table = tabulate(scored, encoded, pieces, frozenset(int(t) for t in base.tokenizer.all_special_ids))
    if not len(table):
        raise DataError(
            "None of the examples has a token to predict.",
            "Give examples whose completion is not empty, or raise the maximum length so that it is not cut away.",
        )
    # An example that was cut into several is written out from its first part.
    first: dict[int, int] = {}
    for position, item in enumerate(encoded):
        if item.loss.any():
            first.setdefault(item.example, position)
    rows = evenly_spaced(len(table), writing.limit)
    positions = [first[int(table.examples[row])] for row in rows]
    starts = []
    for position in positions:
        item = encoded[position]
        given = blank_lead(pieces(item.ids[item.loss].tolist()))
        starts.append(Start.of(item, scored[position], writing.tokens, given))
    written = write_out(base, starts, batch_size=writing.batch, emit=emit, detail=detail)
    texts = {row: (decode(base, start.target), text) for row, start, text in zip(rows, starts, written, strict=True)}
    return Measured(table.with_similarity(rows, [edit_similarity(*pair) for pair in texts.values()]), texts)


def side_by_side(judged: Sequence[Example], before: Measured, after: Measured) -> list[Sample]:
    """The examples that both models wrote out; ``judged`` follows the rows of the tables."""
    losses = [measured.table.nll / measured.table.tokens for measured in (before, after)]
    return [
        Sample(
            language=judged[row].language,
            path=judged[row].path,
            commit=judged[row].commit,
            prompt=prompt_tail(judged[row].prefix),
            target=target,
            base=text,
            adapter=after.texts[row][1],
            base_loss=float(losses[0][row]),
            adapter_loss=float(losses[1][row]),
        )
        for row, (target, text) in before.texts.items()
    ]


def prompt_tail(text: str) -> str:
    """The last lines before a completion, as much as a reader needs to see where it begins."""
    lines = text[-_PROMPT_CHARACTERS:].splitlines(keepends=True)
    return "".join(lines[-_PROMPT_LINES:])
