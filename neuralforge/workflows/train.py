"""From a repository, files or a data set to a judged and packed adapter."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralforge import files, paths
from neuralforge.errors import RunError, UserError
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.directory import RunDirectory
from neuralforge.runs.events import Emit, Finished, Note, Phase, silent
from neuralforge.runs.log import read_events
from neuralforge.runs.view import summarise
from neuralforge.workflows.account import adapter_name, manifest_of, recipe_of
from neuralforge.workflows.conduct import conducted, run_to_resume, watchers
from neuralforge.workflows.material import DATA, Material, gather, store_material, stored_material

if TYPE_CHECKING:
    from neuralforge.config.schema import TrainConfig
    from neuralforge.evaluation.verdict import Verdict
    from neuralforge.models.base import BaseModel
    from neuralforge.training.trainer import LoRATrainer

PLAN = "plan.json"
PACKED = "packed"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What came out.

    Attributes:
        package: the ``.lora`` file, None after a dry run.
        verdict: base against adapter, None after a dry run.
        run: the run directory (where it would be, after a dry run).
        plan: what was chosen and predicted, plain JSON values.
        report: ``report.html``, None after a dry run.
    """

    package: Path | None
    verdict: Verdict | None
    run: Path
    plan: dict[str, Any]
    report: Path | None


def train(config: TrainConfig, *, emit: Emit = silent) -> TrainResult:
    """Mine, clean, split by time, train, judge on later commits, pack.

    Raises:
        UserError, DataError, RemoteError: what was asked for cannot be done; nothing was written.
        RunError: training could not go on; its last good checkpoint is intact.
        Interrupted: stopped by Ctrl-C; the hint says how to go on.
    """
    began = time.monotonic()
    if config.run.resume is not None:
        if config.run.dry_run:
            raise UserError("A run that is resumed is not planned again.", "Leave out either resume or dry_run.")
        run = run_to_resume(config.run.resume, "train", DATA)
        config = _as_it_was(run, config)
        return _within(run, config, None, _watchers(config), began, emit)
    output = _output(config)
    listeners = [] if config.run.dry_run else _watchers(config)
    material = gather(config, emit)
    if config.run.dry_run:
        return _dry_run(config, material, output, began, emit)
    run = RunDirectory.create(config.run.directory, adapter_name(config), _remembered(config, output))
    return _within(run, config, material, listeners, began, emit)


def _dry_run(config: TrainConfig, material: Material, output: Path, began: float, emit: Emit) -> TrainResult:
    from neuralforge.training.plan import check_resources, make_plan

    trainer, _ = _trainer(config, emit)
    plan, _ = make_plan(trainer, config, material.split, began, emit)
    where = config.run.directory or paths.runs_home() / f"{adapter_name(config)}-…"
    check_resources(plan, config.run.directory or paths.home(), output.parent)
    emit(Finished("done", plan.summary()))
    return TrainResult(None, None, where, {**plan.summary(), "output": str(output), "run": str(where)}, None)


def _within(
    run: RunDirectory,
    config: TrainConfig,
    material: Material | None,
    listeners: list[Emit],
    began: float,
    emit: Emit,
) -> TrainResult:
    """Train, judge and pack inside a locked run directory; ``material`` is None when it is resumed."""
    if config.run.profile_memory:
        listeners = [*listeners, _memory_log(run)]
    with conducted(run, "train", listeners, emit) as told:
        if material is None:
            material = stored_material(run)
        else:
            store_material(run, material)
        result = _train_judge_pack(run, config, material, began, told)
        verdict = result.verdict
        told(Finished("done", {"package": str(result.package), "verdict": verdict.sentence if verdict else None}))
    return result


