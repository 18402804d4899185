"""From text and a tokenizer to a small model of one's own, which widens while it trains if it is told to."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files, paths
from neuralforge.errors import DataError, RunError, UserError
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Emit, Evaluated, Event, Finished, Note, Phase, silent
from neuralforge.runs.log import read_events
from neuralforge.runs.view import summarise
from neuralforge.workflows.conduct import conducted, run_to_resume, watchers
from neuralforge.workflows.shape import check_memory, read_tokenizer, shape_of

if TYPE_CHECKING:
    from neuralforge.config.pretraining import CorpusSection, LearningSection, PretrainConfig
    from neuralforge.models.base import BaseModel
    from neuralforge.runs.checkpoints import Checkpoint
    from neuralforge.tokens.shards import Corpus, Windows
    from neuralforge.training.budget import Pace
    from neuralforge.training.loop import LoopSettings
    from neuralforge.training.schedule import WarmupScheduler

CORPUS = "corpus"
READY = f"{CORPUS}/corpus.json"
ABOUT = "pretraining.json"
DECIDING = {"model", "training", "evaluation"}
# Kept of a budget for writing the model.
RESERVE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What came out.

    Attributes:
        model: the folder of the finished model, as transformers reads it.
        run: the run directory.
        parameters: of the finished model. widths: of its feed-forward layers.
        steps, tokens: that were trained. loss: of the last step; validation: the best one measured, or None.
        growth: every widening, as plain JSON values.
    """

    model: Path
    run: Path
    parameters: int
    widths: tuple[int, ...]
    steps: int
    tokens: int
    loss: float | None
    validation: float | None
    growth: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; losses in nats per token."""
        return {
            "model": str(self.model),
            "run": str(self.run),
            "parameters": self.parameters,
            "widths": list(self.widths),
            "steps": self.steps,
            "tokens": self.tokens,
            "loss": self.loss,
            "validation_loss": self.validation,
            "growth": list(self.growth),
        }


def pretrain(config: PretrainConfig, *, emit: Emit = silent) -> Pretrained:
    """Write the corpus as token shards, train, save.

    Raises:
        UserError, DataError: what was asked for cannot be done; nothing was written.
        RunError: training could not go on; its last good checkpoint is intact.
        Interrupted: stopped by Ctrl-C; the hint says how to go on.
    """
    began = time.monotonic()
    if config.run.resume is not None:
        run = run_to_resume(config.run.resume, "pretrain", READY)
        config = _as_it_was(run)
        return _within(run, config, None, _watchers(config), began, emit)
    output = _checked(config)
    tokenizer = read_tokenizer(config.tokenizer)
    check_memory(config, shape_of(config, tokenizer))
    listeners = _watchers(config)
    datasets = tuple(one.model_copy(update={"source": one.source.resolve()}) for one in config.datasets)
    config = config.model_copy(update={"datasets": datasets})  # to be found again from any folder
    remembered = {
        "settings": config.model_dump(mode="json", exclude_unset=True),
        "output": str(output),
        "id": uuid.uuid4().hex,
    }
    run = RunDirectory.create(config.run.directory, "arbor", remembered)
    return _within(run, config, tokenizer, listeners, began, emit)


def _within(
    run: RunDirectory, config: PretrainConfig, tokenizer: Any, listeners: list[Emit], began: float, emit: Emit
) -> Pretrained:
    """Train and save inside a locked run directory; ``tokenizer`` is None when it is resumed."""
    with conducted(run, "pretrain", listeners, emit) as told:
        tokenizer = _kept_tokenizer(run, config, tokenizer)
        corpus = _corpus(run, config, tokenizer, told)
        result = _train_and_save(run, config, tokenizer, corpus, began, told)
        told(Finished("done", result.to_json()))
    return result


def _train_and_save(
    run: RunDirectory, config: PretrainConfig, tokenizer: Any, corpus: Corpus, began: float, emit: Emit
) -> Pretrained:
    from neuralforge.data.split import evenly_spaced
    from neuralforge.tokens.shards import Windows
    from neuralforge.training.loop import run as run_loop
    from neuralforge.workflows.train_tokenizer import saved

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
    base = _fresh(config, tokenizer)
    model: Any = base.model
    settings = _settings(config, windows, _fingerprint(config, corpus))
    store = CheckpointStore(run.checkpoints, emit=emit)
    latest = store.latest()
    settings, pace = _paced(run, config, base, windows, settings, latest, began)
    work = f"{len(windows):,} windows of {length + 1:,} tokens, {settings.steps:,} steps"
    emit(Phase("train", f"{model.count_parameters():,} parameters, {work}"))
    run.update(phase="train")
    result = run_loop(
        base,
        windows,
        settings,
        validation=validation,
        store=store,
        resume=latest is not None,
        pace=pace,
        emit=_sampling(config, base, emit) if config.evaluation.prompts else emit,
    )
    output = Path(run.state.config["output"])
    emit(Phase("save", str(output)))
    course = summarise(read_events(run.events_path))
    growth = tuple(
        {"step": one.step, "layer": one.layer, "from": one.width_before, "to": one.width_after,
         "parameters": one.parameters_after, "dormant": one.dormant, "effective_rank": one.effective_rank}
        for one in course.growth
        if one.step <= result.kept_step
    )  # fmt: skip
    if not _is_ours(output, run):
        with files.atomic_folder(output) as made:
            saved(model, made)
            saved(tokenizer, made)
            about = {"id": run.state.config["id"], "settings": config.model_dump(mode="json", include=DECIDING)}
            files.write_json(made / ABOUT, about | {"growth": growth})
    return Pretrained(
        model=output,
        run=run.path,
        parameters=model.count_parameters(),
        widths=tuple(model.config.intermediate_sizes),
        steps=result.state.step,
        tokens=result.state.tokens,
        loss=result.losses[-1][1] if result.losses else None,
        validation=result.state.best_loss,
        growth=growth,
    )


def _checked(config: PretrainConfig) -> Path:
    """Refuse what cannot work before anything is written; returns where the model goes."""
    if config.tokenizer is None:
        raise UserError(
            "A tokenizer is needed.", "Make one with `neuralforge train-tokenizer`, and give --tokenizer DIR."
        )
    if not config.datasets:
        raise UserError("There is no text to learn from.", "Give --data PATH, or datasets in the configuration.")
    for one in config.datasets:
        if not one.source.exists():
            raise DataError(f"{one.source} does not exist.", "Check the path given as --data.")
    output = paths.expanded(str(config.run.save_dir or "arbor")).resolve()
    if os.path.lexists(output):
        raise UserError(f"{output} already exists.", "Choose another --save-dir, or remove this one first.")
    return output


def _is_ours(output: Path, run: RunDirectory) -> bool:
    """Whether this run has saved its model already, and was killed right after that.

    Raises:
        RunError: something else is there.
    """
    if not os.path.lexists(output):
        return False
    about = files.read_json(output / ABOUT) if (output / ABOUT).is_file() else {}
    if isinstance(about, dict) and about.get("id") == run.state.config["id"]:
        return True
    raise RunError(f"{output} has been written by someone else meanwhile.", "Move it away, then resume this run.")


def _kept_tokenizer(run: RunDirectory, config: PretrainConfig, tokenizer: Any) -> Any:
    """The tokenizer, kept with the run: resumed from anywhere, it is the same."""
    from neuralforge.workflows.train_tokenizer import saved

    kept = run.path / "tokenizer"
    if kept.exists():
        return read_tokenizer(kept)
    tokenizer = tokenizer or read_tokenizer(config.tokenizer)
    with files.atomic_folder(kept) as made:
        saved(tokenizer, made)
    return tokenizer


def _fresh(config: PretrainConfig, tokenizer: Any) -> BaseModel:
    import torch

    from neuralforge.models.arbor.modeling import ArborForCausalLM
    from neuralforge.models.base import BaseModel
    from neuralforge.models.fim import find_fim_tokens
    from neuralforge.models.precision import choose_device

    torch.manual_seed(config.training.seed)
    model = ArborForCausalLM(shape_of(config, tokenizer)).to(choose_device(config.run.device))
    if config.training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    fim = find_fim_tokens(tokenizer, model.get_input_embeddings().num_embeddings)
    return BaseModel("arbor", "arbor", "sha256:" + "0" * 64, model, tokenizer, fim, False)


def _corpus(run: RunDirectory, config: PretrainConfig, tokenizer: Any, emit: Emit) -> Corpus:
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


def _settings(config: PretrainConfig, windows: Windows, fingerprint: str) -> LoopSettings:
    from neuralforge.training.growing import GrowthSettings
    from neuralforge.training.loop import LoopSettings, steps_per_epoch

    one, grow = config.training, config.model.growth
    growth = GrowthSettings(grow.factor, grow.max, grow.threshold, grow.monitor_frequency, grow.plateau, grow.warmup)
    steps = steps_per_epoch(len(windows), one.batch_size, one.gradient_accumulation) * one.epochs
    steps = min(steps, one.max_steps or steps)
    return LoopSettings(
        steps=steps,
        scheduler=_scheduler(one, steps),
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
        growth=growth if grow.enabled else None,
        fingerprint=fingerprint,
    )


def _scheduler(one: LearningSection, steps: int) -> WarmupScheduler:
    from neuralforge.training.schedule import WarmupScheduler

    warmup = one.warmup_steps if one.warmup_steps is not None else round(one.warmup_ratio * steps)
    return WarmupScheduler(one.learning_rate, min(warmup, steps), steps, one.scheduler)


def _paced(
    run: RunDirectory,
    config: PretrainConfig,
    base: BaseModel,
    windows: Windows,
    settings: LoopSettings,
    latest: Checkpoint | None,
    began: float,
) -> tuple[LoopSettings, Pace | None]:
    """With a budget: as many steps as fit, and what keeps to the time."""
    from dataclasses import replace

    from neuralforge.training.budget import Pace, measure
    from neuralforge.training.checkpoint import state_of

    if config.run.budget is None:
        return settings, None
    record, plan = run.path / "pace.json", run.path / "plan.json"
    if plan.exists():
        told = files.read_json(plan)
        steps, seconds = int(told["steps"]), float(told["seconds"])
    else:
        pulse = measure(base, windows[: 8 * settings.batch_size], settings)
        seconds = config.run.budget - RESERVE_SECONDS - (time.monotonic() - began)
        each = settings.batch_size * settings.accumulation * config.training.max_seq_len * pulse.train
        steps = min(settings.steps, int(seconds / each))
        if steps < 4:
            raise RunError(
                f"{config.run.budget:.0f} seconds are too few: {seconds:.0f} are left, a step takes {each:.1f}.",
                "Give a larger --budget or a smaller --batch-size.",
            )
        files.write_json(plan, {"steps": steps, "seconds": seconds})
    pace = Pace(seconds, spent=state_of(latest).elapsed if latest else 0.0, steps=settings.steps, record=record)
    return replace(settings, steps=steps, scheduler=_scheduler(config.training, steps)), pace


def _sampling(config: PretrainConfig, base: BaseModel, emit: Emit) -> Emit:
    """Tell the events on; after each measurement, let the model continue the prompts."""
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


def _as_it_was(run: RunDirectory) -> PretrainConfig:
    from pydantic import ValidationError

    from neuralforge.config.pretraining import PretrainConfig as Schema

    try:
        return Schema.model_validate(run.state.config["settings"])
    except (KeyError, ValidationError) as failure:
        raise RunError(f"The run {run.path} was begun by another version.", "Start a new training.") from failure


def _fingerprint(config: PretrainConfig, corpus: Corpus) -> str:
    """Digest of everything that decides the weights: shape, settings, corpus and tokenizer."""
    settings = config.model_dump(mode="json", include=DECIDING)
    shards = [shard.digest for shard in (*corpus.train, *corpus.validation)]
    content = json.dumps([settings, shards, corpus.tokenizer], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _watchers(config: PretrainConfig) -> list[Emit]:
    return watchers(config.run.tensorboard, config.run.wandb, "arbor", config.model_dump(mode="json"))
