"""One long-lived thread a device that runs short units of network work by priority.

New threads that call torch each start an OpenMP pool, which then fight each other for the cores
(napari-based tools turned their workers off for it). So networks run here and nowhere else: jobs
cut their work into units, submit them and wait.
"""

from __future__ import annotations

import atexit
import enum
import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from .jobs import Job, Progress
from .threads import be_polite

T = TypeVar("T")


LONGEST_HOLD = 1.0
"""Seconds after which a unit runs although it is held."""

LAST_UNIT = 30.0
"""Seconds that a process which ends waits for the unit that is running."""

REPORT_EVERY = 0.05
"""Seconds after which a job that waits for its unit looks whether it is still wanted."""


class Priority(enum.IntEnum):
    """Who is served first."""

    CLICK = 0
    HOVER = 1
    VISIBLE = 2
    REST = 3


class InferenceQueue:
    """Serves units one after the other, the most urgent first, first come first served within one.

    Parameters
    ----------
    name : str
        Name of the thread.
    unit_seconds : float or None
        What a unit should take at most, so that a click waits for one unit only; ``None``: the
        size that is fastest (no window is open). Jobs ask for it when they cut their work.
    """

    def __init__(self, name: str = "inference", unit_seconds: float | None = None) -> None:
        self.unit_seconds = unit_seconds
        self._heap: list[tuple[int, int, Future[Any], Callable[[], Any]]] = []
        self._count = itertools.count()
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._started = self._stopped = False
        self._held_until = self._last_rest = 0.0

    def submit(self, unit: Callable[[], T], priority: Priority = Priority.REST) -> Future[T]:
        """Queue a unit; the future's ``cancel`` takes it out again while it waits.

        A unit that is submitted from a unit would wait for itself, so that is an error.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("a unit of inference must not submit another one and wait for it")
        future: Future[T] = Future()
        with self._ready:
            if self._stopped:
                future.cancel()
                return future
            if not self._started:
                self._started = True
                self._thread.start()
                atexit.register(self.stop)
            heapq.heappush(self._heap, (int(priority), next(self._count), future, unit))
            self._ready.notify()
        return future

    def call(self, unit: Callable[[], T], priority: Priority = Priority.REST) -> T:
        """Queue a unit and wait for what it returns (or raises)."""
        return self.submit(unit, priority).result()

    def hold(self, seconds: float) -> None:
        """Keep units that are no answer to a hand waiting for some time: it is moving the view.

        Where the device is the processor that also draws the window, the two would take the cores
        from each other. One unit passes each :data:`LONGEST_HOLD`, so that work never stops.
        """
        self._held_until = time.monotonic() + seconds

    def stop(self) -> None:
        """Take back what waits and let the unit that runs end; nothing is served any more.

        A process must not end while a network runs: torch would abort it, or wait for ever.
        """
        with self._ready:
            self._stopped = True
            for *_, future, _ in self._heap:
                future.cancel()
            self._heap.clear()
            self._ready.notify()
        self._thread.join(LAST_UNIT)

    def _serve(self) -> None:
        be_polite()
        while True:
            with self._ready:
                while not self._stopped and (not self._heap or (held := self._held()) > 0):
                    self._ready.wait(held if self._heap else None)
                if self._stopped:
                    return
                priority, _, future, unit = heapq.heappop(self._heap)
            if priority >= Priority.VISIBLE:
                self._last_rest = time.monotonic()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(unit())
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                future.set_exception(error)
            del future, unit

    def _held(self) -> float:
        """Seconds that the next unit has to wait still; 0 or less if it may run."""
        if self._heap[0][0] < Priority.VISIBLE:
            return 0.0
        until = min(self._held_until, self._last_rest + LONGEST_HOLD)
        return until - time.monotonic()


def answered(
    queue: InferenceQueue, unit: Callable[[], T], priority: Priority, progress: Progress
) -> Job[T]:
    """Queue a unit and wait for what it returns, as a part of a job.

    It reports `progress` while it waits, so that whoever cancels is heard; a unit that still waits
    then is taken out.
    """
    future = queue.submit(unit, priority)
    try:
        while not future.done():
            yield progress
            wait([future], timeout=REPORT_EVERY)
        return future.result()
    finally:
        future.cancel()


_queues: dict[str, InferenceQueue] = {}
_lock = threading.Lock()


def queue(device: str = "cpu") -> InferenceQueue:
    """Return the queue of a device (``"cpu"``, ``"mps"``, ``"cuda:0"``), the same one each time."""
    with _lock:
        if device not in _queues:
            _queues[device] = InferenceQueue(f"inference-{device}")
        return _queues[device]
