"""Which network is chosen for which model, and what the generic one computes."""

from typing import Any

import numpy as np
import pytest
import torch

from neuralforge.data.records import Example
from neuralforge.models.base import BaseModel
from neuralforge.tokens.batching import collate
from neuralforge.tokens.encoding import Encoded, encode
from neuralforge.training.attach import LoraSettings, attach
from neuralforge.training.checkpoint import trainable
from neuralforge.training.network import FusedNetwork, GenericNetwork, open_network
from neuralforge.training.scoring import score, score_pair
from tests.tiny import ARCHITECTURES, tiny_base

EXAMPLES = [
    Example(f"def f{n}(a):\n    ", f"return a + {n}\n" * (1 + n % 3), suffix="print(f)\n", kind="hunk")
    for n in range(7)
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def adapted(architecture: str, **settings: Any) -> BaseModel:
    base = tiny_base(architecture)
    attach(base, LoraSettings(rank=4, alpha=8, **settings))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in base.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    base.model.eval()
    return base


@pytest.mark.parametrize(
    ("architecture", "settings", "fused"),
    [
        ("llama", {}, True),
        ("qwen2", {}, True),
        ("llama", {"rslora": True}, True),
        ("llama", {"layers": 1, "target_modules": ("q_proj",)}, True),
        ("llama", {"dropout": 0.1}, False),
        ("llama", {"dora": True}, False),
        ("llama", {"target_modules": ("q_proj", "lm_head")}, False),
        ("gpt2", {}, False),
        ("t5", {}, False),
    ],
)
def test_the_fused_network_is_chosen_where_it_computes_the_same(
    architecture: str, settings: dict[str, Any], fused: bool
) -> None:
    assert isinstance(open_network(adapted(architecture, **settings)), FusedNetwork if fused else GenericNetwork)


@pytest.mark.parametrize(
    "change", [{"hidden_act": "gelu"}, {"mlp_bias": True}, {"attention_bias": True}, {"sliding_window": 64}]
)
def test_shapes_that_are_not_written_out_go_the_generic_way(change: dict[str, Any]) -> None:
    base = tiny_base("llama")
    for name, value in change.items():
        setattr(base.model.config, name, value)
    assert isinstance(open_network(base), GenericNetwork)


def librarys(base: BaseModel, one: Encoded) -> torch.Tensor:
    """The summed loss of one sequence as the library itself computes it from labels."""
    ids = torch.from_numpy(one.ids.astype(np.int64))
    labels = torch.where(torch.from_numpy(one.loss), ids, torch.full_like(ids, -100))
    if base.encoder_decoder:
        inputs = {"input_ids": ids[None, : one.source], "labels": labels[None, one.source :]}
    else:
        inputs = {"input_ids": ids[None], "labels": labels[None]}
    loss: torch.Tensor = base.model(**inputs).loss
    return loss * one.supervised


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        *((architecture, {}) for architecture in ARCHITECTURES),
        ("llama", {"dora": True}),
        ("llama", {"target_modules": ("q_proj", "lm_head")}),
        ("gpt2", {"rslora": True}),
    ],
)
def test_loss_and_gradients_are_those_of_the_librarys_own_loss(architecture: str, settings: dict[str, Any]) -> None:
    base = adapted(architecture, **settings)
    encoded = encode(EXAMPLES, base, max_length=96)
    named = trainable(base.model)
    expected = sum((librarys(base, one) for one in encoded), start=torch.zeros(()))
    wanted = torch.autograd.grad(expected, list(named.values()))
    network = GenericNetwork(base)
    loss = network.loss(collate(encoded, range(len(encoded))))
    found = torch.autograd.grad(loss, list(named.values()))
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    for name, one, two in zip(named, found, wanted, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3 * float(two.abs().max()) + 1e-6, msg=name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_in_order_and_add_up_to_the_loss(architecture: str) -> None:
    base = adapted(architecture)
    encoded = encode(EXAMPLES, base, max_length=96)
    scored = score(base, encoded)
    assert [one.example for one in scored] == list(range(len(EXAMPLES)))
    for one, source in zip(scored, encoded, strict=True):
        assert len(one.nll) == len(one.correct) == len(one.predicted) == source.supervised
        with torch.no_grad():
            assert float(one.nll.sum()) == pytest.approx(float(librarys(base, source)), rel=1e-4)
        assert (one.correct == (one.predicted == source.ids[source.loss])).all()


@pytest.mark.parametrize(("architecture", "layers"), [("llama", "all"), ("llama", 1), ("gpt2", "all"), ("t5", "all")])
def test_a_pair_is_the_base_and_the_adapted_model(architecture: str, layers: str | int) -> None:
    base = adapted(architecture, layers=layers)
    plain = tiny_base(architecture)
    encoded = encode(EXAMPLES, base, max_length=96)
    off, on = score_pair(base, encoded)
    for one, alone in zip(off, score(plain, encoded), strict=True):
        np.testing.assert_allclose(one.nll, alone.nll, rtol=1e-4, atol=1e-4)
    for one, alone in zip(on, score(base, encoded), strict=True):
        np.testing.assert_allclose(one.nll, alone.nll, rtol=1e-4, atol=1e-4)
    assert any(not np.allclose(a.nll, b.nll) for a, b in zip(off, on, strict=True))
