"""What trainings of whole models share: texts on disk, the loop's settings, the clock, samples, what is left behind."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from neuralforge import files, paths
from neuralforge.errors import DataError, RunError, UserError
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Emit, Evaluated, Event, Note, Phase

if TYPE_CHECKING:
    from neuralforge.config.pretraining import CorpusSection, LearningSection, TextTrainingConfig
    from neuralforge.models.base import BaseModel
    from neuralforge.runs.checkpoints import Checkpoint
    from neuralforge.tokens.encoding import Encoded
    from neuralforge.tokens.shards import Corpus, Windows
    from neuralforge.training.budget import Pace
    from neuralforge.training.growing import GrowthSettings
    from neuralforge.training.loop import LoopSettings
    from neuralforge.training.schedule import WarmupScheduler

CORPUS = "corpus"
READY = f"{CORPUS}/corpus.json"
# Kept of a budget for writing the model.
RESERVE_SECONDS = 5.0

Config = TypeVar("Config", bound="TextTrainingConfig")


def free_output(place: Path | None, usual: str) -> Path:
    """Where the result goes.

    Raises:
        UserError: something is there.
    """
    output = paths.expanded(str(place or usual)).resolve()
    if os.path.lexists(output):
        raise UserError(f"{output} already exists.", "Choose another --save-dir, or remove this one first.")
    return output


def anchored(config: Config) -> Config:
    """``config`` with its sources as absolute paths: a run is gone on with from any folder.

    Raises:
        UserError: there is no source. DataError: one does not exist.
    """
    if not config.datasets:
        raise UserError("There is no text to learn from.", "Give --data PATH, or datasets in the configuration.")
    return config.model_copy(update={"datasets": located(config.datasets)})


def located(datasets: Sequence[CorpusSection]) -> tuple[CorpusSection, ...]:
    """``datasets`` with absolute paths.

    Raises:
        DataError: one does not exist.
    """
    for one in datasets:
        if not one.source.exists():
            raise DataError(f"{one.source} does not exist.", "Check the path given as --data.")
    return tuple(one.model_copy(update={"source": one.source.resolve()}) for one in datasets)


def new_run(config: TextTrainingConfig, name: str, output: Path) -> RunDirectory:
    """A run folder that remembers what was asked for, and by its id whether ``output`` is its own."""
    settings = config.model_dump(mode="json", exclude_unset=True)
    remembered = {"settings": settings, "output": str(output), "id": uuid.uuid4().hex}
    return RunDirectory.create(config.run.directory, name, remembered)


def as_it_was(run: RunDirectory, schema: type[Config]) -> Config:
    """The settings that the run began with.

    Raises:
        RunError: another version wrote them.
    """
    from pydantic import ValidationError

    try:
        return schema.model_validate(run.state.config["settings"])
    except (KeyError, ValidationError) as failure:
        raise RunError(f"The run {run.path} was begun by another version.", "Start a new training.") from failure


def is_ours(about: Path, run: RunDirectory) -> bool:
    """Whether this run has written its result already, ``about`` being the file in it that says whose it is.

    Raises:
        RunError: something else is there.
    """
    if not os.path.lexists(about.parent):
        return False
    told = files.read_json(about) if about.is_file() else {}
    if isinstance(told, dict) and told.get("id") == run.state.config["id"]:
        return True
    raise RunError(f"{about.parent} has been written by someone else meanwhile.", "Move it away, then resume this run.")


def corpus_of(run: RunDirectory, config: TextTrainingConfig, tokenizer: Any, emit: Emit) -> Corpus:
    """The texts of ``config.datasets`` as token shards in the run's folder, written once."""
    from neuralforge.data.records import Funnel
    from neuralforge.tokens.shards import open_corpus, write_corpus

    folder = run.path / CORPUS
    if (run.path / READY).exists():
        return open_corpus(folder, tokenizer)
    funnel = Funnel()

    def texts() -> Iterator[str]:
        for one in config.datasets:
            emit(Phase("read", str(one.name or one.source)))
            yield from _prepared(one, funnel, emit)

    corpus = write_corpus(texts(), tokenizer, folder, validation=config.evaluation.validation)
    emit(Note(f"{corpus.documents:,} texts, {corpus.train_tokens:,} tokens, {corpus.validation_tokens:,} kept out."))
    for reason, count in funnel.rows():
        emit(Note(f"Left out: {count:,} texts ({reason})."))
    return corpus


def _prepared(one: CorpusSection, funnel: Any, emit: Emit) -> Iterator[str]:
    from neuralforge.data.texts import read_texts

    limits, parts = one.filtering, one.preprocessing
    for text in read_texts(one.source, funnel=funnel, emit=emit):
        words = len(text.split())
        if words < limits.min_words:
            funnel.discard("too few words")
        elif limits.max_words is not None and words > limits.max_words:
            funnel.discard("too many words")
        else:
            yield f"{parts.prefix}{text}{parts.suffix}"


