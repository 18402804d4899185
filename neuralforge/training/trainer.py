"""``LoRATrainer``: a base model, a few settings, examples in, a ``.lora`` package out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from neuralforge.adapter.manifest import BaseInfo, CommitInfo, DataInfo, LoraInfo, Manifest
from neuralforge.adapter.package import pack, seal
from neuralforge.data.jsonl import read_examples
from neuralforge.data.records import Example
from neuralforge.errors import DataError, UserError
from neuralforge.files import write_text
from neuralforge.models.base import BaseModel, causal
from neuralforge.models.frugal import give_back, spare_memory
from neuralforge.models.precision import multiplies_int8
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.events import Emit, silent
from neuralforge.tokens.encoding import Encoded, EncodingReport, encode, encode_for_training
from neuralforge.training.attach import ADAPTER, LoraSettings, attach, detach, save
from neuralforge.training.loop import Gradients, LoopResult, LoopSettings, Pace, rounds_from, run, steps_per_epoch
from neuralforge.training.network import fusible
from neuralforge.training.schedule import Scheduler, Shape, WarmupScheduler

Examples = str | Path | Iterable[Example]
MICRO_TOKENS, MICRO_TOKENS_LOW = 512, 256


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything about a training that is not data: see the fields of ``LoopSettings`` and ``LoraSettings``.

    Attributes:
        batch_size: sequences to a step; None takes ``usual_batch`` of the base.
        parallel_steps: steps whose gradients are taken side by side from the same weights and then applied one after
            the other; None takes 2 where a step is a single sequence, else 1.
        int8: multiply with frozen weights in 8-bit integers (``training.int8``); None does where the network can and
            the processor gains, memory permitting.
        sampled_softmax: estimate what tokens that no sequence contains add to the softmax, where that leaves less than
            half of the vocabulary (``training.vocabulary``).
        max_length: tokens of one sequence.
        learning_rate: peak; None takes ``usual_rate`` of the base.
        loraplus_lr_ratio: learning rate of every B over that of its A (LoRA+, Hayou et al. 2024, arXiv 2402.12354).
        warmup_steps: None takes ``warmup_ratio`` of all steps.
        completion_only_loss: take loss on completions alone, not on the context of mined code.
        gradient_scaling: scale an fp16 loss so that small gradients survive (Micikevicius et al. 2018, arXiv
            1710.03740).
        gradient_checkpointing: recompute activations in the backward.
        low_memory: small micro-batches, recomputation, and ``models.frugal``.
        max_steps: stop after so many steps, whatever ``epochs`` says; None for no bound.
    """

    batch_size: int | None = None
    gradient_accumulation: int = 1
    parallel_steps: int | None = None
    int8: bool | None = None
    sampled_softmax: bool = True
    learning_rate: float | None = None
    loraplus_lr_ratio: float = 4.0
    scheduler: Shape = "linear"
    epochs: int = 3
    warmup_steps: int | None = None
    warmup_ratio: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    gradient_scaling: bool = True
    gradient_checkpointing: bool = False
    low_memory: bool = False
    eval_every: int | None = None
    early_stopping_patience: int = 3
    seed: int = 0
    max_length: int = 384
    fim: bool = False
    fim_rate: float = 0.5
    completion_only_loss: bool = False
    max_steps: int | None = None
    checkpoint_every: float = 60.0

    @property
    def micro_tokens(self) -> int:
        """Tokens computed in one pass of one lane."""
        return MICRO_TOKENS_LOW if self.low_memory else MICRO_TOKENS

    @property
    def step_sequences(self) -> int:
        """Sequences to one optimiser step."""
        return (self.batch_size or 1) * self.gradient_accumulation

    @property
    def round_steps(self) -> int:
        """Optimiser steps computed side by side."""
        return self.parallel_steps or (2 if self.step_sequences == 1 else 1)

    def steps_per_epoch(self, sequences: int) -> int:
        """Optimiser steps of one pass over ``sequences``."""
        return steps_per_epoch(sequences, self.batch_size or 1, self.gradient_accumulation)

    def steps(self, sequences: int) -> int:
        """Optimiser steps that these settings take over ``sequences``."""
        steps = self.steps_per_epoch(sequences) * self.epochs
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def loop(self, steps: int, sequences: int, scheduler: Scheduler | None, fingerprint: str) -> LoopSettings:
        """The loop's settings for ``steps`` steps."""
        warmup = self.warmup_steps if self.warmup_steps is not None else round(self.warmup_ratio * steps)
        plain: Scheduler = WarmupScheduler(self.learning_rate or 1e-3, min(warmup, steps), steps, self.scheduler)
        per_epoch = self.steps_per_epoch(sequences)
        return LoopSettings(
            steps=steps,
            scheduler=scheduler or plain,
            batch_size=self.batch_size or 1,
            accumulation=self.gradient_accumulation,
            parallel_steps=self.round_steps,
            int8=bool(self.int8),
            sampled_softmax=self.sampled_softmax,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
            loraplus_lr_ratio=self.loraplus_lr_ratio,
            gradient_scaling=self.gradient_scaling,
            eval_every=self.eval_every if self.eval_every is not None else max(1, per_epoch // 2),
            patience=self.early_stopping_patience,
            seed=self.seed,
            checkpoint_every=self.checkpoint_every,
            micro_tokens=self.micro_tokens,
            fingerprint=fingerprint,
        )


class LoRATrainer:
    """Train a LoRA adapter on a base model.

    >>> trainer = LoRATrainer(model=load_base_model(), rank=16, alpha=32)  # doctest: +SKIP
    >>> trainer.train(train_dataset="train.jsonl", eval_dataset="eval.jsonl", epochs=3)  # doctest: +SKIP
    >>> trainer.save_adapter("my-adapter.lora")  # doctest: +SKIP

    Args:
        model: from ``load_base_model``.
        rank, alpha, dropout, target_modules, layers, use_rslora, use_dora: the adapter, see ``LoraSettings``; alpha
            is twice the rank when not given.
        fp16, bf16: the type to compute in. The base is converted if it was loaded in another.
        settings: any field of ``TrainSettings`` by name (``gradient_accumulation_steps`` is taken too).
    """

    def __init__(
        self,
        model: BaseModel,
        *,
        rank: int = 16,
        alpha: float | None = None,
        dropout: float = 0.0,
        target_modules: str | Sequence[str] = "all-linear",
        layers: str | int | tuple[int, ...] = "all",
        use_rslora: bool = False,
        use_dora: bool = False,
        fp16: bool = False,
        bf16: bool = False,
        gradient_accumulation_steps: int | None = None,
        emit: Emit = silent,
        **settings: Any,
    ) -> None:
        if fp16 and bf16:
            raise UserError("fp16 and bf16 exclude each other.", "Choose one of them.")
        if gradient_accumulation_steps is not None:
            settings["gradient_accumulation"] = gradient_accumulation_steps
        self._asked = _changed(TrainSettings(), settings)
        modules = target_modules if isinstance(target_modules, str) else tuple(target_modules)
        self.lora = LoraSettings(
            rank, 2.0 * rank if alpha is None else alpha, dropout, modules, layers, use_rslora, use_dora
        )
        self.base = model
        self.emit = emit
        self.report = EncodingReport()
        self.trained: list[Example] = []
        self.result: LoopResult | None = None
        if fp16 or bf16:
            causal(model).to(torch.float16 if fp16 else torch.bfloat16)
        detach(model)
        spare_memory(causal(model), self._asked.low_memory)
        attach(model, self.lora, self._asked.seed)
        self.settings = self._prepared()

    def _prepared(self) -> TrainSettings:
        """The settings that were asked for with what they left open, the model made ready for them."""
        settings = _resolved(self._asked, self.base)
        if settings.gradient_checkpointing or settings.low_memory:
            # Our own layers ask the model; transformers' layers are told.
            inner = causal(self.base)
            # Renamed in the course of transformers 5.
            enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
            enable({"use_reentrant": False})
            inner.enable_input_require_grads()
        return settings

    def encode(self, examples: Sequence[Example]) -> list[Encoded]:
        """Sequences for training, neighbours in one file sharing one."""
        one = self.settings
        return encode_for_training(
            examples,
            self.base,
            max_length=one.max_length,
            fim=one.fim,
            fim_rate=one.fim_rate,
            seed=one.seed,
            completion_only_loss=one.completion_only_loss,
            report=self.report,
        )

    def train(
        self,
        train_dataset: Examples,
        eval_dataset: Examples | None = None,
        *,
        lr_scheduler: Scheduler | None = None,
        store: CheckpointStore | None = None,
        resume: bool = False,
        pace: Pace | None = None,
        gradients: Gradients | None = None,
        fingerprint: str = "",
        **changes: Any,
    ) -> LoopResult:
        """Train on examples or a JSONL file; ``eval_dataset`` decides early stopping and the best weights.

        Args:
            lr_scheduler: instead of the one that the settings describe.
            store, resume, pace, gradients, fingerprint: see ``loop.run``.
            changes: fields of ``TrainSettings`` from now on (``epochs=3``, ``batch_size=8`` …); what was left open is
                chosen again to fit them.

        Raises:
            UserError: an unknown field, or one that cannot be had here. DataError: nothing to train on.
            RunError, Interrupted: see ``loop.run``.
        """
        if changes:
            self._asked = _changed(self._asked, changes)
            self.settings = self._prepared()
        self.trained = _read(train_dataset)
        encoded = self.encode(self.trained)
        validation = encode(_read(eval_dataset), self.base, max_length=self.settings.max_length) if eval_dataset else []
        if not encoded:
            raise DataError("There is no example to train on.", "Check the data with `neuralforge analyze-dataset`.")
        return self.fit(encoded, validation, lr_scheduler, store, resume, pace, gradients, fingerprint)

    def fit(
        self,
        encoded: Sequence[Encoded],
        validation: Sequence[Encoded] = (),
        lr_scheduler: Scheduler | None = None,
        store: CheckpointStore | None = None,
        resume: bool = False,
        pace: Pace | None = None,
        gradients: Gradients | None = None,
        fingerprint: str = "",
    ) -> LoopResult:
        """Like ``train``, on sequences that are encoded already."""
        steps = self.settings.steps(len(encoded))
        settings = self.settings.loop(steps, len(encoded), lr_scheduler, fingerprint)
        self.result = run(
            self.base,
            encoded,
            settings,
            validation=validation,
            store=store,
            resume=resume,
            pace=pace,
            gradients=gradients,
            emit=self.emit,
        )
        give_back()
        return self.result

    def seen(self, encoded: Sequence[Encoded]) -> set[int]:
        """Which of ``encoded`` (indices) the steps that were taken have learned from."""
        if self.result is None:
            return set()
        settings = self.settings.loop(self.result.state.total, len(encoded), None, "")
        steps = islice(chain.from_iterable(rounds_from(encoded, settings, 0)), self.result.state.step)
        return {index for micro_batches in steps for micro in micro_batches for index in micro}

    def save_adapter(
        self, target: str | Path, manifest: Manifest | None = None, training_yaml: str | None = None
    ) -> Path:
        """Write the package ``target``; without a manifest, one that says what this trainer knows.

        Raises:
            RunError: it cannot be written; what was there is untouched.
        """
        target = Path(target)
        if target.suffix != ".lora":
            raise UserError(
                f"An adapter's file name ends in .lora, not {target.name!r}.", "For example my-adapter.lora."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        manifest = manifest or self.manifest(target.stem)
        if training_yaml is None:
            import yaml

            training_yaml = yaml.safe_dump(dict(manifest.training), sort_keys=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".packing-") as folder:
            work = Path(folder) / "adapter"
            save(self.base, work)
            (work / "README.md").unlink(missing_ok=True)
            write_text(work / "training.yaml", training_yaml)
            seal(work, manifest)
            pack(work, target)
        return target

    def manifest(
        self,
        name: str,
        *,
        version: str = "1.0.0",
        data: DataInfo | None = None,
        commits: CommitInfo | None = None,
        verdict: dict[str, Any] | None = None,
        licence: str | None = None,
        description: str = "",
    ) -> Manifest:
        """``metadata.json`` for the adapter as it is now."""
        from neuralforge import __version__

        wrapped: Any = self.base.model
        settings = wrapped.peft_config[ADAPTER]
        chosen = getattr(settings, "layers_to_transform", None)
        training = {key: value for key, value in asdict(self.settings).items() if value is not None}
        if self.result is not None:
            state = self.result.state
            training |= {"steps": state.step, "tokens": state.tokens, "seconds": round(state.elapsed, 1)}
        training["precision"] = str(causal(self.base).dtype).removeprefix("torch.")
        return Manifest(
            name=name,
            version=version,
            created=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            generator=f"neuralforge {__version__}",
            description=description,
            licence=licence,
            base=BaseInfo(self.base.name, self.base.identity, self.base.digest, self.base.licence),
            lora=LoraInfo(
                rank=self.lora.rank,
                alpha=float(self.lora.alpha),
                dropout=self.lora.dropout,
                target_modules=tuple(sorted(settings.target_modules)),
                layers=None if chosen is None else tuple(chosen),
                use_rslora=self.lora.rslora,
                use_dora=self.lora.dora,
            ),
            data=data or DataInfo(examples=len(self.trained)),
            commits=commits,
            verdict=verdict,
            training=training,
        )


def usual_batch(base: BaseModel) -> int:
    """Sequences to a step: one where the fused network keeps every core busy with it, else two.

    At equal tokens, one sequence a step beat two on every library tried; see ``benchmarks/RESULTS.md``.
    """
    return 1 if fusible(base) else 2


def usual_rate(base: BaseModel, step_sequences: int) -> float:
    """A peak learning rate for LoRA on ``base``, falling with its width.

    On the default base (width 576), B four times as fast: 1e-3 for one sequence a step, 1.5e-3 for more; see
    ``benchmarks/RESULTS.md``. The optimum falls about as 1/width (Yang et al. 2022, arXiv 2203.03466).
    """
    width = getattr(causal(base).config, "hidden_size", None) or 576
    return (1e-3 if step_sequences == 1 else 1.5e-3) * min(1.0, 576 / int(width))


def _resolved(settings: TrainSettings, base: BaseModel) -> TrainSettings:
    """What was left to choose, chosen for ``base`` with its adapter and for this machine.

    Raises:
        UserError: ``int8`` where it cannot be had.
    """
    able = fusible(base) and causal(base).dtype in (torch.bfloat16, torch.float32)
    if settings.int8 and not able:
        raise UserError(
            "8-bit products (int8) are for Llama-shaped bases on a processor, in bf16 or fp32, with plain LoRA.",
            "Leave training.int8 at auto.",
        )
    int8 = able and multiplies_int8() and not settings.low_memory if settings.int8 is None else settings.int8
    settings = replace(settings, batch_size=settings.batch_size or usual_batch(base), int8=int8)
    rate = settings.learning_rate or usual_rate(base, settings.step_sequences)
    return replace(settings, learning_rate=rate)


def _changed(settings: TrainSettings, changes: dict[str, Any]) -> TrainSettings:
    unknown = sorted(set(changes) - set(TrainSettings.__dataclass_fields__))
    if unknown:
        known = ", ".join(TrainSettings.__dataclass_fields__)
        raise UserError(f"Unknown training setting {unknown[0]!r}.", f"Known: {known}.")
    return replace(settings, **changes)


def _read(examples: Examples) -> list[Example]:
    return list(read_examples(Path(examples)) if isinstance(examples, str | Path) else examples)
