"""What a Dask scheduler is given to do, and what it has done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.base import ModelError
from .cohort import FAILURES

TRIES = 3
"""So often is a slide tried, by whichever workers, before it is given up."""

AHEAD = 2
"""Parts a worker is given: one that it is at and one to go on with."""

LOOK_SECONDS = 0.2
"""How often somebody may cancel."""

GPU = "GPU"
"""Resource of workers of which each embeds one part at a time, however many threads it has."""

GONE = (
    "The scheduler does not answer any more. What was embedded is kept: run it again to go on from "
    "there."
)


class Cluster:
    """The workers behind a client, given as many tasks at a time as they have use for.

    Parameters
    ----------
    client : distributed.Client

    Attributes
    ----------
    workers : list of dict
        What the scheduler knows of each.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._running: dict[str, tuple[int, NDArray[np.int64] | None, Any]] = {}
        self._looked = 0.0
        self.workers: list[dict[str, Any]] = []

    def room(self) -> int:
        """How many tasks more the workers can be given."""
        if time.monotonic() - self._looked > 1 or not self.workers:
            self._looked = time.monotonic()
            self.workers = self._look()
        slots = sum(each["resources"].get(GPU) or each["nthreads"] for each in self.workers)
        return int(AHEAD * slots) - len(self._running)

    def _look(self) -> list[dict[str, Any]]:
        try:
            return list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        except OSError as error:
            raise ConnectionError(GONE) from error

    def submit(
        self, number: int, work: Any, *args: Any, part: NDArray[np.int64] | None = None
    ) -> Any:
        """Have some work done on a slide; a part of it goes before other slides."""
        gpus = any(GPU in each["resources"] for each in self.workers)
        hosts = Counter(each["host"] for each in self.workers)
        future = self._client.submit(
            work,
            *args,
            processes=max(hosts.values(), default=1),
            retries=TRIES - 1,
            resources={GPU: 1} if gpus and part is not None else None,
            priority=0 if part is None else 1,
            pure=False,
        )
        self._running[future.key] = number, part, future
        future.add_done_callback(self._ended.put)
        return future

    def next(self) -> tuple[int, NDArray[np.int64] | None, Any] | None:
        """Wait a little for something to be done; ``None`` if there is nothing.

        Raises
        ------
        ConnectionError
            The scheduler does not answer any more.
        """
        try:
            future = self._ended.get(timeout=LOOK_SECONDS)
        except Empty:
            future = None
        lost = future is not None and future.cancelled() and future.key in self._running
        if lost or self._client.status == "closed":
            raise ConnectionError(GONE)
        return None if future is None else self._running.pop(future.key, None)

    def cancel(self, futures: Iterable[Any]) -> None:
        """Take back work."""
        futures = list(futures)
        for each in futures:
            self._running.pop(each.key, None)
        if futures and self._client.status == "running":
            self._client.cancel(futures)

    def stop(self) -> None:
        """Take back all work."""
        self.cancel([future for _, _, future in self._running.values()])


def reason(error: BaseException) -> str:
    """Say why a task was given up."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return (
            "workers ended again and again while they were at it, the last one being "
            f"{error.last_worker.address}; look into its log: is there enough memory?"
        )
    words = str(error) if isinstance(error, (*FAILURES, ModelError)) else repr(error)
    return f"{words} (given up after {TRIES} tries)"