def _train_judge_pack(
    run: RunDirectory, config: TrainConfig, material: Material, began: float, emit: Emit
) -> TrainResult:
    from neuralforge.evaluation.judge import judge
    from neuralforge.evaluation.report.page import ReportData, render_report
    from neuralforge.models.generation import Writing
    from neuralforge.tokens.encoding import encode
    from neuralforge.training.budget import Pace
    from neuralforge.training.checkpoint import state_of
    from neuralforge.training.plan import TrainingPlan, check_resources, make_plan, select
    from neuralforge.training.watching import GradientLog, MemoryLog

    packed = run.state.phase == PACKED
    trainer, base = _trainer(config, emit)
    split = material.split
    stored = run.path / PLAN
    if stored.exists():
        plan = TrainingPlan.from_json(files.read_json(stored))
        trainer.settings = replace(trainer.settings, **plan.settings())
        chosen = select(trainer, split, plan)
    else:
        plan, chosen = make_plan(trainer, config, split, began, emit)
        check_resources(plan, run.path, Path(run.state.config["output"]).parent)
        # What could not be packed is refused before anyone trains.
        manifest_of(trainer, config, material, split.train, len(plan.held_out), None).to_bytes()
        files.write_json(stored, plan.to_json())
        trainer.settings = replace(trainer.settings, **plan.settings())
    if config.run.profile_memory:
        MemoryLog(run.path / "memory.jsonl").modules(base.model)
    store = CheckpointStore(run.checkpoints, emit=emit)
    latest = store.latest()
    pace = None
    if plan.training_seconds is not None:
        spent = state_of(latest).elapsed if latest else 0.0
        left = plan.training_seconds
        if latest is None and plan.deadline_seconds is not None:  # what planning itself took is known only now
            left = min(left * 1.5, plan.deadline_seconds - (time.monotonic() - began))
        pace = Pace(
            left,
            spent=spent,
            steps=plan.most_steps,
            record=run.path / "pace.json",
            expected=plan.step_seconds,
            afterwards=plan.judging_seconds,
        )
    gradients = None
    if config.run.track_gradients:
        gradients = GradientLog(run.path / "gradients.jsonl", latest.step if latest else 0)
    emit(Phase("train", plan.sentence()))
    run.update(phase="train")
    trainer.fit(
        chosen.sequences,
        chosen.validation,
        store=store,
        resume=latest is not None,
        pace=pace,
        gradients=gradients,
        fingerprint=_fingerprint(config, trainer, material),
    )
    run.update(phase="judge")
    judged = [split.held_out[index] for index in plan.held_out]
    encoded = encode(judged, base, max_length=trainer.settings.max_length)
    verdict = judge(
        base,
        judged,
        encoded,
        train_commits=split.train_commits,
        held_out_commits=split.held_out_commits,
        writing=Writing(plan.generate_limit, plan.generate_tokens, plan.generate_batch),
        seed=config.training.seed,
        emit=emit,
    )
    output = Path(run.state.config["output"])
    if output.exists() and not packed and not config.run.force:
        # It was free when the run began: somebody else's adapter has come there since.
        emit(Note(f"{output} has been written by someone else meanwhile; it stays as it is.", "warning"))
        output = _free(output)
    emit(Phase("pack", str(output)))
    manifest = manifest_of(trainer, config, material, chosen.used(trainer.seen(chosen.sequences)), len(judged), verdict)
    trainer.save_adapter(output, manifest, recipe_of(config, trainer.base))
    run.update(phase=PACKED, config={**run.state.config, "output": str(output)})
    course = summarise(read_events(run.events_path))
    report = ReportData(
        title=manifest.name,
        subtitle=", ".join(material.sources),
        manifest=manifest.to_json(),
        training=course.curve,
        validation=course.validations,
        funnel=material.funnel,
        verdict=verdict.to_json(),
        samples=verdict.samples,
        settings=manifest.training,
        machine={"processor": platform.processor() or platform.machine(), "system": platform.platform()},
    )
    files.write_text(run.path / "report.html", render_report(report))
    return TrainResult(output, verdict, run.path, plan.summary(), run.path / "report.html")


