"""The hand-written layers against transformers with PEFT: outputs and every LoRA gradient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.modeling import ArborForCausalLM
from neuralforge.models.base import BaseModel, causal
from neuralforge.tokens.batching import collate
from neuralforge.tokens.encoding import Encoded
from neuralforge.training import fused_llama
from neuralforge.training.attach import LoraSettings, attach
from neuralforge.training.checkpoint import trainable
from neuralforge.training.network import FusedNetwork, open_network

VOCABULARY = 97
WIDE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**WIDE, num_key_value_heads=2)),
    "llama, one head each": lambda: LlamaForCausalLM(LlamaConfig(**WIDE, num_key_value_heads=4)),
    "llama, tied, wide heads": lambda: LlamaForCausalLM(
        LlamaConfig(**WIDE, num_key_value_heads=1, head_dim=12, tie_word_embeddings=True)
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**WIDE, num_key_value_heads=2, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**WIDE, num_key_value_heads=2)),
    "arbor": lambda: ArborForCausalLM(ArborConfig(**WIDE, num_key_value_heads=2, intermediate_sizes=[40, 64, 48])),
}
ADAPTERS = {
    "all": LoraSettings(rank=4, alpha=8),
    "rank-stabilised": LoraSettings(rank=4, alpha=8, rslora=True),
    "upper layers": LoraSettings(rank=4, alpha=8, layers=2),
    "two modules": LoraSettings(rank=3, alpha=5, target_modules=("q_proj", "v_proj")),
    "feed-forward": LoraSettings(rank=3, alpha=5, target_modules=("up_proj", "down_proj")),
    "one module": LoraSettings(rank=2, alpha=1, target_modules=("o_proj",), layers=1),
    "scattered layers": LoraSettings(rank=2, alpha=4, layers=(0, 2)),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class _Tokenizer:
    pad_token_id, eos_token_id = 0, 1


def make(model: str, adapter: LoraSettings, kind: torch.dtype = torch.float64) -> BaseModel:
    torch.manual_seed(0)
    network: Any = MODELS[model]().to(kind).eval().requires_grad_(False)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
            else:  # norms of one and biases of nothing would hide mistakes
                parameter.add_(torch.randn_like(parameter) * (0.5 if name.endswith("bias") else 0.2))
    base = BaseModel(model, model, "sha256:0", network, _Tokenizer(), None, False)
    attach(base, adapter)
    for name, parameter in base.model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(kind)
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, 0, 0.2)
    return base


def sequences(seed: int, lengths: tuple[int, ...]) -> list[Encoded]:
    chooser = np.random.default_rng(seed)
    made = []
    for index, length in enumerate(lengths):
        loss = chooser.random(length) < 0.5
        loss[0], loss[-1] = False, True
        made.append(Encoded(chooser.integers(0, VOCABULARY, length, dtype=np.int32), loss, index, str(index)))
    return made


@dataclass(frozen=True)
class Learned:
    """A loss, its gradients by name, and the scores of each supervised token."""

    loss: float
    grads: dict[str, torch.Tensor]
    nll: torch.Tensor


def reference(base: BaseModel, encoded: list[Encoded]) -> Learned:
    """One sequence after the other through the library's own modules."""
    named = trainable(base.model)
    parts = []
    for one in encoded:
        ids = torch.from_numpy(one.ids.astype(np.int64))
        rows = np.flatnonzero(one.loss)
        logits = base.model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0]
        parts.append(functional.cross_entropy(logits[rows - 1], ids[rows], reduction="none"))
    nll = torch.cat(parts)
    grads = torch.autograd.grad(nll.sum(), list(named.values()))
    return Learned(float(nll.sum().detach()), dict(zip(named, grads, strict=True)), nll.detach())


def ours(base: BaseModel, encoded: list[Encoded], int8: bool = False) -> Learned:
    """All sequences packed."""
    network = open_network(base, int8)
    assert isinstance(network, FusedNetwork)
    batch = collate(encoded, range(len(encoded)))
    named = trainable(base.model)
    loss = network.loss(batch)
    grads = torch.autograd.grad(loss, list(named.values()))
    return Learned(float(loss.detach()), dict(zip(named, grads, strict=True)), network.scores(batch, adapt=True)[0])


def same(one: Learned, two: Learned, within: float) -> None:
    assert one.loss == pytest.approx(two.loss, rel=within)
    torch.testing.assert_close(one.nll, two.nll.to(one.nll.dtype), rtol=1e-4, atol=1e-5)  # scores are fp32
    assert one.grads.keys() == two.grads.keys()
    for name, grad in one.grads.items():
        scale = float(two.grads[name].abs().max()) + 1e-12
        torch.testing.assert_close(grad.double(), two.grads[name].double(), rtol=0, atol=within * scale, msg=name)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_loss_scores_and_all_gradients_are_the_librarys(model: str, adapter: str) -> None:
    """In fp64 LoRA gradients pass through fp32 on their way out: that is their precision here."""
    encoded = sequences(7, (5, 33, 2, 64))
    base = make(model, ADAPTERS[adapter])
    expected = reference(base, encoded)
    same(ours(base, encoded), expected, 1e-5)
    assert all(float(grad.abs().max()) > 0 for grad in expected.grads.values())


