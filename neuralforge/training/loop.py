"""The one training loop.

Everything that is learned in neuralforge is learned here. What varies is handed in: the network, the sequences, the
schedule, where checkpoints go, what keeps pace with a clock. A step is: loss and gradients of the batch's
micro-batches (side by side in lanes), their sum in order, clipping, AdamW (Loshchilov & Hutter 2019, arXiv
1711.05101), a word to whoever listens. Steps too small to keep every core busy are computed some at a time: a
*round* takes the gradients of a few steps from the same weights and then applies them one after the other (delayed
gradients: Langford, Smola & Zinkevich 2009, arXiv 0911.0491).

Killed at any moment and started again, the loop ends with the same bits as if it had never stopped: the order of the
data is a function of the seed, results do not depend on the number of lanes, and a checkpoint holds everything else.
"""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psutil
import torch
from torch import nn

from neuralforge.errors import Interrupted, RunError
from neuralforge.models.base import BaseModel
from neuralforge.runs.checkpoints import CheckpointStore
from neuralforge.runs.events import Emit, Evaluated, Note, Step, silent
from neuralforge.tokens.batching import collate, plan_epoch
from neuralforge.tokens.encoding import Encoded
from neuralforge.tokens.shards import lengths_of
from neuralforge.training.checkpoint import LoopState, freeze, restore, state_of, thaw, trainable, weights
from neuralforge.training.growing import Grower, GrowthSettings
from neuralforge.training.lanes import Lanes, lanes_for
from neuralforge.training.network import Network, open_network
from neuralforge.training.schedule import Scheduler
from neuralforge.training.scoring import mean_loss
from neuralforge.training.vocabulary import sampled

SAVED = " Everything learned so far is saved."

