"""Train on from a model that exists: more text, another domain, or questions with their answers."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files, paths
from neuralforge.errors import DataError, RunError, UserError
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Emit, Finished, Note, Phase, silent
from neuralforge.workflows.conduct import conducted, run_to_resume, watchers
from neuralforge.workflows.learning import (
    anchored,
    as_it_was,
    corpus_of,
    free_output,
    is_ours,
    loop_settings,
    new_run,
    paced,
    sampling,
    windows_of,
)

if TYPE_CHECKING:
    from neuralforge.config.posttraining import PostTrainConfig
    from neuralforge.models.base import BaseModel
    from neuralforge.tokens.encoding import Encoded
    from neuralforge.training.loop import LoopResult
    from neuralforge.training.trainer import LoRATrainer

VERB = "post-train"
ABOUT = "post-training.json"
DECIDING = {"training_type", "freeze_layers", "lora", "training", "evaluation"}
# Peak learning rates where none is given: a fraction of what the same weights would be pre-trained with, so that what
# they know is bent and not overwritten, least of all by a narrow domain. LoRA's updates begin at nothing and bear more.
RATES = {"fine_tune": 2e-4, "instruct": 2e-4, "domain_adapt": 1e-4}
LORA_RATES = {"fine_tune": 1e-3, "instruct": 1e-3, "domain_adapt": 5e-4}


@dataclass(frozen=True, slots=True)
class PostTrained:
    """What came out.

    Attributes:
        output: the folder of the model, or the ``.lora`` package.
        run: the run directory. training_type: as asked for.
        trained: parameters that learned. steps, tokens: of the training.
        before, after: nats per token on what was kept out, before the training and at its best; None without any.
    """

    output: Path
    run: Path
    training_type: str
    trained: int
    steps: int
    tokens: int
    before: float | None
    after: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; losses in nats per token."""
        return {
            "output": str(self.output),
            "run": str(self.run),
            "type": self.training_type,
            "trained_parameters": self.trained,
            "steps": self.steps,
            "tokens": self.tokens,
            "validation_loss": {"before": self.before, "after": self.after},
        }


def post_train(config: PostTrainConfig, *, emit: Emit = silent) -> PostTrained:
    """Train on and save.

    Raises:
        UserError, DataError: what was asked for cannot be done; nothing was written.
        RunError: training could not go on; its last good checkpoint is intact.
        Interrupted: stopped by Ctrl-C; the hint says how to go on.
    """
    began = time.monotonic()
    if config.run.resume is not None:
        from neuralforge.config.posttraining import PostTrainConfig as Schema

        run = run_to_resume(config.run.resume, VERB, "state.json")
        config = as_it_was(run, Schema)
        return _within(run, config, _opened(config, emit), began, emit)
    config = _placed(anchored(config))
    output = _free(config)
    base = _opened(config, emit)
    listeners = _watchers(config)
    run = new_run(config, "post-trained", output)
    return _within(run, config, base, began, emit, listeners)


def _within(
    run: RunDirectory,
    config: PostTrainConfig,
    base: BaseModel,
    began: float,
    emit: Emit,
    listeners: Sequence[Emit] | None = None,
) -> PostTrained:
    with conducted(run, VERB, _watchers(config) if listeners is None else listeners, emit) as told:
        sequences, validation, digest = _material(run, config, base, told)
        store = CheckpointStore(run.checkpoints, emit=told)
        trainer = _adapter(config, base, told) if config.lora.enabled else None
        trained = _count(base)
        before = _before(run, base, validation)
        result = _train(run, config, base, trainer, sequences, validation, store, digest, began, told)
        output = Path(run.state.config["output"])
        told(Phase("save", str(output)))
        if trainer is not None and not config.lora.merge:
            _pack(run, trainer, output, len(sequences))
        else:
            _save(run, config, base, output)
        after = result.state.best_loss
        made = PostTrained(
            output, run.path, config.training_type, trained, result.state.step, result.state.tokens, before, after
        )
        told(Finished("done", made.to_json()))
    return made


def _placed(config: PostTrainConfig) -> PostTrainConfig:
    """``config`` with a model that is a folder or file as an absolute path."""
    if config.model_path is None:
        raise UserError("A model to begin with is needed.", "Give --model DIR, for example one that pretrain made.")
    place = paths.expanded(config.model_path)
    return config.model_copy(update={"model_path": str(place.resolve())}) if place.exists() else config


