"""What a pipeline waits for most: its slowest stage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MEMORY = 8.0
"""Seconds after which what was waited for counts little more than a third."""


class Pace:
    """Counts how long the one who drives a pipeline waits for each stage.

    Parameters
    ----------
    stages : str
        Names of the stages.
    clock : callable
        Seconds since any moment.
    """

    def __init__(self, *stages: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._waited = dict.fromkeys(stages, 0.0)
        self._clock = clock
        self._then = clock()
        self._last = ("", 0.0)

    @contextmanager
    def waiting(self, stage: str) -> Iterator[None]:
        """Wait for a stage."""
        start = self._clock()
        try:
            yield
        finally:
            now = self._clock()
            forget = math.exp((self._then - now) / MEMORY)
            self._waited = {name: forget * waited for name, waited in self._waited.items()}
            self._waited[stage] += now - start
            self._then, self._last = now, (stage, now - start)

    def partly(self, stage: str, part: float) -> None:
        """Say that a part, 0 to 1, of what was waited last was for another stage."""
        last, seconds = self._last
        self._waited[last] -= part * seconds
        self._waited[stage] += part * seconds

    @property
    def limit(self) -> str:
        """The stage that was waited for most; empty while nothing was."""
        slowest = max(self._waited, key=self._waited.__getitem__)
        return slowest if self._waited[slowest] else ""
