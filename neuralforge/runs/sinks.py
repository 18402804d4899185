"""Further listeners for a run's events: several at once, TensorBoard, Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuralforge.errors import UserError
from neuralforge.runs.events import Emit, Evaluated, Event, Finished, Step


def tee(*sinks: Emit) -> Emit:
    """An ``Emit`` that tells all of ``sinks``, in order."""

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return emit


def _figures(event: Event) -> tuple[int, dict[str, float]] | None:
    match event:
        case Step():
            return event.step, {
                "train/loss": event.loss,
                "train/learning_rate": event.learning_rate,
                "train/gradient_norm": event.gradient_norm,
                "train/tokens_per_second": event.tokens_per_second,
                "train/memory_bytes": float(event.memory),
            }
        case Evaluated():
            return event.step, {"validation/loss": event.loss}
    return None


def tensorboard(folder: Path) -> Emit:
    """Write scalars that ``tensorboard --logdir FOLDER`` shows.

    Raises:
        UserError: the tensorboard package is not installed, or the folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as failure:
        raise UserError(
            "--tensorboard needs the tensorboard package.", "Install it with `pip install 'neuralforge[tensorboard]'`."
        ) from failure
    try:
        writer: Any = SummaryWriter(str(folder))
    except OSError as failure:
        raise UserError(
            f"TensorBoard files cannot be written to {folder}: {failure.strerror or failure}.",
            "Give --tensorboard a folder that can be written.",
        ) from failure

    def emit(event: Event) -> None:
        figures = _figures(event)
        if figures:
            for name, value in figures[1].items():
                writer.add_scalar(name, value, figures[0])
        if isinstance(event, Finished):
            writer.close()

    return emit


def wandb(name: str, config: Mapping[str, Any]) -> Emit:
    """Report to Weights & Biases (its own environment variables choose project and mode).

    Raises:
        UserError: the wandb package is not installed, or it does not let us in.
    """
    try:
        import wandb as library
    except ImportError as failure:
        raise UserError(
            "--wandb needs the wandb package.", "Install it with `pip install 'neuralforge[wandb]'`."
        ) from failure
    try:
        run: Any = library.init(name=name, config=dict(config))
    except Exception as failure:  # its own errors, and those of the network below it
        raise UserError(
            f"Weights & Biases cannot be reached: {failure}",
            "Log in with `wandb login`, set WANDB_MODE=offline, or leave out --wandb.",
        ) from failure

    def emit(event: Event) -> None:
        figures = _figures(event)
        if figures:
            run.log(figures[1], step=figures[0])
        if isinstance(event, Finished):
            run.finish(exit_code=0 if event.outcome == "done" else 1)

    return emit
