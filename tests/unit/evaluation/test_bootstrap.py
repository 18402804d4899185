"""Intervals: honest coverage, the rule for what is drawn, reproducible, quick."""

import time

import numpy as np
import pytest

from neuralforge.data.records import Example
from neuralforge.evaluation.bootstrap import (
    choose_units,
    cluster_sums,
    interval,
    resampled_sums,
    student_quantile,
)


def example(commit: str | None = None, path: str | None = None) -> Example:
    return Example("a", "b", commit=commit, path=path)


def test_commits_are_drawn_when_there_are_eight() -> None:
    units = choose_units([example(f"c{i % 8}", "one.py") for i in range(40)])
    assert (units.kind, units.count, units.commits) == ("commit", 8, 8)
    assert units.index.tolist() == [i % 8 for i in range(40)]


def test_files_are_drawn_when_commits_are_few() -> None:
    units = choose_units([example(f"c{i % 2}", f"{i % 9}.py") for i in range(40)])
    assert (units.kind, units.count, units.commits) == ("file", 9, 2)


def test_examples_are_drawn_when_files_are_few_or_unknown() -> None:
    assert choose_units([example("c", "one.py")] * 40).kind == "example"
    assert choose_units([example()] * 40).commits == 0
    assert choose_units([*(example(f"c{i}") for i in range(20)), example()]).kind == "example"


def test_fewer_than_six_units_conclude_nothing() -> None:
    assert not choose_units([example()] * 5).conclusive
    assert choose_units([example()] * 6).conclusive


def test_a_seed_fixes_the_draws_and_columns_share_them() -> None:
    column = np.random.default_rng(1).normal(size=(30, 1))
    alone = resampled_sums(column, seed=3, resamples=100)
    pair = resampled_sums(np.hstack([column, 2 * column]), seed=3, resamples=100)
    assert np.allclose(pair[:, 0], alone[:, 0])
    assert np.allclose(pair[:, 1], 2 * alone[:, 0])
    assert not np.allclose(alone, resampled_sums(column, seed=4, resamples=100))


def test_blocks_do_not_change_how_many_units_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuralforge.evaluation.bootstrap._BLOCK", 70)
    totals = resampled_sums(np.ones((10, 1)), seed=0, resamples=23)
    assert (totals == 10).all()


def test_cluster_sums_keep_the_total() -> None:
    units = choose_units([example(f"c{i % 8}") for i in range(50)])
    values = np.random.default_rng(0).normal(size=(50, 3))
    assert np.allclose(cluster_sums(values, units).sum(axis=0), values.sum(axis=0))


@pytest.mark.parametrize(
    ("freedom", "exact", "tolerance"), [(2, 4.3027, 0.04), (4, 2.7764, 3e-3), (7, 2.3646, 3e-4), (30, 2.0423, 1e-4)]
)
def test_student_quantiles(freedom: int, exact: float, tolerance: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(exact, abs=tolerance)


def test_no_interval_from_one_unit_or_from_nothing() -> None:
    assert interval(np.ones(100), 1) is None
    assert interval(np.full(100, np.nan), 20) is None


@pytest.mark.parametrize("clusters", [10, 25])
def test_coverage_of_a_ratio_over_commits_of_unequal_size(clusters: int) -> None:
    """300 simulated verdicts with correlated examples inside a commit: about 95 % must hold the true difference."""
    generator = np.random.default_rng(20 + clusters)
    truth, covered, rounds = -0.3, 0, 300
    for _ in range(rounds):
        tokens, gains, commits = [], [], []
        for commit in range(clusters):
            shared = generator.normal(0, 0.15)
            for _ in range(int(generator.integers(1, 9))):
                tokens.append(float(generator.integers(5, 90)))
                gains.append(truth + shared + generator.normal(0, 0.3))
                commits.append(commit)
        units = choose_units([example(str(commit)) for commit in commits])
        values = np.stack([np.array(tokens) * np.array(gains), np.array(tokens)], axis=1)
        totals = resampled_sums(cluster_sums(values, units), seed=int(generator.integers(1 << 30)), resamples=1000)
        low, high = interval(totals[:, 0] / totals[:, 1], units.count) or (0.0, 0.0)
        covered += low <= truth <= high
    assert 0.90 <= covered / rounds <= 0.99


def test_two_hundred_examples_take_a_fifth_of_a_second_at_most() -> None:
    values = np.random.default_rng(0).normal(size=(200, 20))
    best = 1.0
    for _ in range(3):
        start = time.perf_counter()
        resampled_sums(values, seed=0)
        best = min(best, time.perf_counter() - start)
    assert best < 0.2
