"""The training loop: the same bits however it was stopped, no dead setting, and it learns."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from neuralforge.data.records import Example
from neuralforge.errors import Interrupted, RunError
from neuralforge.models.base import BaseModel
from neuralforge.runs.checkpoints import Checkpoint, CheckpointStore
from neuralforge.runs.events import Evaluated, Event, Note, Step
from neuralforge.tokens.batching import collate
from neuralforge.tokens.encoding import Encoded, encode
from neuralforge.training import lanes as lanes_module
from neuralforge.training import loop, vocabulary
from neuralforge.training.attach import LoraSettings, attach
from neuralforge.training.checkpoint import ADAPTER, STATE, trainable
from neuralforge.training.loop import LoopResult, LoopSettings, rounds_from, run, steps_per_epoch
from neuralforge.training.network import open_network
from neuralforge.training.schedule import ConstantScheduler, CosineScheduler
from neuralforge.training.scoring import score
from tests.tiny import ARCHITECTURES, tiny_base

EXAMPLES = [
    Example(f"def f{n}(a):\n    ", f"return a + {n}\n" * (1 + n % 4), kind="hunk", commit=f"c{n}") for n in range(14)
]
SETTINGS = LoopSettings(
    steps=9, scheduler=CosineScheduler(5e-3, 2, 9), batch_size=4, micro_tokens=80, checkpoint_every=0.0, fingerprint="f"
)
# Rounds of three steps, computed as on a machine with fast 8-bit products.
ROUNDS = replace(SETTINGS, steps=11, batch_size=1, parallel_steps=3, int8=True, sampled_softmax=True)


class Killed(Exception):
    """What a test throws where a process would be killed."""


class Sparse(CheckpointStore):
    """Saves at every third step only, so that a kill loses steps that are then done again."""

    def save(self, step: int, files: Any, *, best: bool = False) -> Path:
        return super().save(step, files, best=best) if step % 3 == 0 or best else self.folder


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(lanes_module, "cores", lambda: 1)
    monkeypatch.setattr(vocabulary, "SAMPLES", 64)  # the vocabularies here are small


def fresh(architecture: str = "llama", **lora: Any) -> BaseModel:
    base = tiny_base(architecture)
    attach(base, LoraSettings(rank=4, alpha=8, **lora))
    return base


def encoded(architecture: str = "llama") -> list[Encoded]:
    return encode(EXAMPLES, tiny_base(architecture), max_length=96)


def weights(base: BaseModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainable(base.model).items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def newest(store: CheckpointStore) -> Checkpoint:
    found = store.latest()
    assert found is not None
    return found


def bits(store: CheckpointStore) -> list[bytes]:
    last = newest(store)
    return [last.read(name) for name in sorted(last.sizes) if name != STATE]


def killer(step: int) -> Callable[[Event], None]:
    def emit(event: Event) -> None:
        if isinstance(event, Step) and event.step == step:
            raise Killed

    return emit


def trained(architecture: str = "llama", settings: LoopSettings = SETTINGS, **options: Any) -> BaseModel:
    base = fresh(architecture)
    run(base, encoded(architecture), settings, **options)
    return base


@pytest.mark.parametrize("stops", [(1,), (4,), (9,), (2, 3, 7), (5, 5, 8)])
@pytest.mark.parametrize("kind", [CheckpointStore, Sparse])
@pytest.mark.parametrize("settings", [SETTINGS, ROUNDS], ids=["steps", "rounds"])
def test_killed_and_resumed_it_ends_with_the_same_bits(
    stops: tuple[int, ...], kind: type[CheckpointStore], settings: LoopSettings, tmp_path: Path
) -> None:
    whole, torn = kind(tmp_path / "whole"), kind(tmp_path / "torn")
    expected = weights(trained(settings=settings, store=whole))
    for stop in stops:
        with pytest.raises(Killed):
            trained(settings=settings, store=torn, resume=True, emit=killer(stop))
    assert same(weights(trained(settings=settings, store=torn, resume=True)), expected)
    assert bits(torn) == bits(whole)


@pytest.mark.parametrize("architecture", ["gpt2", "t5"])
def test_models_with_dropout_of_their_own_resume_with_the_same_bits(architecture: str, tmp_path: Path) -> None:
    whole, torn = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "torn")
    rows = encoded(architecture)
    run(fresh(architecture), rows, SETTINGS, store=whole)
    with pytest.raises(Killed):
        run(fresh(architecture), rows, SETTINGS, store=torn, emit=killer(6))
    base = fresh(architecture)
    torch.manual_seed(77)
    run(base, rows, SETTINGS, store=torn, resume=True)
    assert bits(torn) == bits(whole)


def test_a_run_depends_on_its_seed_and_not_on_what_was_random_before() -> None:
    """GPT-2 brings dropout of its own, which draws from the process's generator."""

    def after(noise: int, seed: int) -> dict[str, torch.Tensor]:
        base, rows = fresh("gpt2"), encoded("gpt2")
        torch.manual_seed(noise)
        run(base, rows, replace(SETTINGS, seed=seed))
        return weights(base)

    assert same(after(5, 0), after(5, 0))
    assert same(after(5, 0), after(6, 0))
    assert not same(after(5, 0), after(5, 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_goes_on_with_the_same_bits(number: signal.Signals, tmp_path: Path) -> None:
    settings = replace(SETTINGS, checkpoint_every=1e9)
    whole, torn = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "torn")
    trained(settings=settings, store=whole)

    def emit(event: Event) -> None:
        if isinstance(event, Step) and event.step == 4:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="step 4 of 9"):
        trained(settings=settings, store=torn, emit=emit)
    assert signal.getsignal(number) is before
    assert newest(torn).step == 4
    trained(settings=settings, store=torn, resume=True)
    assert bits(torn) == bits(whole)


