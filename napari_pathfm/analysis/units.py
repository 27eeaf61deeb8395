"""Cutting tiles into units of inference, of the size that the device does best."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority
from ..models.base import Encoder, ModelError
from ..models.precision import Calibrating
from .batch_size import batch_size_of

IN_FLIGHT = 2
"""Units submitted at a time: one runs while the next one waits, so the network never idles."""

Tiles = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Vectors = NDArray[np.float32]


class Done(NamedTuple):
    """A unit that was embedded and kept.

    Attributes
    ----------
    numbers : ndarray
        ``(B,)`` int64.
    vectors : ndarray
        ``(B, D)`` float32.
    keeping : float
        Part of its time, 0 to 1, that keeping it took.
    """

    numbers: Numbers
    vectors: Vectors
    keeping: float


class _Answer(NamedTuple):
    vectors: Vectors
    network: float
    """Seconds."""
    keeping: float


@dataclass(frozen=True, eq=False)
class _Running:
    numbers: Numbers
    tiles: Tiles
    future: Future[_Answer]


class Units:
    """Cuts tiles into units of inference and keeps :data:`IN_FLIGHT` of them submitted.

    Parameters
    ----------
    encoder : Encoder
    queue : InferenceQueue
    keep : callable
        Is given the numbers and vectors of each unit in the thread of the network, before the next
        one begins, so that what a killed program has to do again is one unit at most.

    Attributes
    ----------
    size : BatchSize
        Of the next unit; what was learned about an encoder is kept as long as it is.
    largest : int
        Tiles of the largest unit of late.
    remark : str
        What the user should know about how it goes; empty for nothing.
    """

    def __init__(
        self, encoder: Encoder, queue: InferenceQueue, keep: Callable[[Numbers, Vectors], None]
    ) -> None:
        self.size = batch_size_of(encoder)
        self.largest = 0
        self.remark = ""
        self._encoder, self._queue, self._keep = encoder, queue, keep
        # Where there is one, the next unit is on its way to the device while this one runs.
        self._upload: Callable[[Tiles], Any] = getattr(encoder, "upload", _as_it_is)
        self._rest: tuple[Numbers, Tiles] = _nothing()
        self._priority = Priority.REST
        self._running: deque[_Running] = deque()

    def calibrate(self, tiles: Tiles) -> Iterator[None]:
        """Let the encoder find its precision on the first tiles, unit by unit."""
        if not isinstance(self._encoder, Calibrating) or self._encoder.calibrated:
            return
        unit = 8 if self._queue.unit_seconds is None else 2
        steps = self._encoder.calibration(tiles, unit)
        while self._queue.call(lambda: next(steps, False)) is not False:
            yield

    def cut(self, numbers: Numbers, tiles: Tiles, priority: Priority = Priority.REST) -> None:
        """Take tiles to be cut; those before must have been used up."""
        self._rest, self._priority = (numbers, tiles), priority
        self._fill()

    @property
    def busy(self) -> bool:
        """Whether there is more to cut than can be submitted now."""
        return bool(len(self._rest[0]))

    @property
    def pending(self) -> bool:
        """Whether a unit has been submitted that was not taken yet."""
        return bool(self._running)

    def next(self) -> Done:
        """Wait for the oldest unit and submit another one."""
        running = self._running[0]
        try:
            vectors, network, keeping = running.future.result()
        except MemoryError as error:
            vectors, network, keeping = self._in_parts(running.numbers, running.tiles, error)
        else:
            self.largest = len(running.numbers)
            self.size.took(len(running.numbers), network)
        self._running.popleft()
        self._fill()
        return Done(running.numbers, vectors, keeping / max(network + keeping, 1e-9))

    def forget(self) -> None:
        """Do not cut what is left: something else is more urgent."""
        self._rest = _nothing()

    def stop(self) -> None:
        """Take back what waits, and wait for what runs: nobody else's network is still at it."""
        self.forget()
        wait([each.future for each in self._running if not each.future.cancel()])
        self._running.clear()

    def _fill(self) -> None:
        while self.busy and len(self._running) < IN_FLIGHT:
            size = self.size.choose(self._queue.unit_seconds)
            numbers, tiles = self._rest
            self._rest = numbers[size:], tiles[size:]
            part = tiles[:size]
            unit = self._unit(numbers[:size], self._upload(part))
            future = self._queue.submit(unit, self._priority)
            self._running.append(_Running(numbers[:size], part, future))

    def _unit(self, numbers: Numbers, tiles: Tiles) -> Callable[[], _Answer]:
        def unit() -> _Answer:
            start = time.perf_counter()
            vectors = self._encoder.embed(tiles)
            embedded = time.perf_counter()
            self._keep(numbers, vectors)
            return _Answer(vectors, embedded - start, time.perf_counter() - embedded)

        return unit

    def _in_parts(self, numbers: Numbers, tiles: Tiles, error: MemoryError) -> _Answer:
        """Embed tiles that were too many at once, and use smaller units from now on."""
        if len(tiles) == 1:
            raise ModelError(str(error)) from error
        size = self.largest = self.size.out_of_memory(len(tiles))
        self.remark = f"the memory of {self._encoder.device} is too small for more"
        parts: list[_Answer] = []
        for start in range(0, len(tiles), size):
            part = numbers[start : start + size], tiles[start : start + size]
            try:
                parts.append(self._queue.call(self._unit(*part)))
            except MemoryError as again:
                parts.append(self._in_parts(*part, again))
        vectors, network, keeping = zip(*parts, strict=True)
        return _Answer(np.concatenate(vectors), sum(network), sum(keeping))


def _nothing() -> tuple[Numbers, Tiles]:
    return np.zeros(0, np.int64), np.zeros((0, 1, 1, 3), np.uint8)


def _as_it_is(tiles: Tiles) -> Tiles:
    return tiles