@pytest.mark.parametrize("block", [fused_llama.LENGTH_STEP, fused_llama.BLOCK])
@pytest.mark.parametrize("seed", range(6))
def test_packed_sequences_of_any_lengths_do_not_see_each_other(
    seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_llama, "BLOCK", block)
    chooser = np.random.default_rng(seed)
    lengths = tuple(int(length) for length in chooser.integers(2, WIDE["max_position_embeddings"], size=1 + seed))
    base = make("llama", ADAPTERS["all"])
    encoded = sequences(seed, lengths)
    same(ours(base, encoded), reference(base, encoded), 1e-5)


@pytest.mark.parametrize("model", ["llama", "qwen2"])
def test_in_fp32_the_difference_is_rounding(model: str) -> None:
    base = make(model, ADAPTERS["all"], torch.float32)
    encoded = sequences(3, (40, 17, 9))
    same(ours(base, encoded), reference(base, encoded), 1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("adapter", ["all", "upper layers", "feed-forward"])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_eight_bits_learn_nearly_the_same_and_are_never_judged_by(model: str, adapter: str, kind: torch.dtype) -> None:
    base = make(model, ADAPTERS[adapter], kind)
    encoded = sequences(3, (50, 21, 64))
    exact, rough = ours(base, encoded), ours(base, encoded, int8=True)
    assert rough.loss != exact.loss
    assert rough.loss == pytest.approx(exact.loss, rel=0.03)
    assert torch.equal(rough.nll, exact.nll)
    for name, grad in exact.grads.items():
        assert functional.cosine_similarity(grad.flatten(), rough.grads[name].flatten(), dim=0) > 0.97, name


@pytest.mark.parametrize("int8", [False, True], ids=["exact", "int8"])
@pytest.mark.parametrize("adapter", ["all", "upper layers", "two modules"])
def test_recomputing_changes_no_bit(adapter: str, int8: bool) -> None:
    base = make("llama", ADAPTERS[adapter], torch.float32)
    encoded = sequences(1, (40, 17, 9))
    kept = ours(base, encoded, int8)
    causal(base).gradient_checkpointing_enable({"use_reentrant": False})
    network = open_network(base)
    assert isinstance(network, FusedNetwork)
    assert all(layer.recompute for layer in network.layers)
    again = ours(base, encoded, int8)
    assert again.loss == kept.loss
    assert all(torch.equal(again.grads[name], grad) for name, grad in kept.grads.items())


@pytest.mark.parametrize("adapter", ["all", "upper layers"])
def test_with_the_adapter_off_it_is_the_base(adapter: str) -> None:
    base = make("llama", ADAPTERS[adapter])
    encoded = sequences(2, (12, 30))
    batch = collate(encoded, (0, 1))
    network = open_network(base)
    off, likely = network.scores(batch, adapt=False)
    with base.model.disable_adapter():
        plain = _plain(base, encoded)
    torch.testing.assert_close(off, plain[0].to(off.dtype), rtol=1e-5, atol=1e-5)
    assert torch.equal(likely, plain[1])
    on, _ = network.scores(batch, adapt=True)
    assert not torch.allclose(on, off)


def _plain(base: BaseModel, encoded: list[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    losses, likely = [], []
    with torch.no_grad():
        for one in encoded:
            ids = torch.from_numpy(one.ids.astype(np.int64))
            rows = np.flatnonzero(one.loss)
            logits = base.model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0][rows - 1]
            losses.append(functional.cross_entropy(logits, ids[rows], reduction="none"))
            likely.append(logits.argmax(1))
    return torch.cat(losses), torch.cat(likely)


def test_layers_below_the_adapter_are_shared() -> None:
    base = make("llama", ADAPTERS["upper layers"])
    network, batch = open_network(base), collate(sequences(2, (12, 30)), (0, 1))
    assert network.depth == 1
    below = network.frozen(batch)
    assert torch.equal(network.scores(batch, True, below)[0], network.scores(batch, True)[0])
    assert torch.equal(network.loss(batch, below), network.loss(batch))


def test_the_adapters_new_weights_count_after_a_refresh() -> None:
    base = make("llama", ADAPTERS["all"])
    encoded = sequences(2, (12, 30))
    network, batch = open_network(base), collate(encoded, (0, 1))
    before = float(network.loss(batch).detach())
    with torch.no_grad():
        for parameter in trainable(base.model).values():
            parameter.mul_(1.5)
    network.refresh()
    after = float(network.loss(batch).detach())
    assert after != before
    assert after == pytest.approx(reference(base, encoded).loss, rel=1e-6)


def test_grouping_weights_leaves_the_librarys_own_model_as_it_was() -> None:
    base = make("qwen2", ADAPTERS["all"])
    encoded = sequences(2, (12, 30))
    before = reference(base, encoded)
    open_network(base)
    open_network(base)
    after = reference(base, encoded)
    assert torch.equal(before.nll, after.nll)