def _free(config: PostTrainConfig) -> Path:
    packed = config.lora.enabled and not config.lora.merge
    output = free_output(config.run.save_dir, "post-trained.lora" if packed else "post-trained")
    if packed and output.suffix != ".lora":
        raise UserError(f"An adapter's file name ends in .lora, not {output.name!r}.", f"Try {output.name}.lora.")
    return output


def _opened(config: PostTrainConfig, emit: Emit) -> BaseModel:
    """The model in full precision, its own weights learning where no layer is frozen and no adapter wanted."""
    from neuralforge.models.base import causal
    from neuralforge.models.generation import context_length
    from neuralforge.models.loading import load_base_model
    from neuralforge.training.attach import depth, layer_of

    base = load_base_model(str(config.model_path), dtype="fp32", device=config.run.device, emit=emit)
    model = causal(base)
    if base.encoder_decoder:
        raise UserError(f"{base.name} is an encoder-decoder.", "Adapt it with `neuralforge train`.")
    layers = depth(base)
    beyond = [index for index in config.freeze_layers if index >= layers]
    if beyond or len(config.freeze_layers) == layers:
        what = f"There is no layer {beyond[0]}" if beyond else "Every layer is frozen"
        raise UserError(f"{what}: {base.name} has the layers 0 to {layers - 1}.", "Correct --freeze-layers.")
    room = context_length(base)
    if room is not None and config.training.max_seq_len > room:
        raise UserError(
            f"Windows of {config.training.max_seq_len:,} tokens are longer than the {room:,} positions of {base.name}.",
            f"Give --max-seq-len {room} or less.",
        )
    if not config.lora.enabled:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(layer_of(name) not in config.freeze_layers)
        if config.training.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
    return base


def _adapter(config: PostTrainConfig, base: BaseModel, emit: Emit) -> LoRATrainer:
    from neuralforge.training.attach import depth
    from neuralforge.training.trainer import LoRATrainer

    one, learning = config.lora, config.training
    adapted = tuple(index for index in range(depth(base)) if index not in config.freeze_layers)
    return LoRATrainer(
        base,
        rank=one.rank,
        alpha=one.alpha,
        dropout=one.dropout,
        target_modules=one.target_modules,
        layers=adapted if config.freeze_layers else "all",
        emit=sampling(config, base, emit),
        batch_size=learning.batch_size,
        gradient_accumulation=learning.gradient_accumulation,
        parallel_steps=1,
        learning_rate=_rate(config),
        scheduler=learning.scheduler,
        epochs=learning.epochs,
        warmup_steps=learning.warmup_steps,
        warmup_ratio=learning.warmup_ratio,
        weight_decay=learning.weight_decay,
        max_grad_norm=learning.max_grad_norm,
        gradient_checkpointing=learning.gradient_checkpointing,
        eval_every=config.evaluation.eval_every,
        early_stopping_patience=config.evaluation.patience,
        seed=learning.seed,
        max_length=learning.max_seq_len,
        max_steps=learning.max_steps,
        checkpoint_every=config.run.checkpoint_every_seconds,
    )


def _rate(config: PostTrainConfig) -> float:
    usual = LORA_RATES if config.lora.enabled else RATES
    return config.training.learning_rate or usual[config.training_type]


def _material(
    run: RunDirectory, config: PostTrainConfig, base: BaseModel, emit: Emit
) -> tuple[Sequence[Encoded], list[Encoded], str]:
    """Sequences to train on, sequences to validate on, and a digest of both."""
    if config.training_type != "instruct":
        corpus = corpus_of(run, config, base.tokenizer, emit)
        windows, validation = windows_of(corpus, config, emit)
        return windows, validation, " ".join(shard.digest for shard in (*corpus.train, *corpus.validation))
    from neuralforge.data.jsonl import read_examples
    from neuralforge.data.split import evenly_spaced
    from neuralforge.tokens.encoding import EncodingReport, encode

    emit(Phase("read", "questions and answers"))
    examples = [example for one in config.datasets for example in read_examples(one.source)]
    report = EncodingReport()
    encoded = encode(examples, base, max_length=config.training.max_seq_len, report=report)
    if report.too_long:
        emit(Note(f"Left out: {report.too_long:,} examples that do not fit into {config.training.max_seq_len} tokens."))
    share = min(config.evaluation.windows, round(config.evaluation.validation * len(encoded)))
    kept_out = set(evenly_spaced(len(encoded), share))
    training = [one for index, one in enumerate(encoded) if index not in kept_out]
    if not training:
        raise DataError("There is no example to train on.", "Give more --data, or a larger --max-seq-len.")
    digest = hashlib.sha256()
    for one in encoded:
        digest.update(one.ids.tobytes() + one.loss.tobytes())
    return training, [encoded[index] for index in sorted(kept_out)], digest.hexdigest()