Pace = Callable[[int, int], int]
Gradients = Callable[[int, dict[str, nn.Parameter]], None]
# The micro-batches (indices of sequences) of each of its steps.
Round = tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What one run of the loop needs to know.

    Attributes:
        batch_size: sequences of one micro-step. accumulation: micro-steps to one optimiser step.
        parallel_steps: steps of one round. int8: 8-bit products with frozen weights, see ``open_network``.
        sampled_softmax: estimate what tokens that no sequence contains add to the softmax (``training.vocabulary``).
        steps: optimiser steps in all. scheduler: learning rate of each.
        weight_decay: of matrices; vectors (norms, biases) have none. betas, eps: AdamW's.
        loraplus_lr_ratio: learning rate of every B over that of its A (LoRA+).
        gradient_scaling: scale an fp16 loss, less after each overflow.
        max_grad_norm: clip to this norm; 0 leaves gradients alone.
        eval_every: steps between validations, 0 for none. patience: validations without gain before stopping, 0 never.
        checkpoint_every: seconds between checkpoints.
        micro_tokens: tokens computed in one pass of one lane.
        growth: widen the layers of an Arbor model that are full; None lets it be.
        fingerprint: digest of everything that decides the result.
    """

    steps: int
    scheduler: Scheduler
    batch_size: int = 8
    accumulation: int = 1
    parallel_steps: int = 1
    int8: bool = False
    sampled_softmax: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    loraplus_lr_ratio: float = 1.0
    gradient_scaling: bool = True
    eval_every: int = 0
    patience: int = 0
    seed: int = 0
    checkpoint_every: float = 60.0
    micro_tokens: int = 1024
    growth: GrowthSettings | None = None
    fingerprint: str = ""

    @property
    def together(self) -> int:
        """Sequences that may be computed side by side."""
        return self.batch_size * self.accumulation * self.parallel_steps

    def network(self, base: BaseModel, encoded: Sequence[Encoded]) -> Network:
        """What ``base`` is trained on ``encoded`` with."""
        vocabulary = sampled(base, encoded) if self.sampled_softmax else None
        return open_network(base, self.int8, vocabulary)


@dataclass(frozen=True, slots=True)
class LoopResult:
    """How the loop ended. ``losses`` are (step, nats per token) of the steps of this session."""

    state: LoopState
    stopped_early: bool
    losses: tuple[tuple[int, float], ...]

    @property
    def kept_step(self) -> int:
        """The step whose weights were kept: the best on validation, or else the last."""
        return self.state.step if self.state.best_loss is None else self.state.best_step


def steps_per_epoch(sequences: int, batch_size: int, accumulation: int) -> int:
    """Optimiser steps that one pass over ``sequences`` takes."""
    return math.ceil(math.ceil(sequences / batch_size) / accumulation)


def rounds_from(encoded: Sequence[Encoded], settings: LoopSettings, step: int) -> Iterator[Round]:
    """The rounds from ``step`` (the first of a round) on, for ever; the last one of an epoch may be short."""
    lengths = lengths_of(encoded)
    accumulation, together = settings.accumulation, settings.parallel_steps
    epoch, skip = divmod(step, steps_per_epoch(len(encoded), settings.batch_size, accumulation))
    while True:
        plan = plan_epoch(
            lengths, settings.batch_size, settings.micro_tokens, settings.seed, epoch, together * accumulation
        )
        batches = plan.batches
        steps = [
            tuple(micro for batch in batches[at : at + accumulation] for micro in batch)
            for at in range(skip * accumulation, len(batches), accumulation)
        ]
        yield from (tuple(steps[at : at + together]) for at in range(0, len(steps), together))
        epoch, skip = epoch + 1, 0


def run(
    base: BaseModel,
    encoded: Sequence[Encoded],
    settings: LoopSettings,
    *,
    validation: Sequence[Encoded] = (),
    store: CheckpointStore | None = None,
    resume: bool = False,
    pace: Pace | None = None,
    gradients: Gradients | None = None,
    emit: Emit = silent,
) -> LoopResult:
    """Train the adapter on ``base.model`` (see ``attach``) on ``encoded``.

    Args:
        validation: sequences for early stopping and the choice of the best weights; never the ones judged later.
        store: where checkpoints go; None keeps none.
        resume: go on from the newest good checkpoint in ``store``.
        pace: called after each round with (steps done, steps planned); returns the steps to plan from now on.
        gradients: called with each step's gradients before they are clipped.

    Raises:
        RunError: the loss stopped being a number, or a checkpoint cannot be written.
        Interrupted: Ctrl-C or SIGTERM; what was learned is in ``store``.
    """
    named = trainable(base.model)
    parameters = list(named.values())
    optimiser = torch.optim.AdamW(
        _groups(named, settings),
        lr=settings.scheduler.rate(0),
        betas=settings.betas,
        eps=settings.eps,
        fused=_fused(parameters),
    )
    grower = Grower(base, optimiser, settings.growth, encoded) if settings.growth else None
    state = LoopState(total=settings.steps, fingerprint=settings.fingerprint)
    checkpoint = store.latest() if store and resume else None
    torch.manual_seed(settings.seed)  # dropout draws from it; a checkpoint brings its own state
    if checkpoint:
        if grower:
            grower.restore(state_of(checkpoint).growth)
        state = thaw(checkpoint, named, optimiser, settings.fingerprint)
        emit(Note(f"Going on after step {state.step} of {state.total}."))
    network = settings.network(base, encoded)
    losses: list[tuple[int, float]] = []
    stopped = bool(settings.patience and state.stale >= settings.patience)
    best_weights: dict[str, torch.Tensor] = {}
    best_growth: dict[str, Any] = {}
    kept_at = checkpoint.step if checkpoint else -1
    saved_at = began = time.monotonic()
    spent = state.elapsed

    def keep(best: bool = False) -> None:
        nonlocal kept_at
        kept_at = state.step
        if store:
            state.elapsed = spent + time.monotonic() - began
            state.growth = grower.to_json() if grower else {}
            store.save(state.step, freeze(named, optimiser, state), best=best)

    base.model.train()
    per_epoch = steps_per_epoch(len(encoded), settings.batch_size, settings.accumulation)
    workers = lanes_for(settings.together if network.concurrent else 1)
    with _interruptible() as asked_to_stop, workers as lanes:
        source = rounds_from(encoded, settings, state.step)
        while state.step < state.total and not stopped:
            started, before = time.perf_counter(), state.step
            scale = state.loss_scale if network.dtype == torch.float16 and settings.gradient_scaling else None
            taken = []
            steps = next(source)[: state.total - before]
            draws = f"{settings.seed}/{before}"
            for one in _gradients(network, encoded, steps, parameters, lanes, scale, draws):
                norm = _update(one, named, optimiser, settings, state, gradients, scale)
                state.step += 1
                taken.append((state.step, one, norm, optimiser.param_groups[0]["lr"]))
            network.refresh()
            seconds = time.perf_counter() - started
            speed = sum(one.tokens for _, one, _, _ in taken) / seconds
            for step, one, norm, rate in taken:
                state.tokens += one.tokens
                losses.append((step, one.loss))
                emit(
                    Step(
                        step=step,
                        steps=state.total,
                        loss=one.loss,
                        learning_rate=rate,
                        tokens=state.tokens,
                        tokens_per_second=speed,
                        gradient_norm=norm,
                        memory=psutil.Process().memory_info().rss,
                        epoch=step / per_epoch,
                    )
                )
            ends = state.step >= state.total
            if pace is not None and not ends:  # before anything is saved, so that a checkpoint knows of it
                state.total = max(state.step, pace(state.step, state.total))
                ends = state.step >= state.total
            if grower and not ends and (grown := grower.after(state.step, [one.loss for _, one, _, _ in taken])):
                network = settings.network(base, encoded)
                for event in grown:
                    emit(event)
            due = settings.eval_every and state.step // settings.eval_every > before // settings.eval_every
            if validation and (due or (settings.eval_every and ends)):
                base.model.eval()
                better = _validate(network, validation, lanes, state, emit)
                base.model.train()
                if better and store is None:
                    best_weights = {name: value.detach().clone() for name, value in named.items()}
                    best_growth = grower.to_json() if grower else {}
                if better or ends:
                    keep(best=better)
                    saved_at = time.monotonic()
                if settings.patience and state.stale >= settings.patience:
                    stopped = True
                    emit(Note(f"Stopped at step {state.step}: no gain in {state.stale} evaluations."))
                    break
            if asked_to_stop():
                break
            if time.monotonic() - saved_at >= settings.checkpoint_every and not ends:
                keep()
                saved_at = time.monotonic()
        if kept_at != state.step:
            keep()
        if asked_to_stop():
            raise Interrupted(f"Stopped at step {state.step} of {state.total}." + (SAVED if store else ""))
    result = LoopResult(replace(state), stopped, tuple(losses))
    if result.kept_step != state.step:
        best = store.best() if store else None
        kept = weights(best) if best else best_weights
        if kept:
            if grower:
                grower.restore(state_of(best).growth if best else best_growth)
            restore(named, kept)
            emit(Note(f"Kept the weights of step {state.best_step}, the best on validation."))
    base.model.eval()
    return result


@dataclass(slots=True)
class _StepGradients:
    """What one step learned from: mean ``loss`` in nats per supervised token, tokens computed, gradients."""

    loss: float
    tokens: int
    grads: list[torch.Tensor]


def _gradients(
    network: Network,
    encoded: Sequence[Encoded],
    steps: Round,
    parameters: Sequence[nn.Parameter],
    lanes: Lanes,
    scale: float | None,
    draws: str,
) -> list[_StepGradients]:
    """The gradients of every step of a round at the present weights, times ``scale`` where there is one.

    ``draws`` seeds what the passes draw, together with the place of each in the round.
    """
    supervised = [sum(encoded[index].supervised for micro in step for index in micro) for step in steps]
    tasks = [
        (number, micro, random.Random(f"{draws}/{number}/{place}").getrandbits(63))  # noqa: S311 — to be repeated
        for number, step in enumerate(steps)
        for place, micro in enumerate(step)
    ]

    def work(task: tuple[int, tuple[int, ...], int]) -> tuple[float, int, tuple[torch.Tensor, ...]]:
        number, micro, seed = task
        batch = collate(encoded, micro, seed)
        loss = network.loss(batch)
        weight = (1.0 if scale is None else scale) / supervised[number]
        grads = torch.autograd.grad(loss * weight, parameters)
        # Fused AdamW on a processor takes a gradient's memory for rows without gaps, whatever its strides say.
        whole = tuple(grad.contiguous() for grad in grads)
        return float(loss.detach()) / supervised[number], batch.tokens, whole

    found = [_StepGradients(0.0, 0, []) for _ in steps]
    for (number, _, _), (loss, tokens, grads) in zip(tasks, lanes.map(work, tasks), strict=True):
        one = found[number]
        one.loss += loss
        one.tokens += tokens
        if one.grads:
            for total, grad in zip(one.grads, grads, strict=True):
                total.add_(grad)
        else:
            one.grads = list(grads)
    return found


def _update(
    one: _StepGradients,
    named: dict[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
    settings: LoopSettings,
    state: LoopState,
    watch: Gradients | None,
    scale: float | None,
) -> float:
    """Apply one step's gradients; returns their norm before clipping."""
    parameters = list(named.values())
    for parameter, grad in zip(parameters, one.grads, strict=True):
        parameter.grad = grad if scale is None else grad.div_(scale)
    if watch is not None:
        watch(state.step + 1, named)
    limit = settings.max_grad_norm or math.inf
    norm = float(nn.utils.clip_grad_norm_(parameters, limit, foreach=True))
    if scale is not None and not math.isfinite(norm) and scale > 1:
        state.loss_scale = scale / 2  # an overflow of the scaled loss: skip this step, scale less from now on
        _let_go(one, parameters)
        return norm
    if not (math.isfinite(one.loss) and math.isfinite(norm)):
        raise RunError(
            f"The loss stopped being a finite number at step {state.step + 1} (loss {one.loss}, gradient norm {norm}).",
            "Lower --learning-rate, or train in --bf16 or fp32 instead of --fp16; the last checkpoint is intact.",
        )
    rate = settings.scheduler.stretched(state.total).rate(state.step)
    for group in optimiser.param_groups:
        group["lr"] = rate * group["ratio"]
    optimiser.step()
    _let_go(one, parameters)
    return norm


