"""Before training: what will be learned, in how many steps, how long it takes and what it needs.

With a budget, the plan chooses what fits: how many of the examples, how many steps, how many held-out examples are
judged. Without one it only predicts. Either way it measures this machine first (see ``budget.measure``).
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from neuralforge.data.records import Example
from neuralforge.data.split import Split, evenly_spaced
from neuralforge.errors import DataError, RunError, UserError
from neuralforge.models.generation import Writing, context_length
from neuralforge.runs.events import Emit, Note, Phase, silent
from neuralforge.tokens.encoding import Encoded, EncodingReport, encode
from neuralforge.tokens.overlap import HeldOut
from neuralforge.training.budget import Pulse, measure
from neuralforge.training.checkpoint import count, trainable
from neuralforge.training.selection import Selection

if TYPE_CHECKING:
    from neuralforge.config.schema import TrainConfig
    from neuralforge.training.trainer import LoRATrainer

# Of a budget: at most this share is spent on judging, and this share (and these seconds) is kept in reserve.
JUDGING, RESERVE, RESERVE_SECONDS = 0.09, 0.02, 4.0
FEWEST_JUDGED = 40
# More passes than this over the same examples no longer help on later commits.
MOST_EPOCHS = 4
# So many times the examples that the steps need are laid ready, so that a run found faster than measured meets
# fresh ones instead of beginning again.
SPARE = 1.15
# A pass over fresh examples is worth more than a long context: tokens of a sequence that suit the default base.
CHOSEN_LENGTH = 384
VALIDATED, FEWEST_TO_VALIDATE = 32, 320
# Sequences that a budget's plan measures this machine on.
MEASURED = 200
# A whole run's peak over that of its first steps: moments, kernels for further sizes of products, completions
# (measured: 1.16 with low_memory, about 1.2 in five minutes, somewhat more in fifteen).
GROWTH = 1.2
# Completions that are written out when time is short, and tokens of each.
FEW_WRITTEN, SHORT_COMPLETION = 8, 24
# One decoding step costs about as much as so many tokens of a long forward pass, and so many more for each row
# (measured: 51, 58, 78 and 134 tokens for 1, 2, 4 and 12 rows).
DECODING, DECODING_ROW = 45, 8


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What was chosen and what is predicted. Times in seconds, sizes in bytes.

    Attributes:
        examples: how many are trained on. tokens: that all steps compute.
        sequences: they are packed into so many; with a budget, the first of a ``Selection``.
        steps, epochs, max_length: of the training. most_steps: the pace may stretch to so many.
        held_out: which held-out examples are judged (indices). generate_limit: how many are written out,
            generate_tokens: up to so many tokens, generate_batch: so many at a time.
        validation: examples kept out of training for early stopping (the first so many of an even draw).
        training_seconds: for the loop; only with a budget. deadline_seconds: since the command began.
        judging_seconds: of what follows the loop.
        predicted_seconds: of the whole command. predicted_memory: resident bytes at the peak.
        needed_disk_bytes: bytes for checkpoints, examples and the package.
    """

    examples: int
    sequences: int
    tokens: int
    steps: int
    most_steps: int
    epochs: int
    max_length: int
    held_out: tuple[int, ...]
    generate_limit: int
    generate_tokens: int
    generate_batch: int
    validation: int
    trainable_parameters: int
    tokens_per_second: float
    predicted_seconds: float
    predicted_memory: int
    needed_disk_bytes: int
    training_seconds: float | None = None
    judging_seconds: float = 0.0
    deadline_seconds: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def step_seconds(self) -> float:
        """Of one step, as measured."""
        return self.tokens / max(1, self.steps) / self.tokens_per_second

    def settings(self) -> dict[str, Any]:
        """What the plan changes in ``TrainSettings``."""
        changes: dict[str, Any] = {"epochs": self.epochs, "max_length": self.max_length}
        if self.training_seconds is not None:
            changes["max_steps"] = self.steps
        return changes

    def sentence(self) -> str:
        """The plan in one line."""
        minutes = f"about {self.predicted_seconds / 60:.1f} minutes in all"
        return (
            f"{self.examples:,} examples in {self.sequences:,} sequences, {self.steps:,} steps, "
            f"{self.tokens_per_second:,.0f} tokens/s, {minutes}"
        )

    def summary(self) -> dict[str, Any]:
        """The plan for people and scripts: counts instead of indices, nothing that was not decided."""
        told = {key: value for key, value in asdict(self).items() if value is not None and key != "notes"}
        return {**told, "held_out": len(self.held_out)}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "held_out": list(self.held_out), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainingPlan:
        """The plan as it was written.

        Raises:
            DataError: it is damaged.
        """
        try:
            known = dict(content)
            known |= {"held_out": tuple(known["held_out"]), "notes": tuple(known["notes"])}
            return cls(**known)
        except (KeyError, TypeError) as failure:
            raise DataError(f"The run's plan is damaged: {failure}.", "Start the training again.") from failure


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a plan trains on, and what it validates on.

    Attributes:
        examples: what the sequences were made of.
        sequences: ``Encoded.example`` and ``.others`` index ``examples``.
        validation: sequences kept out of training for early stopping.
    """

    examples: Sequence[Example]
    sequences: list[Encoded]
    validation: list[Encoded]

    def used(self, sequences: Iterable[int]) -> list[Example]:
        """The examples in ``sequences`` (indices), in their order in ``examples``."""
        found = {index for at in sequences for index in (self.sequences[at].example, *self.sequences[at].others)}
        return [self.examples[index] for index in sorted(found)]


@dataclass(frozen=True, slots=True)
class Judging:
    """What is judged, and how long that takes: ``limit`` completions of ``tokens`` tokens, ``batch`` at a time."""

    held_out: tuple[int, ...]
    limit: int
    tokens: int
    batch: int
    seconds: float


def make_plan(
    trainer: LoRATrainer, config: TrainConfig, split: Split, began: float, emit: Emit = silent
) -> tuple[TrainingPlan, Chosen]:
    """Measure, choose and predict. ``began`` is ``time.monotonic()`` at the start of the command.

    Raises:
        DataError: no example fits the length.
        RunError: the budget is too small for any training.
    """
    emit(Phase("plan", "measuring this machine"))
    budget = config.run.budget
    length, context = trainer.settings.max_length, context_length(trainer.base)
    if context is not None and length > context:
        raise UserError(
            f"{trainer.base.name} has {context:,} positions, fewer than the {length:,} tokens of --max-length.",
            f"Give --max-length {context} or less.",
        )
    if length == 0 or (budget is not None and "max_length" not in config.dataset.model_fields_set):
        length = min(CHOSEN_LENGTH, context or CHOSEN_LENGTH)
    settings = trainer.settings = replace(trainer.settings, max_length=length)
    judged = EncodingReport()
    held_out = encode(split.held_out, trainer.base, max_length=length, report=judged)
    validation, training, deadline = 0, None, None
    selection = None if budget is None else Selection(trainer, split.train, HeldOut(held_out))
    if selection is None:
        if settings.early_stopping_patience and settings.epochs > 1 and len(split.train) >= FEWEST_TO_VALIDATE:
            validation = VALIDATED
        chosen = _all(trainer, split.train, validation, held_out)
        sequences = chosen.sequences
    else:
        sequences = selection.first(MEASURED)
    if not sequences or not held_out:
        raise DataError(f"No example fits into {length} tokens.", "Raise --max-length.")
    batch = settings.step_sequences
    pulse = measure(trainer.base, sequences, settings.loop(1, len(sequences), None, ""))
    mean_length = sum(len(one.ids) for one in sequences) / len(sequences)
    step_seconds = batch * mean_length * pulse.train
    judging = _judging(config, held_out, pulse)
    notes: list[str] = []
    if not validation and {"early_stopping_patience", "eval_every"} & config.training.model_fields_set:
        why = "with a budget" if budget is not None else f"with one epoch or fewer than {FEWEST_TO_VALIDATE} examples"
        notes.append(f"Nothing is kept back to validate on {why}: it does not stop early.")
    if budget is None or selection is None:
        steps = most = settings.steps(len(chosen.sequences))
        epochs = settings.epochs
    else:
        deadline = budget - RESERVE_SECONDS - RESERVE * budget - judging.seconds
        prepared = time.monotonic() - began
        training = deadline - prepared
        if training < 4 * step_seconds:
            raise RunError(
                f"{budget:.0f} seconds are too few: {prepared:.0f} are gone for examples and base, judging takes "
                f"{judging.seconds:.0f}, one step {step_seconds:.1f}.",
                "Give a larger --budget, a shorter --max-length or a smaller --batch-size.",
            )
        most_epochs = settings.epochs if "epochs" in config.training.model_fields_set else MOST_EPOCHS
        steps = int(training / step_seconds)
        chosen = Chosen(split.train, selection.first(int(steps * SPARE) * batch), [])
        per_epoch = math.ceil(len(chosen.sequences) / batch)
        most = per_epoch * most_epochs
        steps = min(steps, most)
        epochs = math.ceil(steps / per_epoch)
        if len(judging.held_out) < len(held_out):
            notes.append(f"{len(judging.held_out)} of {len(held_out)} held-out examples are judged, to keep in time.")
        if selection.repeated:
            notes.append(f"{selection.repeated:,} sequences are passed over because they repeat others.")
    examples = len(chosen.used(range(min(len(chosen.sequences), steps * batch))))
    if training is not None and examples < len(split.train):
        notes.append(f"{examples:,} of {len(split.train):,} examples fit into the budget, the newest.")
    plan = TrainingPlan(
        examples=examples,
        sequences=len(chosen.sequences),
        tokens=int(steps * batch * mean_length),
        steps=steps,
        most_steps=most,
        epochs=epochs,
        max_length=length,
        held_out=judging.held_out,
        generate_limit=judging.limit,
        generate_tokens=judging.tokens,
        generate_batch=judging.batch,
        validation=validation,
        trainable_parameters=count(list(trainable(trainer.base.model).values())),
        tokens_per_second=1 / pulse.train,
        predicted_seconds=time.monotonic() - began + steps * step_seconds + judging.seconds + 2,
        predicted_memory=int(GROWTH * pulse.memory),
        needed_disk_bytes=_disk(trainer, split),
        training_seconds=training,
        judging_seconds=judging.seconds,
        deadline_seconds=deadline,
        notes=tuple(notes),
    )
    for note in notes:
        emit(Note(note))
    for report, what in ((trainer.report, "training"), (judged, "judging")):
        if report.too_long:
            left = f"{report.too_long:,} examples that do not fit into {length} tokens"
            emit(Note(f"Left out of {what}: {left}."))
        if report.clipped_contexts:
            emit(Note(f"In {what}, {report.clipped_contexts:,} contexts are clipped at their far end."))
    return plan, chosen


def select(trainer: LoRATrainer, split: Split, plan: TrainingPlan) -> Chosen:
    """What ``plan`` chose, once more, for a run that is resumed."""
    held_out = encode(split.held_out, trainer.base, max_length=plan.max_length)
    if plan.training_seconds is None:
        return _all(trainer, split.train, plan.validation, held_out)
    return Chosen(split.train, Selection(trainer, split.train, HeldOut(held_out)).first(plan.sequences), [])


def _judging(config: TrainConfig, held_out: Sequence[Encoded], pulse: Pulse) -> Judging:
    """Everything that is held out, or as much of it as the budget's share for judging allows."""
    budget, limit = config.run.budget, config.evaluation.generate_limit
    judged = tuple(one.example for one in held_out)
    mean_length = sum(len(one.ids) for one in held_out) / len(held_out)
    each = 2 * mean_length * pulse.score  # by base and adapter
    if budget is not None:
        fits = max(FEWEST_JUDGED, int(budget * JUDGING / each))
        judged = tuple(judged[index] for index in evenly_spaced(len(judged), fits))
        if "generate_limit" not in config.evaluation.model_fields_set:
            limit = 0 if budget < 120 else min(limit, FEW_WRITTEN)
    limit = min(limit, len(judged))
    usual = Writing()
    tokens = usual.tokens if budget is None else SHORT_COMPLETION
    batch = 1 if config.training.low_memory else usual.batch
    seconds = len(judged) * each
    if limit:
        step = DECODING + DECODING_ROW * batch
        seconds += limit * each + 2 * math.ceil(limit / batch) * tokens * step * pulse.score
    return Judging(judged, limit, tokens, batch, seconds)