def _train(
    run: RunDirectory,
    config: PostTrainConfig,
    base: BaseModel,
    trainer: LoRATrainer | None,
    sequences: Sequence[Encoded],
    validation: list[Encoded],
    store: CheckpointStore,
    digest: str,
    began: float,
    emit: Emit,
) -> LoopResult:
    from dataclasses import replace

    from neuralforge.training.loop import run as run_loop

    settings = config.model_dump(mode="json", include=DECIDING)
    told = json.dumps([settings, base.digest, digest], sort_keys=True)
    fingerprint = hashlib.sha256(told.encode()).hexdigest()
    rate, latest = _rate(config), store.latest()
    if trainer is None:
        loop = loop_settings(config, len(sequences), rate, fingerprint)
    else:
        steps = trainer.settings.steps(len(sequences))
        loop = trainer.settings.loop(steps, len(sequences), None, fingerprint)
    loop, pace = paced(run, config, base, sequences, loop, rate, latest, began)
    emit(Phase("train", f"{_count(base):,} parameters learn, {len(sequences):,} sequences, {loop.steps:,} steps"))
    run.update(phase="train")
    if trainer is None:
        return run_loop(
            base,
            sequences,
            loop,
            validation=validation,
            store=store,
            resume=latest is not None,
            pace=pace,
            emit=sampling(config, base, emit),
        )
    trainer.settings = replace(trainer.settings, max_steps=loop.steps)
    return trainer.fit(
        sequences,
        validation,
        lr_scheduler=loop.scheduler,
        store=store,
        resume=latest is not None,
        pace=pace,
        fingerprint=fingerprint,
    )


def _count(base: BaseModel) -> int:
    return sum(parameter.numel() for parameter in base.model.parameters() if parameter.requires_grad)


def _before(run: RunDirectory, base: BaseModel, validation: list[Encoded]) -> float | None:
    """Nats per token on ``validation`` before any training, measured once for a run."""
    from neuralforge.training.lanes import lanes_for
    from neuralforge.training.network import open_network
    from neuralforge.training.scoring import mean_loss

    place = run.path / "before.json"
    if not validation:
        return None
    if not place.exists():
        base.model.eval()
        network = open_network(base)
        with lanes_for(len(validation) if network.concurrent else 1) as lanes:
            files.write_json(place, {"validation_loss": mean_loss(network, validation, lanes)})
    return float(files.read_json(place)["validation_loss"])


def _save(run: RunDirectory, config: PostTrainConfig, base: BaseModel, output: Path) -> None:
    from neuralforge.models.base import causal
    from neuralforge.workflows.train_tokenizer import saved

    if is_ours(output / ABOUT, run):
        return
    wrapped: Any = base.model
    model = wrapped.merge_and_unload() if config.lora.enabled else causal(base)
    with files.atomic_folder(output) as made:
        saved(model, made)
        saved(base.tokenizer, made)
        about = {"id": run.state.config["id"], "settings": config.model_dump(mode="json", include=DECIDING)}
        files.write_json(made / ABOUT, about | {"base": base.identity, "base_digest": base.digest})


def _pack(run: RunDirectory, trainer: LoRATrainer, output: Path, sequences: int) -> None:
    from dataclasses import replace

    from neuralforge.adapter.manifest import DataInfo, slug

    if output.exists() and run.state.phase != "save":
        raise RunError(f"{output} has been written by someone else meanwhile.", "Move it away, then resume this run.")
    run.update(phase="save")
    manifest = trainer.manifest(slug(output.stem), data=DataInfo(examples=sequences))
    trainer.save_adapter(output, replace(manifest, description="Post-trained; not judged on later commits."))


def _watchers(config: PostTrainConfig) -> list[Emit]:
    return watchers(config.run.tensorboard, config.run.wandb, VERB, config.model_dump(mode="json"))
