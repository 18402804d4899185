"""A held-out completion is not learned, wherever it stands."""

import numpy as np

from neuralforge.tokens.encoding import Encoded
from neuralforge.tokens.overlap import GRAM, HeldOut, grams

CHOOSER = np.random.default_rng(0)
FUTURE = CHOOSER.integers(0, 1000, 40, dtype=np.int32)


def sequence(*parts: np.ndarray) -> Encoded:
    ids = np.concatenate(parts).astype(np.int32)
    return Encoded(ids, np.ones(len(ids), np.bool_), 0, "a")


def other(count: int) -> np.ndarray:
    return CHOOSER.integers(1000, 2000, count, dtype=np.int32)


def held_out(completion: np.ndarray) -> HeldOut:
    one = sequence(other(10), completion)
    loss = np.arange(len(one.ids)) >= 10
    return HeldOut([Encoded(one.ids, loss, 0, "future")])


def test_a_copy_loses_its_loss_and_nothing_else_does() -> None:
    found = held_out(FUTURE).unlearned(sequence(other(20), FUTURE, other(5)))
    assert found.loss.tolist() == [True] * 20 + [False] * 40 + [True] * 5


def test_a_copy_with_a_change_in_it_is_still_one() -> None:
    changed = FUTURE.copy()
    changed[3] = 1500
    found = held_out(FUTURE).unlearned(sequence(other(20), changed))
    assert not found.loss[24:].any()
    assert found.loss[:20].all()


def test_a_part_of_it_may_be_learned() -> None:
    one = sequence(other(20), FUTURE[:20], other(5))
    assert held_out(FUTURE).unlearned(one) is one


def test_the_context_of_a_held_out_example_may_be_learned() -> None:
    future = sequence(other(30), FUTURE)
    marked = Encoded(future.ids, np.arange(70) >= 30, 0, "future")
    one = sequence(future.ids[:30])
    assert HeldOut([marked]).unlearned(one) is one


def test_every_run_of_tokens_has_a_hash_of_its_own() -> None:
    ids = np.arange(100, dtype=np.int32)
    assert len(set(grams(ids))) == 100 - GRAM + 1
    assert grams(ids[7:]) == grams(ids)[7:]
    assert len(grams(ids[:3])) == 1
    assert grams(np.array([], np.int32)) == [0]
