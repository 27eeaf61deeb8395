"""Long work as plain generators, so that it runs the same in a window, a test or a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    done, total : int
        Units of work; `total` is 0 while it is not known.
    text : str
        What is being done, for people.
    unit : str
        Name of the unit in the plural ("tiles"), for the rate; empty for none.
    so_far : object
        What the job would return if it ended here, where that is worth showing; else ``None``.
    """

    done: int
    total: int
    text: str = ""
    unit: str = ""
    so_far: object = None


Job = Generator[Progress, None, T]
"""Yields :class:`Progress` and returns its result.

Closing it (cancel) runs its ``finally`` blocks, which leave every store resumable.
"""


def run(job: Job[T], report: Callable[[Progress], None] | None = None) -> T:
    """Run a job to its end in this thread and return its result."""
    try:
        while True:
            progress = next(job)
            if report is not None:
                report(progress)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        job.close()


def one_step(text: str, work: Callable[[], T]) -> Job[T]:
    """Make a job of a function that is over soon, but not soon enough for the window's thread."""
    yield Progress(0, 0, text)
    return work()


class Rate:
    """Speed and remaining time from the progress of the last seconds.

    Parameters
    ----------
    window : float
        Seconds that count.
    clock : callable
        Seconds since any moment.
    """

    def __init__(self, window: float = 8.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._window, self._clock = window, clock
        self._seen: list[tuple[float, int]] = []

    def update(self, progress: Progress) -> None:
        """Take notice of a progress report."""
        now = self._clock()
        self._seen.append((now, progress.done))
        while len(self._seen) > 2 and now - self._seen[0][0] > self._window:
            self._seen.pop(0)

    @property
    def per_second(self) -> float:
        """Units per second; 0 while unknown."""
        if len(self._seen) < 2:
            return 0.0
        (start, first), (end, last) = self._seen[0], self._seen[-1]
        return (last - first) / (end - start) if end > start else 0.0

    def remaining(self, progress: Progress) -> float | None:
        """Seconds to go, or ``None`` while unknown."""
        speed = self.per_second
        if not speed or not progress.total:
            return None
        return max(0, progress.total - progress.done) / speed


def duration(seconds: float) -> str:
    """Write a duration for people: ``"45 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