@pytest.mark.parametrize("lanes", [2, 3])
@pytest.mark.parametrize("settings", [SETTINGS, ROUNDS], ids=["steps", "rounds"])
def test_lanes_change_no_bit(lanes: int, settings: LoopSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    one = weights(trained(settings=settings))
    monkeypatch.setattr(lanes_module, "cores", lambda: lanes)
    assert same(weights(trained(settings=settings)), one)


def test_the_steps_of_a_round_learn_from_the_same_weights_and_are_applied_in_turn() -> None:
    """By hand, with the plain AdamW; the loop's own is fused."""
    rows = encoded()
    settings = replace(SETTINGS, steps=2, batch_size=1, parallel_steps=2, max_grad_norm=0)
    by_hand, (steps,) = fresh(), [next(rounds_from(rows, settings, 0))]
    named = trainable(by_hand.model)
    network = open_network(by_hand)
    optimiser = torch.optim.AdamW(list(named.values()), weight_decay=0.0, foreach=False)
    gradients = []
    for ((index,),) in steps:
        loss = network.loss(collate(rows, [index])) / rows[index].supervised
        gradients.append(torch.autograd.grad(loss, list(named.values())))
    for number, found in enumerate(gradients):
        for parameter, grad in zip(named.values(), found, strict=True):
            parameter.grad = grad
        optimiser.param_groups[0]["lr"] = settings.scheduler.stretched(2).rate(number)
        optimiser.step()
    ours = trained(settings=settings)
    for name, value in weights(ours).items():
        torch.testing.assert_close(value, named[name].detach(), rtol=1e-5, atol=1e-7)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_goes_on(tmp_path: Path) -> None:
    whole, torn = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "torn")
    trained(store=whole)
    with pytest.raises(Killed):
        trained(store=torn, emit=killer(6))
    broken = newest(torn)
    assert broken.step == 5
    content = bytearray(broken.read(ADAPTER))
    content[-1] ^= 1
    broken.file(ADAPTER).write_bytes(content)
    seen: list[Event] = []
    trained(store=torn, resume=True, emit=seen.append)
    assert next(event.step for event in seen if isinstance(event, Step)) == 5
    assert list((tmp_path / "torn").glob("corrupt-*"))
    assert bits(torn) == bits(whole)


