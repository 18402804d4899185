"""The whole state of a training as bytes for a ``CheckpointStore``, and back, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import nn

from neuralforge.errors import RunError
from neuralforge.runs.checkpoints import Checkpoint

ADAPTER, OPTIMISER, STATE = "adapter.safetensors", "optimiser.safetensors", "state.json"


@dataclass(slots=True)
class LoopState:
    """Where the loop stands. Everything that decides what comes next, besides weights and optimiser.

    Attributes:
        step: optimiser steps done. total: steps planned.
        tokens: tokens computed so far. elapsed: seconds of training so far, over all sessions.
        best_loss, best_step: best validation so far (nats per token). stale: evaluations since then.
        loss_scale: factor on an fp16 loss.
        fingerprint: digest of data, settings and base; a resumed run must have the same one.
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


def freeze(named: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer, state: LoopState) -> dict[str, bytes]:
    """Adapter, optimiser, random generator and counters as the files of one checkpoint."""
    moments: dict[str, torch.Tensor] = {"rng": torch.get_rng_state()}
    device = _cuda(named)
    if device is not None:
        moments["rng/cuda"] = torch.cuda.get_rng_state(device)
    for name, parameter in named.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            moments[f"{key}/{name}"] = value.detach().cpu().contiguous()
    return {
        ADAPTER: save({name: value.detach().cpu().contiguous() for name, value in named.items()}),
        OPTIMISER: save(moments),
        STATE: json.dumps(asdict(state), sort_keys=True).encode(),
    }


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The adapter's tensors of a checkpoint, by parameter name."""
    tensors: dict[str, torch.Tensor] = load(checkpoint.read(ADAPTER))
    return tensors


def thaw(
    checkpoint: Checkpoint, named: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer, fingerprint: str
) -> LoopState:
    """Put a checkpoint's state back into parameters, optimiser and random generator.

    Raises:
        RunError: it belongs to another run: other data, settings, base or tensors.
    """
    try:
        content: dict[str, Any] = json.loads(checkpoint.read(STATE))
        state = LoopState(**content)
    except (ValueError, TypeError) as failure:
        raise RunError(
            f"The checkpoint {checkpoint.path} was written by another version.", "Start again without --resume."
        ) from failure
    stored = weights(checkpoint)
    fits = stored.keys() == named.keys() and all(stored[name].shape == named[name].shape for name in named)
    if state.fingerprint != fingerprint or not fits:
        raise RunError(
            f"The checkpoint {checkpoint.path} belongs to other data, settings or another base model.",
            "Resume with the command that began the run, or start a new run in another folder.",
        )
    moments = load(checkpoint.read(OPTIMISER))
    torch.set_rng_state(moments.pop("rng"))
    device = _cuda(named)
    if device is not None and "rng/cuda" in moments:
        torch.cuda.set_rng_state(moments["rng/cuda"], device)
    restore(named, stored)
    for name, parameter in named.items():
        own = {key: moments[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{key}/{name}" in moments}
        if own:
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
