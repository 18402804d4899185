"""Micro-batches side by side: one thread a lane, each computing alone on its own core.

Splitting every small matrix product over all cores makes every core wait for the slowest one, thousands of times a
step; on shared or virtual machines that costs more than half of the time. A lane takes a whole micro-batch instead
and meets the others once a step. What a micro-batch yields does not depend on how many lanes there are, and results
are handed back in the order of the micro-batches, so training is bitwise the same on any number of lanes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lanes_for(tasks: int) -> Lanes:
    """As many lanes as ``tasks`` at a time can fill, sharing all cores."""
    count = max(1, min(cores(), tasks))
    return Lanes(count, cores() // count)


class Lanes:
    """A fixed number of workers; with ``count`` 1 the caller's thread and all its cores are used.

    Args:
        count: workers.
        threads: of each worker. More than one where there are fewer tasks than cores.
    """

    def __init__(self, count: int, threads: int = 1) -> None:
        self.count, self.threads = max(1, count), max(1, threads)
        self._pool: ThreadPoolExecutor | None = None
        self._threads_before = 0

    def __enter__(self) -> Self:
        if self.count > 1:
            self._threads_before = torch.get_num_threads()
            torch.set_num_threads(1)
            self._pool = ThreadPoolExecutor(
                self.count, "lane", initializer=torch.set_num_threads, initargs=(self.threads,)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
            torch.set_num_threads(self._threads_before)

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """``work`` of every task, in the order of the tasks."""
        if self._pool is None:
            return map(work, tasks)
        return self._pool.map(work, tasks)