def test_a_finished_run_resumed_does_nothing_more(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    expected = weights(trained(store=store))
    seen: list[Event] = []
    assert same(weights(trained(store=store, resume=True, emit=seen.append)), expected)
    assert not [event for event in seen if isinstance(event, Step)]


def test_a_checkpoint_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    trained(store=store)
    with pytest.raises(RunError, match="belongs to other data"):
        trained(settings=replace(SETTINGS, fingerprint="other"), store=store, resume=True)


def test_changed_pace_changes_the_plan_and_is_kept_over_a_kill(tmp_path: Path) -> None:
    def pace(step: int, total: int) -> int:
        return 6 if step == 2 else total

    whole, torn = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "torn")
    trained(store=whole, pace=pace)
    assert newest(whole).step == 6
    with pytest.raises(Killed):
        trained(store=torn, pace=pace, emit=killer(4))
    trained(store=torn, resume=True, pace=pace)
    assert bits(torn) == bits(whole)


@pytest.mark.parametrize("kill", [3, 5])
def test_a_pace_is_in_the_checkpoint_of_the_same_step(tmp_path: Path, kill: int) -> None:
    """Validation saves at step 2, where the pace decides; killed before the next save, the decision holds."""

    def pace(step: int, total: int) -> int:
        return 6 if step == 2 else total

    def go(store: CheckpointStore, **options: Any) -> None:
        settings = replace(SETTINGS, eval_every=2, checkpoint_every=1e9)
        run(fresh(), encoded(), settings, validation=encoded()[:4], store=store, **options)

    whole, torn = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "torn")
    go(whole, pace=pace)
    assert newest(whole).step == 6
    with pytest.raises(Killed):
        go(torn, pace=pace, emit=killer(kill))
    go(torn, resume=True)
    assert bits(torn) == bits(whole)


def test_a_plan_is_not_stretched_once_its_last_round_was_cut_short() -> None:
    asked: list[int] = []

    def pace(step: int, total: int) -> int:
        asked.append(step)
        return total if step < total else total + 4

    settings = replace(SETTINGS, steps=5, batch_size=1, parallel_steps=2)
    result = run(fresh(), encoded(), settings, pace=pace)
    assert asked == [2, 4]
    assert result.state.step == 5


def test_asked_to_stop_in_the_last_step_it_stops_all_the_same(tmp_path: Path) -> None:
    def emit(event: Event) -> None:
        if isinstance(event, Step) and event.step == 9:
            os.kill(os.getpid(), signal.SIGINT)

    store = CheckpointStore(tmp_path)
    with pytest.raises(Interrupted, match="step 9 of 9"):
        trained(store=store, emit=emit)
    assert newest(store).step == 9
    seen: list[Event] = []
    trained(store=store, resume=True, emit=seen.append)
    assert not [event for event in seen if isinstance(event, Step)]


def test_no_checkpoint_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(CheckpointStore, "save", lambda self, step, *_, **__: saved.append(step))
    settings = replace(SETTINGS, eval_every=3, checkpoint_every=1e9)
    run(fresh(), encoded(), settings, validation=encoded()[:4], store=CheckpointStore(tmp_path))
    assert sorted(set(saved)) == saved
    assert saved[-1] == 9


def validated(
    store: CheckpointStore | None, *, steps: int = 40, patience: int = 2, rate: float = 0.3, **options: Any
) -> tuple[BaseModel, LoopResult, list[Event]]:
    """A run whose rate is far too high after good first steps, validated on what it does not train on."""
    base, rows, seen = fresh(), encoded(), []
    settings = LoopSettings(
        steps=steps,
        scheduler=ConstantScheduler(rate, 12, steps),
        batch_size=4,
        eval_every=2,
        patience=patience,
        checkpoint_every=1e9,
    )
    emit = options.pop("emit", seen.append)
    result = run(base, rows[:8], settings, validation=rows[8:], store=store, emit=emit, **options)
    return base, result, seen


def mean(base: BaseModel) -> float:
    scored = score(base, encoded()[8:])
    return float(sum(one.nll.sum() for one in scored) / sum(len(one.nll) for one in scored))


@pytest.mark.parametrize("kept", [True, False], ids=["with a store", "in memory"])
def test_early_stopping_ends_with_the_best_weights(kept: bool, tmp_path: Path) -> None:
    base, result, seen = validated(CheckpointStore(tmp_path) if kept else None)
    losses = {event.step: event.loss for event in seen if isinstance(event, Evaluated)}
    assert result.stopped_early
    assert result.state.step < 40
    best = min(losses, key=lambda step: losses[step])
    assert best < max(losses)
    assert result.state.best_step == best
    assert [event.best for event in seen if isinstance(event, Evaluated)][-2:] == [False, False]
    assert mean(base) == pytest.approx(losses[best], rel=1e-5)