def _all(trainer: LoRATrainer, train: Sequence[Example], validation: int, held_out: Sequence[Encoded]) -> Chosen:
    """Every example; ``validation`` of them, evenly drawn, to validate on."""
    kept_out = set(evenly_spaced(len(train), validation))
    drawn = [example for index, example in enumerate(train) if index in kept_out]
    rest = [example for index, example in enumerate(train) if index not in kept_out]
    validating = encode(drawn, trainer.base, max_length=trainer.settings.max_length)
    unlearned = HeldOut([*held_out, *validating]).unlearned
    return Chosen(rest, [one for one in map(unlearned, trainer.encode(rest)) if one.loss.any()], validating)


def check_resources(plan: TrainingPlan, *folders: Path) -> None:
    """Refuse what cannot end well.

    Raises:
        RunError: too little disk or memory.
    """
    for folder in folders:
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        free = shutil.disk_usage(there).free
        if free < plan.needed_disk_bytes:
            raise RunError(
                f"{there} has {free >> 20:,} MiB free; this run needs {plan.needed_disk_bytes >> 20:,} MiB.",
                "Free some space or choose another --checkpoint-dir or --output.",
            )
    available = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    if plan.predicted_memory > available:
        raise RunError(
            f"This needs about {plan.predicted_memory >> 20:,} MiB of memory; {available >> 20:,} MiB are available.",
            "Try --low-memory, a shorter --max-length or a smaller --batch-size.",
        )


def _disk(trainer: LoRATrainer, split: Split) -> int:
    weights = 4 * count(list(trainable(trainer.base.model).values()))
    text = sum(len(one.prefix) + len(one.completion) + len(one.suffix) for one in (*split.train, *split.held_out))
    # Four checkpoints of the weights and their two moments, the examples, the report.
    return 4 * 3 * weights + 2 * text + (32 << 20)
