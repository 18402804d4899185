"""Learning rates over a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.training.schedule import ConstantScheduler, CosineScheduler, LinearScheduler, WarmupScheduler

EACH = pytest.mark.parametrize("kind", [CosineScheduler, LinearScheduler, ConstantScheduler])


@EACH
def test_the_warm_up_is_linear_and_ends_at_the_peak(kind: type[WarmupScheduler]) -> None:
    one = kind(base_lr=0.4, warmup_steps=4, total_steps=20)
    assert [one.rate(step) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_the_decay_has_its_shape() -> None:
    rates = {kind: kind(1.0, 0, 100, floor=0.0).rate(25) for kind in (CosineScheduler, LinearScheduler)}
    assert rates[CosineScheduler] == pytest.approx(0.853553, abs=1e-5)
    assert rates[LinearScheduler] == pytest.approx(0.75)
    assert ConstantScheduler(1.0, 0, 100).rate(99) == 1.0


@EACH
@given(st.integers(0, 50), st.integers(1, 200))
def test_rates_are_positive_below_the_peak_and_never_rise_after_the_warm_up(
    kind: type[WarmupScheduler], warmup: int, total: int
) -> None:
    one = kind(1e-3, min(warmup, total), total)
    rates = [one.rate(step) for step in range(total + 5)]
    assert all(0 < rate <= 1e-3 for rate in rates)
    after = rates[min(warmup, total) :]
    assert after == sorted(after, reverse=True)


@EACH
def test_a_stretched_schedule_ends_where_the_longer_run_ends(kind: type[WarmupScheduler]) -> None:
    one = kind(1e-3, 5, 50)
    assert one.stretched(80) == kind(1e-3, 5, 80)
    assert one.stretched(80).rate(79) == pytest.approx(kind(1e-3, 5, 80).rate(79))