def test_validation_is_without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    measured = loop.mean_loss

    def watched(network: Any, *rest: Any) -> float:
        modes.append(any(module.training for module in base.model.modules()))
        return measured(network, *rest)

    monkeypatch.setattr(loop, "mean_loss", watched)
    base, rows = fresh(), encoded()
    settings = LoopSettings(steps=4, scheduler=ConstantScheduler(0.01, 0, 4), batch_size=4, eval_every=2)
    run(base, rows[:8], settings, validation=rows[8:])
    assert modes == [False, False]


def test_without_patience_it_goes_on_to_the_end() -> None:
    _, result, _ = validated(None, steps=24, patience=0)
    assert not result.stopped_early
    assert result.state.step == 24


@pytest.mark.parametrize("stop", [1, 3, 4, 5])
def test_validated_runs_resume_with_the_same_bits(stop: int, tmp_path: Path) -> None:
    whole, torn = CheckpointStore(tmp_path / "whole"), CheckpointStore(tmp_path / "torn")
    one, first, _ = validated(whole)
    with pytest.raises(Killed):
        validated(torn, emit=killer(stop))
    two, second, _ = validated(torn, resume=True)
    assert same(weights(one), weights(two))
    assert (first.state.step, first.state.best_step) == (second.state.step, second.state.best_step)


