"""Arbor: a transformers model like any other, and growth that changes nothing it computes."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from neuralforge.data.records import Example
from neuralforge.errors import DataError
from neuralforge.models.arbor.configuration import ArborConfig
from neuralforge.models.arbor.growth import Part, YoungNeurons, grown_width, widen_state
from neuralforge.models.arbor.modeling import ArborForCausalLM
from neuralforge.models.arbor.to_llama import as_llama
from neuralforge.models.arbor.utilisation import effective_rank, utilisation
from neuralforge.models.base import BaseModel
from neuralforge.models.generation import context_length, generate
from neuralforge.models.loading import load_base_model
from neuralforge.tokens.tokenizer import train_tokenizer
from neuralforge.training.network import FusedNetwork, open_network
from neuralforge.training.trainer import LoRATrainer

SHAPE: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "trained_context": 64,
}


def make(seed: int = 0, **changes: Any) -> ArborForCausalLM:
    torch.manual_seed(seed)
    model: ArborForCausalLM = ArborForCausalLM(ArborConfig(**{**SHAPE, **changes}))
    return model.eval()


def tokens(count: int = 2, length: int = 20) -> torch.Tensor:
    return torch.randint(0, SHAPE["vocab_size"], (count, length), generator=torch.Generator().manual_seed(1))


def train(model: nn.Module, steps: int, optimiser: torch.optim.Optimizer | None = None) -> list[float]:
    optimiser = optimiser or torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(tokens(), labels=tokens()).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    model.eval()
    return losses


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        out: torch.Tensor = model(tokens()).logits
    return out


@pytest.mark.parametrize("tied", [True, False])
def test_with_one_width_it_is_llama(tied: bool) -> None:
    ours = make(tie_word_embeddings=tied)
    config = LlamaConfig(
        **{key: value for key, value in ours.config.to_dict().items() if key not in ("model_type", "architectures")}
    )
    theirs = LlamaForCausalLM(config).eval()
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=0, atol=0)
    assert ours.count_parameters() == sum(p.numel() for p in theirs.parameters())


@settings(deadline=None, max_examples=30)
@given(
    factor=st.floats(1.01, 4),
    layer=st.integers(0, 2),
    kind=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    tied=st.booleans(),
    act=st.sampled_from(["silu", "gelu"]),
    steps=st.integers(0, 3),
)
def test_growth_changes_nothing_that_is_computed(
    factor: float, layer: int, kind: torch.dtype, tied: bool, act: str, steps: int
) -> None:
    model = make(tie_word_embeddings=tied, activation_function=act).to(kind)
    train(model, steps)
    before, widths = logits(model), list(model.config.intermediate_sizes)
    event = model.expand_layer(layer, factor)
    within = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}[kind]
    torch.testing.assert_close(logits(model), before, rtol=within, atol=within)
    assert event.width_before == widths[layer]
    assert event.width_after == grown_width(widths[layer], factor) == model.config.intermediate_sizes[layer]
    assert event.parameters_after - event.parameters_before == 3 * 32 * (event.width_after - event.width_before)
    assert event.parameters_after == model.count_parameters()


def test_nothing_new_is_dead_or_a_copy() -> None:
    model = make()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    train(model, 5, optimiser)
    event = model.expand_layer(1, 2.0)
    widen_state(optimiser, event.parts)
    mlp = model.model.layers[1].mlp
    fresh = slice(event.width_before, None)
    start = {name: p.detach().clone() for name, p in mlp.named_parameters()}
    train(model, 5, optimiser)
    for name in ("gate_proj.weight", "up_proj.weight"):
        moved = (dict(mlp.named_parameters())[name] - start[name])[fresh]
        assert bool((moved.abs().sum(1) > 0).all())
    columns = mlp.down_proj.weight.detach().T[fresh]
    assert bool((columns.abs().sum(1) > 0).all())
    assert torch.pdist(mlp.gate_proj.weight.detach()).min() > 1e-2
    assert torch.linalg.matrix_rank(columns) > 8


def test_old_neurons_keep_their_moments() -> None:
    model = make()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    train(model, 4, optimiser)
    weight = model.model.layers[0].mlp.down_proj.weight
    moments = {name: value.clone() for name, value in optimiser.state[weight].items()}
    event = model.expand_layer(0, 2.0)
    widen_state(optimiser, event.parts)
    assert model.model.layers[0].mlp.down_proj.weight is weight
    for name in ("exp_avg", "exp_avg_sq"):
        now = optimiser.state[weight][name]
        assert now.shape == weight.shape
        assert torch.equal(now[:, :48], moments[name])
        assert not now[:, 48:].any()
    assert optimiser.state[weight]["step"] == moments["step"]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.99), (0.9, 0.95)])
@pytest.mark.parametrize("born", [1, 10, 28, 75, 1000])
def test_new_entries_step_as_under_a_fresh_adam(betas: tuple[float, float], born: int) -> None:
    """Two parameters, one old and one new, against one grown parameter that holds both."""
    torch.manual_seed(0)
    old, new = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(2, 3))
    grown = nn.Parameter(old.detach().clone())
    one = torch.optim.AdamW([grown], lr=1e-2, betas=betas, weight_decay=0)
    two = torch.optim.AdamW([old], lr=1e-2, betas=betas, weight_decay=0)
    three = torch.optim.AdamW([new], lr=1e-2, betas=betas, weight_decay=0)
    young = YoungNeurons(one)
    for step in range(born + 60):
        if step == born:
            part = Part(grown, 0, 4, 6)
            grown.data = torch.cat((grown.data, new.data))
            widen_state(one, [part])
            young.add([part])
        grad = torch.randn(6, 3)
        old.grad, grown.grad = grad[:4].clone(), grad[: len(grown)].clone()
        one.step()
        two.step()
        if step >= born:
            new.grad = grad[4:].clone()
            three.step()
    torch.testing.assert_close(grown.data, torch.cat((old.data, new.data)), rtol=0, atol=1e-4)


def test_the_rate_of_new_entries_warms_up() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0)
    young = YoungNeurons(optimiser, warmup=4)
    young.add([Part(parameter, 0, 2, 3)])
    steps = []
    for _ in range(6):
        before = parameter.detach().clone()
        parameter.grad = torch.ones(3)
        optimiser.step()
        steps.append((parameter.detach() - before)[1:].tolist())
    ratios = [fresh / known for known, fresh in steps]
    assert ratios == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1], abs=1e-3)


def test_growth_under_lora() -> None:
    model = make()
    train(model, 3)
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=4, target_modules=["gate_proj", "up_proj", "down_proj", "q_proj"])
    )
    train(adapted, 3)
    optimiser = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=3e-3)
    losses = train(adapted, 3, optimiser)
    before = logits(adapted)
    event = model.expand_layer(2, 1.5)
    widen_state(optimiser, event.parts)
    torch.testing.assert_close(logits(adapted), before, rtol=1e-5, atol=1e-5)
    assert train(adapted, 8, optimiser)[-1] < losses[-1]
    mlp: Any = model.model.layers[2].mlp
    assert bool(mlp.up_proj.lora_B["default"].weight.detach()[48:].abs().sum(1).gt(0).any()) or bool(
        mlp.down_proj.lora_A["default"].weight.detach()[:, 48:].abs().gt(0).any()
    )


def test_saved_and_loaded_through_transformers_own_doors(tmp_path: Path) -> None:
    model = make(growth_factor=1.5)
    model.expand_layer(0, 2.0)
    model.expand_layer(2)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    assert AutoConfig.from_pretrained(tmp_path).intermediate_sizes == [96, 48, 96]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(loaded, ArborForCausalLM)
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=0)


def test_it_generates_the_same_with_and_without_a_cache() -> None:
    model = make()
    model.expand_layer(1, 2.0)
    options: dict[str, Any] = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    one = model.generate(tokens(2, 9), use_cache=True, **options)
    two = model.generate(tokens(2, 9), use_cache=False, **options)
    assert torch.equal(one, two)
    assert one.shape == (2, 21)


def test_the_context_length_is_kept_and_positions_are_scaled_beyond_the_trained_one() -> None:
    model = make()
    assert model.config.context_length == 64
    with pytest.raises(ValueError, match="65 tokens do not fit into the context of 64"):
        model(tokens(1, 65))
    short = logits(model)
    model.set_context_length(256)
    assert model.config.rope_parameters["rope_type"] == "yarn"
    assert model(tokens(1, 256)).logits.shape == (1, 256, 61)
    assert not torch.equal(logits(model), short)
    model.set_context_length(32)
    torch.testing.assert_close(logits(model), short, rtol=0, atol=0)
    with pytest.raises(ValueError, match="from 1 to 256"):
        model.set_context_length(257)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"intermediate_sizes": [48, 48]}, "each of the 3 layers"),
        ({"intermediate_sizes": [48, 0, 48]}, "positive width"),
        ({"num_key_value_heads": 3}, "cannot share"),
        ({"dropout": 1.0}, "dropout"),
        ({"trained_context": 512}, "trained_context"),
        ({"mlp_bias": True}, "no biases"),
    ],
)
def test_shapes_that_cannot_be(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(Exception, match=match):
        ArborConfig(**{**SHAPE, **changes})


def test_wrong_growth_is_refused() -> None:
    model = make()
    for factor in (1.0, 0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="above 1"):
            model.expand_layer(0, factor)
    for layer in (-1, 3):
        with pytest.raises(ValueError, match="There is no layer"):
            model.expand_layer(layer)


def test_dropout_falls_only_in_training() -> None:
    model = make(dropout=0.3)
    torch.testing.assert_close(logits(model), logits(model), rtol=0, atol=0)
    model.train()
    assert not torch.equal(logits(model), logits(model))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("act", ["silu", "gelu"])
def test_as_llama_it_computes_the_same_without_neuralforge(tmp_path: Path, tied: bool, act: str) -> None:
    model = make(tie_word_embeddings=tied, activation_function=act)
    train(model, 3)
    model.expand_layer(0, 2.0)
    model.expand_layer(2, 3.0)
    train(model, 3)
    as_llama(model, 64).save_pretrained(tmp_path)
    assert '"model_type": "llama"' in (tmp_path / "config.json").read_text()
    loaded = LlamaForCausalLM.from_pretrained(tmp_path).eval()
    assert loaded.config.intermediate_size == 192
    torch.testing.assert_close(logits(loaded), logits(model), rtol=1e-5, atol=1e-5)


def test_utilisation_finds_what_is_planted() -> None:
    model = make(intermediate_size=64)
    with torch.no_grad():
        mlp: Any = model.model.layers[1].mlp
        mlp.up_proj.weight[:16] = 0  # a quarter of the neurons never speaks
        mlp = model.model.layers[2].mlp
        mlp.up_proj.weight[:] = mlp.up_proj.weight[:1]  # and here all say the same
        mlp.gate_proj.weight[:] = mlp.gate_proj.weight[:1]
    figures = utilisation(model, tokens(8, 60))
    assert [one.width for one in figures] == [64, 64, 64]
    assert figures[0].dormant < 0.05
    assert figures[1].dormant == pytest.approx(0.25, abs=0.05)
    assert figures[2].effective_rank == pytest.approx(1 / 64, rel=0.01)
    assert figures[0].effective_rank > 10 * figures[2].effective_rank


def test_utilisation_leaves_the_model_as_it_was_and_ignores_filling() -> None:
    model = make(dropout=0.5).train()
    model.model.layers[1].eval()
    mask = torch.ones(2, 20, dtype=torch.long)
    mask[:, 12:] = 0
    one = utilisation(model, tokens(), mask)
    changed = tokens()
    changed[:, 12:] = 3
    assert utilisation(model, changed, mask) == one
    assert [layer.training for layer in model.model.layers] == [True, False, True]
    assert not model.model.layers[0].mlp.down_proj._forward_pre_hooks


@pytest.mark.parametrize(("rank", "shape"), [(1, (50, 20)), (5, (50, 20)), (20, (400, 20)), (5, (20, 50))])
def test_effective_rank_of_known_matrices(rank: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    wide, _ = torch.linalg.qr(torch.randn(shape[0], rank, dtype=torch.float64))
    tall, _ = torch.linalg.qr(torch.randn(shape[1], rank, dtype=torch.float64))
    wide = wide - wide.mean(0)
    wide, _ = torch.linalg.qr(wide)
    assert effective_rank(wide @ tall.T) == pytest.approx(rank / min(shape[0] - 1, shape[1]), rel=0.02)
    assert effective_rank(torch.ones(4, 3)) == 0


def test_a_saved_arbor_is_a_base_for_adapters(tmp_path: Path) -> None:
    texts = [f"def f{number}(first):\n    return first + {number}\n" for number in range(30)]
    tokenizer = train_tokenizer(texts, vocab_size=300)
    model = make(vocab_size=300)
    model.expand_layer(1, 2.0)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    base = load_base_model(str(tmp_path / "base"), dtype="fp32")
    assert base.fim is not None
    assert isinstance(base.model, ArborForCausalLM)
    trainer = LoRATrainer(base, rank=2, max_length=64, epochs=2, batch_size=4, learning_rate=1e-2)
    assert isinstance(open_network(base), FusedNetwork)
    examples = [Example(text[: text.index("\n") + 1], text[text.index("\n") + 1 :]) for text in texts]
    losses = [loss for _, loss in trainer.train(examples).losses]
    assert losses[-1] < losses[0]


def test_growth_while_an_earlier_loss_is_held_is_refused_and_changes_nothing() -> None:
    model = make()
    loss = model(tokens(), labels=tokens()).loss
    before = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    with pytest.raises(ValueError, match="del loss"):
        model.expand_layer(0)
    assert {name: tuple(parameter.shape) for name, parameter in model.named_parameters()} == before
    loss.backward()
    del loss
    model.expand_layer(0)
    model(tokens(), labels=tokens()).loss.backward()


def test_adapters_that_cannot_grow_are_refused_before_anything_changes() -> None:
    model = make()
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["gate_proj", "down_proj"], use_dora=True))
    before = logits(model)
    with pytest.raises(ValueError, match="DoRA"):
        model.expand_layer(0)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=0)
    with pytest.raises(ValueError, match="merge them first"):
        as_llama(model)


def test_a_young_parameter_without_a_gradient_waits() -> None:
    model = make()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    young = YoungNeurons(optimiser)
    train(model, 2, optimiser)
    model(tokens(), labels=tokens()).loss.backward()
    event = model.expand_layer(0)
    widen_state(optimiser, event.parts)
    young.add(event.parts)
    young.add([Part(nn.Parameter(torch.zeros(2)), 0, 0, 1)])
    optimiser.step()
    assert [one.age for one in young.young] == [0, 0, 0]
    optimiser.zero_grad()
    train(model, 2, optimiser)
    assert [one.age for one in young.young] == [2, 2, 2]


def test_it_generates_as_its_plain_llama_does_with_filling_on_the_left() -> None:
    """transformers finds out from the signature that it may infer the mask, and asks for the last logits alone."""
    model = make(pad_token_id=0, eos_token_id=1, bos_token_id=1)
    ids = tokens(2, 9)
    ids[0, :4] = 0
    options: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    assert torch.equal(model.generate(ids, **options), as_llama(model).generate(ids, **options))
    rows: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].shape[1]))
    generate(BaseModel("a", "a", "d", model, _Ends(), None, False), [[5] * 20], max_new_tokens=2)
    assert max(rows) == 1


class _Ends:
    eos_token_id = pad_token_id = 0


def test_a_prompt_beyond_the_context_is_a_clear_error() -> None:
    base = BaseModel("arbor", "arbor", "d", make(), _Ends(), None, False)
    assert context_length(base) == 64
    with pytest.raises(DataError, match="64"):
        generate(base, [[5] * 70], max_new_tokens=2)


def test_a_context_in_the_configuration_scales_positions_too() -> None:
    config = ArborConfig(**SHAPE, context_length=256)
    assert config.rope_parameters["rope_type"] == "yarn"
    assert config.rope_parameters["factor"] == 4
    with pytest.raises(ValueError, match="from 1 to 256"):
        ArborConfig(**SHAPE, context_length=257)
    with pytest.raises(ValueError, match="YaRN alone"):
        ArborConfig(**SHAPE, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4})