def _trainer(config: TrainConfig, emit: Emit) -> tuple[LoRATrainer, BaseModel]:
    from neuralforge.models import load_base_model
    from neuralforge.models.fim import add_fim_tokens
    from neuralforge.training.trainer import LoRATrainer

    emit(Phase("load", config.model.base))
    precision = None if config.training.precision == "auto" else config.training.precision
    base = load_base_model(config.model.base, dtype=precision, device=config.model.device, emit=emit)
    fim = config.dataset.fim
    if base.fim is None and config.model.add_fim_tokens and not base.encoder_decoder:
        add_fim_tokens(base)
    if base.fim is None and not base.encoder_decoder:
        if fim == "on":
            raise UserError(
                f"{base.name} has no fill-in-the-middle tokens.",
                "Leave dataset.fim at auto to train left to right, or set model.add_fim_tokens to add some.",
            )
        emit(Note(f"{base.name} has no fill-in-the-middle tokens: it is trained left to right."))
    one = config.training
    trainer = LoRATrainer(
        base,
        rank=config.lora.rank,
        alpha=config.lora.alpha,
        dropout=config.lora.dropout,
        target_modules=config.lora.target_modules,
        layers="all" if config.lora.layers == "auto" else config.lora.layers,
        use_rslora=config.lora.use_rslora,
        use_dora=config.lora.use_dora,
        emit=emit,
        batch_size=one.batch_size,
        gradient_accumulation=one.gradient_accumulation,
        parallel_steps=one.parallel_steps,
        int8=None if one.int8 == "auto" else one.int8 == "on",
        sampled_softmax=one.sampled_softmax,
        learning_rate=one.learning_rate,
        loraplus_lr_ratio=one.loraplus_lr_ratio,
        scheduler=one.scheduler,
        epochs=one.epochs,
        warmup_steps=one.warmup_steps,
        warmup_ratio=one.warmup_ratio,
        weight_decay=one.weight_decay,
        max_grad_norm=one.max_grad_norm,
        gradient_checkpointing=one.gradient_checkpointing,
        low_memory=one.low_memory,
        eval_every=one.eval_every,
        early_stopping_patience=one.early_stopping_patience,
        seed=one.seed,
        max_length=config.dataset.max_length,
        fim=fim != "off" and base.fim is not None,
        fim_rate=config.dataset.fim_rate,
        completion_only_loss=one.completion_only_loss,
        checkpoint_every=config.run.checkpoint_every_seconds,
    )
    return trainer, base


def _output(config: TrainConfig) -> Path:
    """Where the package goes. A file that is there is never overwritten unless it was named and forced."""
    chosen = config.run.output
    if chosen is not None:
        if chosen.suffix != ".lora":
            raise UserError(f"An adapter's file name ends in .lora, not {chosen.name!r}.", f"Try {chosen}.lora.")
        if chosen.exists() and not config.run.force:
            raise UserError(f"{chosen} exists.", "Choose another --output, or --force to replace it.")
        return chosen.resolve()
    return _free(Path(f"{adapter_name(config)}.lora").resolve())


def _free(path: Path) -> Path:
    """``path``, or where something is there already, the first free one of NAME-2.lora, NAME-3.lora …"""
    chosen, number = path, 2
    while chosen.exists():
        chosen, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    return chosen


def _remembered(config: TrainConfig, output: Path) -> dict[str, Any]:
    return {"settings": config.model_dump(mode="json", exclude_unset=True), "output": str(output)}


def _as_it_was(run: RunDirectory, now: TrainConfig) -> TrainConfig:
    """The settings the run began with; only what is shown or forced, and the output, may differ this time."""
    from pydantic import ValidationError

    from neuralforge.config.schema import SAID_ANEW
    from neuralforge.config.schema import TrainConfig as Schema

    try:
        config = Schema.model_validate(run.state.config["settings"])
    except (KeyError, ValidationError) as failure:
        raise RunError(f"The run {run.path} was begun by another version.", "Start a new training.") from failure
    if now.run.output is not None:
        run.update(config={**run.state.config, "output": str(_output(now))})
    shown = {key: getattr(now.run, key) for key in SAID_ANEW}
    return config.model_copy(update={"run": config.run.model_copy(update=shown)})


def _fingerprint(config: TrainConfig, trainer: LoRATrainer, material: Material) -> str:
    """Digest of everything that decides the weights: settings, examples, base, and how this machine computes."""
    from neuralforge.models.base import causal

    digest = hashlib.sha256()
    settings = config.model_dump(mode="json", exclude={"run", "evaluation"})
    digest.update(json.dumps(settings, sort_keys=True).encode())
    base = trainer.base
    digest.update(f"{base.digest} {causal(base).dtype} {trainer.settings.int8}".encode())
    for example in material.split.train:
        digest.update(json.dumps(example.to_json(), sort_keys=True).encode())
    return digest.hexdigest()


def _memory_log(run: RunDirectory) -> Emit:
    from neuralforge.training.watching import MemoryLog

    return MemoryLog(run.path / "memory.jsonl")


def _watchers(config: TrainConfig) -> list[Emit]:
    return watchers(config.run.tensorboard, config.run.wandb, adapter_name(config), config.model_dump(mode="json"))