def test_a_run_that_stopped_early_stays_stopped_when_it_is_resumed(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    one, first, _ = validated(store)
    two, second, seen = validated(store, resume=True)
    assert not [event for event in seen if isinstance(event, Step)]
    assert second.stopped_early
    assert second.state.step == first.state.step
    assert same(weights(one), weights(two))


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    store, base, rows = CheckpointStore(tmp_path), fresh(), encoded()

    def poison(event: Event) -> None:
        if isinstance(event, Step) and event.step == 3:
            with torch.no_grad():
                next(iter(trainable(base.model).values())).fill_(float("nan"))

    settings = replace(SETTINGS, checkpoint_every=1e9)
    run(base, rows, replace(settings, steps=2), store=store)
    before = bits(store)
    with pytest.raises(RunError, match="stopped being a finite number at step"):
        run(base, rows, replace(settings, steps=9), store=store, emit=poison)
    assert bits(store) == before


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_sixteen_bits_learn_too(precision: torch.dtype) -> None:
    base = fresh()
    for parameter in base.model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(precision)
    result = run(base, encoded(), replace(SETTINGS, steps=20, scheduler=ConstantScheduler(1e-2)))
    losses = [loss for _, loss in result.losses]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert all(parameter.dtype == torch.float32 for parameter in trainable(base.model).values())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_can_be_memorised_is_learned(architecture: str) -> None:
    base, rows = fresh(architecture), encoded(architecture)
    before = score(base, rows)
    settings = LoopSettings(steps=60, scheduler=ConstantScheduler(2e-2), batch_size=7)
    run(base, rows, settings)
    after = score(base, rows)
    assert sum(one.nll.sum() for one in after) < 0.65 * sum(one.nll.sum() for one in before)


@pytest.mark.parametrize(
    "change",
    [
        {"scheduler": CosineScheduler(1e-3, 2, 9)},
        {"scheduler": CosineScheduler(5e-3, 4, 9)},
        {"scheduler": ConstantScheduler(5e-3, 2, 9)},
        {"weight_decay": 0.5},
        {"max_grad_norm": 0.1},
        {"loraplus_lr_ratio": 4.0},
        {"batch_size": 3},
        {"accumulation": 2},
        {"parallel_steps": 2},
        {"int8": True},
        {"sampled_softmax": True},
        {"seed": 1},
        {"steps": 8},
    ],
    ids=str,
)
def test_every_setting_changes_the_result(change: dict[str, Any]) -> None:
    assert not same(weights(trained(settings=replace(SETTINGS, **change))), weights(trained()))


def test_b_learns_so_many_times_as_fast_as_a() -> None:
    once = replace(SETTINGS, steps=1, scheduler=ConstantScheduler(1e-3, 0, 1))
    one, many = (weights(trained(settings=replace(once, loraplus_lr_ratio=ratio))) for ratio in (1.0, 8.0))
    for name, value in one.items():
        if "lora_B" in name:  # it began at zero
            torch.testing.assert_close(many[name], 8 * value)
        else:
            assert torch.equal(many[name], value)


def test_no_clipping_is_a_limit_that_is_never_reached() -> None:
    one = weights(trained(settings=replace(SETTINGS, max_grad_norm=0.0)))
    assert same(one, weights(trained(settings=replace(SETTINGS, max_grad_norm=1e9))))


def test_accumulation_adds_up_to_the_larger_batch() -> None:
    """One step takes the same four sequences either way; Adam's first steps would magnify mere rounding."""
    rows = encoded()[:4]
    first = []
    for batch_size, accumulation in ((4, 1), (2, 2), (1, 4)):
        grads: dict[str, torch.Tensor] = {}

        def watch(step: int, named: dict[str, torch.nn.Parameter], into: dict[str, torch.Tensor] = grads) -> None:
            into.update({name: parameter.grad.clone() for name, parameter in named.items()})  # type: ignore[union-attr]

        settings = replace(SETTINGS, steps=1, batch_size=batch_size, accumulation=accumulation)
        result = run(fresh(), rows, settings, gradients=watch)
        first.append((result.losses[0][1], grads))
    for loss, grads in first[1:]:
        assert loss == pytest.approx(first[0][0], rel=1e-5)
        for name, grad in grads.items():
            torch.testing.assert_close(grad, first[0][1][name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "together"),
    [(1, 1, 1), (4, 1, 1), (3, 2, 1), (2, 5, 1), (20, 1, 1), (1, 1, 2), (1, 1, 3), (2, 2, 2), (3, 1, 20)],
)
def test_an_epoch_is_the_same_wherever_one_starts_in_it(batch_size: int, accumulation: int, together: int) -> None:
    rows = encoded()
    settings = replace(SETTINGS, batch_size=batch_size, accumulation=accumulation, parallel_steps=together)
    per_epoch = steps_per_epoch(len(rows), batch_size, accumulation)
    source, step = rounds_from(rows, settings, 0), 0
    for _ in (0, 1):
        seen: list[int] = []
        for _ in range(-(-per_epoch // together)):
            steps = next(source)
            assert steps == next(rounds_from(rows, settings, step))
            seen += [index for micros in steps for micro in micros for index in micro]
            step += len(steps)
        assert sorted(seen) == list(range(len(rows)))
    assert step == 2 * per_epoch


def test_what_is_told_about_a_step_is_so() -> None:
    seen: list[Event] = []
    trained(emit=seen.append)
    steps = [event for event in seen if isinstance(event, Step)]
    assert [event.step for event in steps] == list(range(1, 10))
    assert [event.learning_rate for event in steps] == pytest.approx([SETTINGS.scheduler.rate(n) for n in range(9)])
    assert all(event.loss > 0 and event.gradient_norm > 0 and event.tokens_per_second > 0 for event in steps)
    assert [event.tokens for event in steps] == sorted(event.tokens for event in steps)


def test_gradients_are_shown_before_they_are_clipped() -> None:
    norms: list[float] = []

    def watch(step: int, named: dict[str, torch.nn.Parameter]) -> None:
        grads = [parameter.grad for parameter in named.values() if parameter.grad is not None]
        norms.append(float(torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()))

    seen: list[Event] = []
    trained(settings=replace(SETTINGS, max_grad_norm=0.01), gradients=watch, emit=seen.append)
    assert norms == pytest.approx([event.gradient_norm for event in seen if isinstance(event, Step)], rel=1e-5)


def test_the_state_is_readable_and_counts_all_sessions(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    with pytest.raises(Killed):
        trained(store=store, emit=killer(5))
    before = json.loads(newest(store).read("state.json"))
    seen: list[Event] = []
    trained(store=store, resume=True, emit=seen.append)
    after = json.loads(newest(store).read("state.json"))
    assert (before["step"], after["step"], after["total"]) == (4, 9, 9)
    assert after["tokens"] > before["tokens"] > 0
    assert after["elapsed"] > before["elapsed"] > 0
    assert any(isinstance(event, Note) and "step 4 of 9" in event.message for event in seen)
