"""The one loop on all of a model's weights, over windows of a corpus on disk."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

from neuralforge.models.base import BaseModel
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.events import Event, Step
from neuralforge.tokens.batching import collate
from neuralforge.tokens.shards import Windows, write_corpus
from neuralforge.tokens.tokenizer import train_tokenizer
from neuralforge.training.loop import LoopSettings, run
from neuralforge.training.network import GenericNetwork, open_network
from neuralforge.training.schedule import WarmupScheduler
from tests.tiny import tiny_arbor

TEXTS = [f"def f{number}(first):\n    return first + {number}\n" for number in range(60)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, vocab_size=300)


@pytest.mark.parametrize("tied", [True, False])
def test_every_weight_has_the_librarys_gradient(tokenizer: Any, tmp_path: Path, tied: bool) -> None:
    model = tiny_arbor(tokenizer, 48, tied=tied)
    windows = Windows(write_corpus(TEXTS, tokenizer, tmp_path, validation=0), 32)
    network = open_network(model)
    assert isinstance(network, GenericNetwork)
    named = dict(model.model.named_parameters())
    ours = torch.autograd.grad(network.loss(collate(windows, (0, 5))), list(named.values()))
    ids = torch.stack([torch.from_numpy(windows[index].ids).long() for index in (0, 5)])
    theirs = torch.autograd.grad(model.model(ids, labels=ids).loss * 64, list(named.values()))
    for name, one, two in zip(named, ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5, msg=name)


def test_it_learns_and_goes_on_bit_for_bit_where_it_was_stopped(tokenizer: Any, tmp_path: Path) -> None:
    windows = Windows(write_corpus(TEXTS, tokenizer, tmp_path / "corpus", validation=0), 32)
    settings = LoopSettings(steps=24, scheduler=WarmupScheduler(1e-2, 2, 24), batch_size=4, checkpoint_every=0)

    def train(store: CheckpointStore, until: int, resume: bool = False) -> tuple[BaseModel, list[float]]:
        model, losses = tiny_arbor(tokenizer, 48), list[float]()

        def watch(event: Event) -> None:
            if isinstance(event, Step):
                losses.append(event.loss)
                if event.step == until:
                    raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            run(model, windows, settings, store=store, resume=resume, emit=watch)
        return model, losses

    whole, losses = train(CheckpointStore(tmp_path / "one"), 99)
    assert losses[-1] < 0.8 * losses[0]
    train(CheckpointStore(tmp_path / "two"), 11)
    again, _ = train(CheckpointStore(tmp_path / "two"), 99, resume=True)
    for (name, one), two in zip(whole.model.named_parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two), name