def windows_of(corpus: Corpus, config: TextTrainingConfig, emit: Emit) -> tuple[Windows, list[Encoded]]:
    """The windows to train on, and those to validate on.

    Raises:
        DataError: there is too little text for one.
    """
    from neuralforge.data.split import evenly_spaced
    from neuralforge.tokens.shards import Windows

    length = config.training.max_seq_len - 1  # a window holds one token more than it predicts
    windows = Windows(corpus, length)
    if not len(windows):
        raise DataError(
            f"The corpus has {corpus.train_tokens:,} tokens to train on, fewer than one window of "
            f"{config.training.max_seq_len:,}.",
            "Give more --data, or a smaller --max-seq-len.",
        )
    kept_out = Windows(corpus, length, "validation")
    validation = [kept_out[index] for index in evenly_spaced(len(kept_out), config.evaluation.windows)]
    if not validation and config.evaluation.validation:
        emit(Note("Too little text is kept out for a validation; the last weights are kept, not the best."))
    return windows, validation


def loop_settings(
    config: TextTrainingConfig, sequences: int, rate: float, fingerprint: str, growth: GrowthSettings | None = None
) -> LoopSettings:
    """The loop's settings for so many sequences, with ``rate`` as the peak learning rate."""
    from neuralforge.training.loop import LoopSettings, steps_per_epoch

    one = config.training
    steps = steps_per_epoch(sequences, one.batch_size, one.gradient_accumulation) * one.epochs
    steps = min(steps, one.max_steps or steps)
    return LoopSettings(
        steps=steps,
        scheduler=schedule(one, rate, steps),
        batch_size=one.batch_size,
        accumulation=one.gradient_accumulation,
        weight_decay=one.weight_decay,
        betas=(one.beta1, one.beta2),
        eps=one.eps,
        max_grad_norm=one.max_grad_norm,
        eval_every=config.evaluation.eval_every,
        patience=config.evaluation.patience,
        seed=one.seed,
        checkpoint_every=config.run.checkpoint_every_seconds,
        micro_tokens=one.batch_size * one.max_seq_len,
        growth=growth,
        fingerprint=fingerprint,
    )


def schedule(one: LearningSection, rate: float, steps: int) -> WarmupScheduler:
    """Warm-up to ``rate`` and decay over ``steps``."""
    from neuralforge.training.schedule import WarmupScheduler

    warmup = one.warmup_steps if one.warmup_steps is not None else round(one.warmup_ratio * steps)
    return WarmupScheduler(rate, min(warmup, steps), steps, one.scheduler)


def paced(
    run: RunDirectory,
    config: TextTrainingConfig,
    base: BaseModel,
    sequences: Sequence[Encoded],
    settings: LoopSettings,
    rate: float,
    latest: Checkpoint | None,
    began: float,
) -> tuple[LoopSettings, Pace | None]:
    """With a budget: as many steps as fit, and what keeps to the time.

    Raises:
        RunError: the budget is too small for any training.
    """
    from neuralforge.tokens.shards import lengths_of
    from neuralforge.training.budget import Pace, measure
    from neuralforge.training.checkpoint import state_of

    if config.run.budget is None:
        return settings, None
    record, plan = run.path / "pace.json", run.path / "plan.json"
    if plan.exists():
        told = files.read_json(plan)
        steps, seconds = int(told["steps"]), float(told["seconds"])
    else:
        sample = sequences[: 8 * settings.batch_size]
        pulse = measure(base, sample, settings)
        seconds = config.run.budget - RESERVE_SECONDS - (time.monotonic() - began)
        length = sum(lengths_of(sample)) / len(sample)
        each = settings.batch_size * settings.accumulation * length * pulse.train
        steps = min(settings.steps, int(seconds / each))
        if steps < 4:
            raise RunError(
                f"{config.run.budget:.0f} seconds are too few: {seconds:.0f} are left, a step takes {each:.1f}.",
                "Give a larger --budget or a smaller --batch-size.",
            )
        files.write_json(plan, {"steps": steps, "seconds": seconds})
    pace = Pace(seconds, spent=state_of(latest).elapsed if latest else 0.0, steps=settings.steps, record=record)
    return replace(settings, steps=steps, scheduler=schedule(config.training, rate, steps)), pace


def sampling(config: TextTrainingConfig, base: BaseModel, emit: Emit) -> Emit:
    """Tell the events on; after each measurement, let the model continue the prompts, if there are any."""
    from neuralforge.evaluation.completions import decode
    from neuralforge.models.generation import generate
    from neuralforge.tokens.encoding import plain_ids

    prompts = [text for text in config.evaluation.prompts if text.strip()]
    new = min(config.evaluation.tokens, config.training.max_seq_len // 2)
    ids = [one[-(config.training.max_seq_len - new) :] for one in plain_ids(prompts, base.tokenizer)]

    def told(event: Event) -> None:
        emit(event)
        if isinstance(event, Evaluated) and ids:
            for prompt, written in zip(prompts, generate(base, ids, max_new_tokens=new), strict=True):
                emit(Note(f"sample: {prompt}{decode(base, written)}"))

    return told
