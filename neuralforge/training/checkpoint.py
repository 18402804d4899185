"""The whole state of a training as bytes for a ``CheckpointStore``, and back, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import torch
from safetensors.torch import load, save
from torch import nn

from neuralforge.errors import RunError
from neuralforge.runs.checkpoints import Checkpoint, Content

ADAPTER, OPTIMISER, STATE = "adapter.safetensors", "optimiser.safetensors", "state.json"
MOMENTS = ("exp_avg", "exp_avg_sq")  # Adam's, each in a file of its own


@dataclass(slots=True)
class LoopState:
    """Where the loop stands. Everything that decides what comes next, besides weights and optimiser.

    Attributes:
        step: optimiser steps done. total: steps planned.
        tokens: tokens computed so far. elapsed: seconds of training so far, over all sessions.
        best_loss, best_step: best validation so far (nats per token). stale: evaluations since then.
        loss_scale: factor on an fp16 loss.
        fingerprint: digest of data, settings and base; a resumed run must have the same one.
        growth: what a ``training.growing.Grower`` must remember, for a model that grows.
    """

    step: int = 0
    total: int = 0
    tokens: int = 0
    elapsed: float = 0.0
    best_loss: float | None = None
    best_step: int = 0
    stale: int = 0
    loss_scale: float = 65536.0
    fingerprint: str = ""
    growth: dict[str, Any] = field(default_factory=dict)


def freeze(named: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer, state: LoopState) -> dict[str, Content]:
    """Weights, moments, random generator and counters as the files of one checkpoint.

    Tensors become bytes when their file is written, one file at a time: together they would be the largest thing that a
    run with little memory ever holds.
    """
    rest: dict[str, torch.Tensor] = {"rng": torch.get_rng_state()}
    device = _cuda(named)
    if device is not None:
        rest["rng/cuda"] = torch.cuda.get_rng_state(device)
    moments: dict[str, dict[str, torch.Tensor]] = {key: {} for key in MOMENTS}
    for name, parameter in named.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            if key in moments:
                moments[key][name] = value
            else:
                rest[f"{key}/{name}"] = value
    return {
        ADAPTER: _written(named),
        **{_moments_file(key): _written(values) for key, values in moments.items()},
        OPTIMISER: _written(rest),
        STATE: json.dumps(asdict(state), sort_keys=True).encode(),
    }


def _moments_file(key: str) -> str:
    return f"{key}.safetensors"


def _written(tensors: Mapping[str, torch.Tensor]) -> Callable[[BinaryIO], None]:
    def write(handle: BinaryIO) -> None:
        handle.write(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))

    return write


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The adapter's tensors of a checkpoint, by parameter name."""
    tensors: dict[str, torch.Tensor] = load(checkpoint.read(ADAPTER))
    return tensors


def state_of(checkpoint: Checkpoint) -> LoopState:
    """Where the loop stood.

    Raises:
        RunError: another version of neuralforge wrote it.
    """
    try:
        content: dict[str, Any] = json.loads(checkpoint.read(STATE))
        return LoopState(**content)
    except (ValueError, TypeError) as failure:
        raise RunError(
            f"The checkpoint {checkpoint.path} was written by another version.", "Start again without --resume."
        ) from failure


def thaw(
    checkpoint: Checkpoint, named: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer, fingerprint: str
) -> LoopState:
    """Put a checkpoint's state back into parameters, optimiser and random generator.

    Raises:
        RunError: it belongs to another run: other data, settings, base or tensors.
    """
    state = state_of(checkpoint)
    stored = weights(checkpoint)
    fits = stored.keys() == named.keys() and all(stored[name].shape == named[name].shape for name in named)
    if state.fingerprint != fingerprint or not fits:
        raise RunError(
            f"The checkpoint {checkpoint.path} belongs to other data, settings or another base model.",
            "Resume with the command that began the run, or start a new run in another folder.",
        )
    rest = load(checkpoint.read(OPTIMISER))
    moments = {key: load(checkpoint.read(_moments_file(key))) for key in MOMENTS}
    torch.set_rng_state(rest["rng"])
    device = _cuda(named)
    if device is not None and "rng/cuda" in rest:
        torch.cuda.set_rng_state(rest["rng/cuda"], device)
    restore(named, stored)
    for name, parameter in named.items():
        if f"step/{name}" in rest:
            own = {"step": rest[f"step/{name}"], **{key: values[name] for key, values in moments.items()}}
            # A fused optimiser counts its steps on the device, any other one on the processor.
            apart = {"step"} if parameter.device.type != "cuda" or not optimiser.defaults.get("fused") else set()
            optimiser.state[parameter] = {
                key: value if key in apart else value.to(parameter.device) for key, value in own.items()
            }
    return state


def _cuda(named: Mapping[str, nn.Parameter]) -> torch.device | None:
    """The CUDA device that the parameters are on, if they are: dropout there has a generator of its own."""
    return next((one.device for one in named.values() if one.device.type == "cuda"), None)


def restore(named: Mapping[str, nn.Parameter], stored: Mapping[str, torch.Tensor]) -> None:
    """Copy tensors into parameters of the same names."""
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(stored[name])


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that learn, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def count(parameters: Sequence[nn.Parameter]) -> int:
    """Numbers in ``parameters``."""
    return sum(parameter.numel() for parameter in parameters)
