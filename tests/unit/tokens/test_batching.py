"""The order in which sequences are learned, and how they lie side by side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.tokens.batching import collate, cut, plan_epoch
from neuralforge.tokens.encoding import Encoded
from neuralforge.training.loop import steps_per_epoch

LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=120)


@given(LENGTHS, st.integers(1, 9), st.integers(16, 1024), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_holds_every_sequence_once_and_is_the_same_again(
    lengths: list[int], batch_size: int, micro_tokens: int, seed: int, epoch: int
) -> None:
    plan = plan_epoch(lengths, batch_size, micro_tokens, seed, epoch)
    flat = [index for batch in plan.batches for micro in batch for index in micro]
    assert sorted(flat) == list(range(len(lengths)))
    assert all(sum(map(len, batch)) <= batch_size for batch in plan.batches)
    assert len(plan.batches) == steps_per_epoch(len(lengths), batch_size, 1)
    assert plan == plan_epoch(lengths, batch_size, micro_tokens, seed, epoch)


@given(LENGTHS, st.integers(16, 1024))
def test_a_micro_batch_stays_within_its_tokens_unless_one_sequence_alone_is_longer(
    lengths: list[int], micro_tokens: int
) -> None:
    parts = cut(range(len(lengths)), lengths, micro_tokens)
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    for part in parts:
        padded = max(lengths[index] for index in part) * len(part)
        assert padded <= micro_tokens or len(part) == 1


@pytest.mark.parametrize(("one", "two"), [((0, 0), (1, 0)), ((0, 0), (0, 1))], ids=["seed", "epoch"])
def test_another_seed_and_another_epoch_give_another_order(one: tuple[int, int], two: tuple[int, int]) -> None:
    lengths = [10 + index % 7 for index in range(64)]
    assert plan_epoch(lengths, 4, 512, *one) != plan_epoch(lengths, 4, 512, *two)


def test_sequences_of_like_length_are_batched_together() -> None:
    lengths = [10, 500] * 32
    plan = plan_epoch(lengths, 8, 4096, 0, 0)
    assert all(len({lengths[index] for micro in batch for index in micro}) == 1 for batch in plan.batches)


def test_batches_computed_side_by_side_are_of_like_length() -> None:
    lengths = [10, 500] * 32 + [10]
    plan = plan_epoch(lengths, 1, 4096, 0, 0, together=2)
    pairs = list(zip(plan.batches[0:64:2], plan.batches[1:64:2], strict=True))
    # An odd number of short ones in each of the two windows leaves one unlike pair there.
    assert sum(lengths[one[0][0]] != lengths[two[0][0]] for one, two in pairs) <= 2
    assert len(plan.batches) == 65


def test_rows_stand_one_before_their_targets() -> None:
    one = Encoded(np.array([5, 6, 7], dtype=np.int32), np.array([False, False, True]), 0, "a")
    two = Encoded(np.array([8, 9], dtype=np.int32), np.array([False, True]), 1, "b")
    batch = collate([one, two], (1, 0))
    assert batch.ids.tolist() == [8, 9, 5, 6, 7]
    assert batch.rows.tolist() == [0, 3]
    assert batch.targets.tolist() == [9, 7]
    assert (batch.lengths, batch.counts, batch.indices, batch.tokens) == ((2, 3), (1, 1), (1, 0), 5)


def test_rows_of_an_encoder_decoder_are_the_targets_themselves() -> None:
    one = Encoded(np.array([5, 6, 7, 1], dtype=np.int32), np.array([False, False, True, True]), 0, "a", source=2)
    batch = collate([one], (0,))
    assert batch.rows.tolist() == [2, 3]
    assert batch.targets.tolist() == [7, 1]
    assert batch.sources == (2,)
