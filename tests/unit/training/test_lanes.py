"""Micro-batches side by side."""

import threading
import time

import pytest
import torch

from neuralforge.training import lanes
from neuralforge.training.lanes import Lanes, cores, lanes_for


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_tasks(count: int) -> None:
    def work(task: int) -> int:
        time.sleep(0.002 * (5 - task))
        return task * task

    with Lanes(count) as lanes:
        assert list(lanes.map(work, range(5))) == [0, 1, 4, 9, 16]


def test_lanes_compute_at_once_on_one_thread_each_and_give_the_threads_back() -> None:
    before = torch.get_num_threads()
    together = threading.Barrier(2, timeout=10)
    with Lanes(2) as lanes:
        seen = list(lanes.map(lambda _: (together.wait(), torch.get_num_threads())[1], range(2)))
    assert seen == [1, 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("count", [1, 2])
def test_what_fails_in_a_lane_fails_outside(count: int) -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), Lanes(count) as lanes:
        list(lanes.map(lambda task: 1 // task, [1, 0, 2]))
    assert torch.get_num_threads() == before


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1
    assert Lanes(0).count == 1


@pytest.mark.parametrize(
    ("here", "tasks", "count", "threads"), [(2, 4, 2, 1), (8, 2, 2, 4), (1, 4, 1, 1), (3, 2, 2, 1)]
)
def test_few_tasks_share_all_cores(
    monkeypatch: pytest.MonkeyPatch, here: int, tasks: int, count: int, threads: int
) -> None:
    monkeypatch.setattr(lanes, "cores", lambda: here)
    with lanes_for(tasks) as made:
        assert made.count == count
        assert set(made.map(lambda _: torch.get_num_threads(), range(4))) == {threads} or count == 1
