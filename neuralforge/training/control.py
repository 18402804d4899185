"""Train the control of ``benchmark --controls``: the same settings and the same work on other code."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from neuralforge.adapter.manifest import Manifest
from neuralforge.data.records import Example
from neuralforge.models.base import BaseModel
from neuralforge.runs.events import Emit, Phase, silent
from neuralforge.training.attach import detach
from neuralforge.training.trainer import LoRATrainer, TrainSettings


def control_training(
    manifest: Manifest, *, seed: int = 0, emit: Emit = silent
) -> Callable[[BaseModel, Sequence[Example]], AbstractContextManager[None]]:
    """A context manager factory: on entry an adapter like the manifest's is trained and on, on exit it is gone.

    As many optimiser steps are taken as the judged adapter took, so the two cost the same.
    """

    @contextlib.contextmanager
    def train(base: BaseModel, examples: Sequence[Example]) -> Iterator[None]:
        emit(Phase("control", f"{len(examples)} examples of unrelated code"))
        known = {key: value for key, value in manifest.training.items() if key in TrainSettings.__dataclass_fields__}
        steps = manifest.training.get("steps")
        # How this machine multiplies is its own affair.
        chosen = known | {"seed": seed, "early_stopping_patience": 0, "int8": None}
        if isinstance(steps, int) and steps > 0:
            chosen |= {"max_steps": steps, "epochs": 1000}
        layers = manifest.lora.layers
        trainer = LoRATrainer(
            base,
            rank=manifest.lora.rank,
            alpha=manifest.lora.alpha,
            dropout=manifest.lora.dropout,
            target_modules=manifest.lora.target_modules,
            layers="all" if layers is None else len(layers),
            use_rslora=manifest.lora.use_rslora,
            use_dora=manifest.lora.use_dora,
            emit=emit,
            **chosen,
        )
        try:
            trainer.train(examples)
            yield
        finally:
            detach(base)

    return train
