"""The whole state of a training through bytes and back."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from neuralforge.errors import RunError
from neuralforge.runs.checkpoints import Checkpoint, CheckpointStore
from neuralforge.training.checkpoint import STATE, LoopState, freeze, thaw, trainable, weights


def network() -> tuple[dict[str, nn.Parameter], torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    named = trainable(model)
    return named, torch.optim.AdamW(named.values(), lr=0.1)


def learn(named: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        for parameter in named.values():
            parameter.grad = torch.randn_like(parameter)
        optimiser.step()


def saved(tmp_path: Path, fingerprint: str = "f", **changes: object) -> Checkpoint:
    named, optimiser = network()
    learn(named, optimiser, 3)
    files = freeze(named, optimiser, LoopState(3, 9, 100, 1.5, 0.5, 2, 1, 32.0, fingerprint))
    if changes:
        files[STATE] = json.dumps(json.loads(files[STATE]) | changes).encode()
    store = CheckpointStore(tmp_path)
    store.save(3, files)
    found = store.latest()
    assert found is not None
    return found


def test_what_learns_is_told_from_what_is_frozen() -> None:
    named, _ = network()
    assert list(named) == ["0.bias", "1.weight", "1.bias"]


def test_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    named, optimiser = network()
    learn(named, optimiser, 3)
    files = freeze(named, optimiser, LoopState(step=3))
    store = CheckpointStore(tmp_path)
    store.save(3, files)
    learn(named, optimiser, 4)
    found = store.latest()
    assert found is not None
    others, other = network()
    assert thaw(found, others, other, "").step == 3
    learn(others, other, 4)
    assert all(torch.equal(named[name], others[name]) for name in named)


def test_counters_and_weights_come_back(tmp_path: Path) -> None:
    found = saved(tmp_path)
    named, optimiser = network()
    assert thaw(found, named, optimiser, "f") == LoopState(3, 9, 100, 1.5, 0.5, 2, 1, 32.0, "f")
    assert weights(found).keys() == named.keys()


def test_another_fingerprint_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    found = saved(tmp_path)
    named, optimiser = network()
    before = {name: value.detach().clone() for name, value in named.items()}
    with pytest.raises(RunError, match="other data, settings or another base"):
        thaw(found, named, optimiser, "other")
    assert all(torch.equal(named[name], before[name]) for name in named)


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    found = saved(tmp_path)
    named, optimiser = network()
    with pytest.raises(RunError):
        thaw(found, {name: value for name, value in named.items() if name != "0.bias"}, optimiser, "f")


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    found = saved(tmp_path, surprise=1)
    named, optimiser = network()
    with pytest.raises(RunError, match="another version"):
        thaw(found, named, optimiser, "f")


def test_parameters_of_another_shape_are_refused(tmp_path: Path) -> None:
    found = saved(tmp_path)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    model[0].weight.requires_grad_(False)
    named = trainable(model)
    with pytest.raises(RunError):
        thaw(found, named, torch.optim.AdamW(named.values()), "f")