def _let_go(one: _StepGradients, parameters: Sequence[nn.Parameter]) -> None:
    """Free a step's gradients before the next ones are computed."""
    one.grads.clear()
    for parameter in parameters:
        parameter.grad = None


def _validate(network: Network, validation: Sequence[Encoded], lanes: Lanes, state: LoopState, emit: Emit) -> bool:
    loss = mean_loss(network, validation, lanes)
    better = state.best_loss is None or loss < state.best_loss
    if better:
        state.best_loss, state.best_step, state.stale = loss, state.step, 0
    else:
        state.stale += 1
    emit(Evaluated(state.step, loss, better))
    return better


def _groups(named: dict[str, nn.Parameter], settings: LoopSettings) -> list[dict[str, Any]]:
    """Every B apart from the rest: it learns so many times as fast (LoRA+, Hayou et al. 2024, arXiv 2402.12354)."""
    fast = [one for name, one in named.items() if "lora_B" in name]
    matrices = [one for name, one in named.items() if "lora_B" not in name and one.dim() > 1]
    vectors = [one for name, one in named.items() if "lora_B" not in name and one.dim() < 2]
    decay, ratio = settings.weight_decay, settings.loraplus_lr_ratio
    return [
        {"params": params, "ratio": own, "weight_decay": shrink}
        for params, own, shrink in ((matrices, 1.0, decay), (vectors, 1.0, 0.0), (fast, ratio, decay))
        if params
    ]


def _fused(parameters: Sequence[nn.Parameter]) -> bool:
    return all(parameter.device.type in ("cpu", "cuda") and parameter.is_floating_point() for parameter in parameters)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM asks to stop after the present step; the second Ctrl-C stops at once."""
    asked = threading.Event()

    def ask(number: int, _frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
