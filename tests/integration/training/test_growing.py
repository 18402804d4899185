"""Growth inside the one loop: when, how far, without a jump, and the same bits after a kill."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from neuralforge.errors import RunError, UserError
from neuralforge.models.base import BaseModel, causal
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.events import Event, Grown, Step
from neuralforge.tokens.shards import Windows, write_corpus
from neuralforge.tokens.tokenizer import train_tokenizer
from neuralforge.training import growing
from neuralforge.training.attach import LoraSettings, attach
from neuralforge.training.growing import Grower, GrowthSettings
from neuralforge.training.loop import LoopResult, LoopSettings, run
from neuralforge.training.schedule import ConstantScheduler
from tests.tiny import tiny_arbor, tiny_base

TEXTS = [f"def f{number}(first):\n    return first + {number}\n" for number in range(60)]
# Full at every look but the first: nothing has to be in use, to have stopped spreading, or to have slowed down.
ALWAYS = GrowthSettings(factor=1.5, most=3.0, threshold=0.0, monitor_frequency=3, plateau=9.0, warmup=4)
SETTINGS = LoopSettings(steps=14, scheduler=ConstantScheduler(3e-3, 2, 14), batch_size=4, checkpoint_every=0)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(TEXTS, vocab_size=300)


@pytest.fixture(scope="module")
def windows(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Windows:
    return Windows(write_corpus(TEXTS, tokenizer, tmp_path_factory.mktemp("corpus"), validation=0), 32)


@pytest.fixture(autouse=True)
def _rank_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(growing, "RISING", 9.0)


def base(tokenizer: Any, lora: bool = False) -> BaseModel:
    made = tiny_arbor(tokenizer, 32, tied=False)
    if lora:
        made.model.requires_grad_(False)
        attach(made, LoraSettings(rank=4, alpha=8))
    return made


def train(
    windows: Windows,
    tokenizer: Any,
    growth: GrowthSettings | None = ALWAYS,
    *,
    store: CheckpointStore | None = None,
    until: int = 0,
    lora: bool = False,
    resume: bool = False,
    **changes: Any,
) -> tuple[BaseModel, list[Event], LoopResult | None]:
    model, seen, result = base(tokenizer, lora), list[Event](), None

    def watch(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Step) and event.step == until:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        validation = changes.pop("validation", ())
        settings = replace(SETTINGS, growth=growth, **changes)
        result = run(model, windows, settings, store=store, resume=resume, validation=validation, emit=watch)
    return model, seen, result


def widths(model: BaseModel) -> list[int]:
    sizes: list[int] = causal(model).config.intermediate_sizes
    return sizes


@pytest.mark.parametrize("lora", [False, True])
def test_full_layers_widen_step_by_step_and_stop_at_the_most(windows: Windows, tokenizer: Any, lora: bool) -> None:
    model, seen, _ = train(windows, tokenizer, lora=lora, steps=30)
    grown = [event for event in seen if isinstance(event, Grown)]
    assert widths(model) == [96, 96]
    assert {event.layer for event in grown} == {0, 1}
    assert [event.width_after for event in grown if event.layer == 0] == [64, 96]
    assert grown[0].parameters_after > grown[0].parameters_before
    assert not any(event.step % 3 for event in grown)
    again = {name: tuple(value.shape) for name, value in causal(model).named_parameters()}
    assert any(96 in shape for shape in again.values())


def test_growing_disturbs_nothing_that_was_learned(windows: Windows, tokenizer: Any) -> None:
    """The step right after a growth has the loss of a run that did not grow: the function is the same."""
    _, plain, _ = train(windows, tokenizer, None)
    _, grown, _ = train(windows, tokenizer)
    first = next(event.step for event in grown if isinstance(event, Grown))
    losses = [{event.step: event.loss for event in seen if isinstance(event, Step)} for seen in (plain, grown)]
    for step in range(1, first + 2):
        assert losses[1][step] == pytest.approx(losses[0][step], rel=1e-5)
    assert losses[1][14] != losses[0][14]


@pytest.mark.parametrize("until", [2, 6, 7, 10, 13])
@pytest.mark.parametrize("lora", [False, True])
def test_killed_before_between_and_after_growths_it_ends_with_the_same_bits(
    windows: Windows, tokenizer: Any, tmp_path: Path, until: int, lora: bool
) -> None:
    whole, seen, _ = train(windows, tokenizer, store=CheckpointStore(tmp_path / "one"), lora=lora)
    assert any(isinstance(event, Grown) for event in seen)
    train(windows, tokenizer, store=CheckpointStore(tmp_path / "two"), until=until, lora=lora)
    torn, _, _ = train(windows, tokenizer, store=CheckpointStore(tmp_path / "two"), resume=True, lora=lora)
    assert widths(torn) == widths(whole)
    for (name, one), two in zip(whole.model.named_parameters(), torn.model.parameters(), strict=True):
        assert torch.equal(one, two), name


@pytest.mark.parametrize("kept", [True, False], ids=["with a store", "in memory"])
def test_the_best_weights_come_back_with_the_widths_they_had(
    windows: Windows, tokenizer: Any, tmp_path: Path, kept: bool
) -> None:
    """A rate far too high: validation is best at the first look, before anything grew."""
    store = CheckpointStore(tmp_path) if kept else None
    model, seen, result = train(
        windows,
        tokenizer,
        store=store,
        validation=windows[:4],
        eval_every=2,
        scheduler=ConstantScheduler(1.0, 1, 14),
    )
    assert result is not None
    assert any(isinstance(event, Grown) for event in seen)
    assert result.state.best_step < next(event.step for event in seen if isinstance(event, Grown))
    assert widths(model) == [32, 32]
    model.model(torch.zeros(1, 8, dtype=torch.long))


@pytest.mark.parametrize(
    "change",
    [{"threshold": 1.01}, {"plateau": -9.0}, {"most": 1.0}, {"monitor_frequency": 100}],
    ids=str,
)
def test_a_layer_that_is_not_full_stays_as_it_is(windows: Windows, tokenizer: Any, change: dict[str, Any]) -> None:
    model, seen, _ = train(windows, tokenizer, replace(ALWAYS, **change))
    assert widths(model) == [32, 32]
    assert not any(isinstance(event, Grown) for event in seen)


def test_a_layer_whose_activations_still_spread_stays_as_it_is(
    windows: Windows, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "RISING", -9.0)
    assert widths(train(windows, tokenizer)[0]) == [32, 32]


def test_other_models_cannot_grow(windows: Windows) -> None:
    llama = tiny_base("llama")
    optimiser = torch.optim.AdamW(llama.model.parameters())
    with pytest.raises(UserError, match="cannot grow"):
        Grower(llama, optimiser, ALWAYS, windows)


def test_a_state_of_another_model_is_refused(windows: Windows, tokenizer: Any) -> None:
    model = base(tokenizer)
    grower = Grower(model, torch.optim.AdamW(model.model.parameters()), ALWAYS, windows)
    with pytest.raises(RunError):
        grower.restore({**grower.to_json(), "first": [32]})
    with pytest.raises(RunError):
        grower.restore({})
