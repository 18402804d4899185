"""From text and a tokenizer to a small model of one's own, which widens while it trains if it is told to."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files
from neuralforge.errors import UserError
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Emit, Finished, Phase, silent
from neuralforge.runs.log import read_events
from neuralforge.runs.view import summarise
from neuralforge.workflows.conduct import conducted, run_to_resume, watchers
from neuralforge.workflows.learning import (
    READY,
    anchored,
    as_it_was,
    corpus_of,
    free_output,
    is_ours,
    located,
    loop_settings,
    new_run,
    paced,
    sampling,
    windows_of,
)
from neuralforge.workflows.shape import check_memory, read_tokenizer, shape_of

if TYPE_CHECKING:
    from neuralforge.config.pretraining import PretrainConfig
    from neuralforge.models.base import BaseModel
    from neuralforge.tokens.shards import Corpus
    from neuralforge.training.growing import GrowthSettings
    from neuralforge.workflows.post_train import PostTrained

ABOUT = "pretraining.json"
# Peak learning rate where none is given.
RATE = 1e-3
DECIDING = {"model", "training", "evaluation"}


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What came out.

    Attributes:
        model: the folder of the finished model, as transformers reads it.
        run: the run directory.
        parameters: of the finished model. widths: of its feed-forward layers.
        steps, tokens: that were trained. loss: of the last step; validation: the best one measured, or None.
        growth: every widening, as plain JSON values.
        post_trained: what came of the post-training that was asked for with it.
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
    post_trained: PostTrained | None = None

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
            "post_trained": self.post_trained.to_json() if self.post_trained else None,
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
        from neuralforge.config.pretraining import PretrainConfig as Schema

        config = as_it_was(run, Schema)
        made = _within(run, config, None, _watchers(config), began, emit)
        return _followed(config, made, emit)
    if config.tokenizer is None:
        raise UserError(
            "A tokenizer is needed.", "Make one with `neuralforge train-tokenizer`, and give --tokenizer DIR."
        )
    config = anchored(config)
    output = free_output(config.run.save_dir, "arbor")
    if config.post_training.enabled:
        later = config.post_training
        free_output(later.save_dir, f"{output}-post-trained")
        later = later.model_copy(update={"datasets": located(later.datasets)})
        config = config.model_copy(update={"post_training": later})
    tokenizer = read_tokenizer(config.tokenizer)
    check_memory(config, shape_of(config, tokenizer))
    listeners = _watchers(config)
    run = new_run(config, "arbor", output)
    made = _within(run, config, tokenizer, listeners, began, emit)
    return _followed(config, made, emit)


def _followed(config: PretrainConfig, made: Pretrained, emit: Emit) -> Pretrained:
    """Post-train what was made, if that was asked for."""
    from dataclasses import replace

    from neuralforge.config.posttraining import AdaptingSection, PostTrainConfig
    from neuralforge.workflows.post_train import post_train

    one = config.post_training
    if not one.enabled:
        return made
    learning = {"learning_rate": one.learning_rate, "epochs": one.epochs, "max_steps": one.max_steps}
    then = PostTrainConfig(
        model_path=str(made.model),
        training_type=one.type,
        datasets=one.datasets,
        lora=AdaptingSection(enabled=one.lora_enabled),
        training=config.training.model_copy(update={**learning, "warmup_steps": None}),
        evaluation=config.evaluation,
        run=config.run.model_copy(
            update={
                "save_dir": one.save_dir or Path(f"{made.model}-post-trained"),
                "directory": None,
                "resume": None,
                "budget": None,
            }
        ),
    )
    return replace(made, post_trained=post_train(then, emit=emit))


def _within(
    run: RunDirectory, config: PretrainConfig, tokenizer: Any, listeners: list[Emit], began: float, emit: Emit
) -> Pretrained:
    """Train and save inside a locked run directory; ``tokenizer`` is None when it is resumed."""
    with conducted(run, "pretrain", listeners, emit) as told:
        tokenizer = _kept_tokenizer(run, config, tokenizer)
        corpus = corpus_of(run, config, tokenizer, told)
        result = _train_and_save(run, config, tokenizer, corpus, began, told)
        told(Finished("done", result.to_json()))
    return result


def _train_and_save(
    run: RunDirectory, config: PretrainConfig, tokenizer: Any, corpus: Corpus, began: float, emit: Emit
) -> Pretrained:
    from neuralforge.training.loop import run as run_loop
    from neuralforge.workflows.train_tokenizer import saved

    windows, validation = windows_of(corpus, config, emit)
    base = _fresh(config, tokenizer)
    model: Any = base.model
    rate = config.training.learning_rate or RATE
    settings = loop_settings(config, len(windows), rate, _fingerprint(config, corpus), _growth(config))
    store = CheckpointStore(run.checkpoints, emit=emit)
    latest = store.latest()
    settings, pace = paced(run, config, base, windows, settings, rate, latest, began)
    work = f"{len(windows):,} windows of {config.training.max_seq_len:,} tokens, {settings.steps:,} steps"
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
        emit=sampling(config, base, emit),
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
    if not is_ours(output / ABOUT, run):
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


def _growth(config: PretrainConfig) -> GrowthSettings | None:
    from neuralforge.training.growing import GrowthSettings

    one = config.model.growth
    if not one.enabled:
        return None
    return GrowthSettings(one.factor, one.max, one.threshold, one.monitor_frequency, one.plateau, one.warmup)


def _fingerprint(config: PretrainConfig, corpus: Corpus) -> str:
    """Digest of everything that decides the weights: shape, settings, corpus and tokenizer."""
    settings = config.model_dump(mode="json", include=DECIDING)
    shards = [shard.digest for shard in (*corpus.train, *corpus.validation)]
    content = json.dumps([settings, shards, corpus.tokenizer], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _watchers(config: PretrainConfig) -> list[Emit]:
    return watchers(config.run.tensorboard, config.run.wandb, "arbor", config.model_dump(mode="json"))
