"""Embed the tiles of a grid: read ahead, run the network in short units, keep what is done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings
from ..core.inference import InferenceQueue, Priority
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.tiles import TileGrid
from ..io.store import FeatureStore
from ..models.base import Encoder, ModelError
from ..models.precision import Calibrating
from .batch_size import GPU_SIZES, SIZES, BatchSize

IN_FLIGHT = 2
"""Units submitted at a time: one runs while the next one waits, so the network never idles."""

Vectors = NDArray[np.float32]


class TileSource(Protocol):
    """What embedding needs of a slide."""

    def tiles(
        self, grid: TileGrid, order: NDArray[np.integer] | None = None, batch: int = ...
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Yield numbers ``(B,)`` and tiles ``(B, tile_px, tile_px, 3)`` uint8."""


def embed(
    slide: TileSource,
    grid: TileGrid,
    encoder: Encoder,
    store: FeatureStore | None = None,
    queue: InferenceQueue | None = None,
    order: NDArray[np.integer] | None = None,
) -> Job[Embeddings]:
    """Embed the tiles of a grid.

    Parameters
    ----------
    slide : TileSource
        A slide reader.
    grid : TileGrid
    encoder : Encoder
    store : FeatureStore, optional
        Where the vectors are kept. Tiles that it has already are not computed again, and what was
        computed when the job is closed or fails is kept.
    queue : InferenceQueue, optional
        Where the network runs; that of the encoder's device if absent. Its ``unit_seconds``
        decides how much is done at a time.
    order : ndarray, optional
        ``(M,)`` numbers of the tiles wanted, the most urgent first; all in file order if absent.

    Returns
    -------
    Embeddings
        All that the store has of this grid, or what was computed.

    Raises
    ------
    ValueError
        The grid has no tiles, or the store's vectors were made in another way.
    ModelError
        The device has not enough memory for a single tile.
    SlideError
        The slide cannot be read.
    ProjectError
        The store cannot be written, or another process is writing it.
    """
    if not len(grid):
        raise ValueError(
            "The grid has no tiles: there is no tissue, or tiles are larger than it. Ask for "
            "smaller tiles, or for less tissue in each."
        )
    if store is not None and (difference := store.key.difference(encoder.key)):
        raise ValueError(f"These embeddings cannot be continued with this encoder: {difference}")
    queue = queue or device_queue(encoder.device)
    with ExitStack() as stack:
        if store is not None:
            stack.enter_context(store.lock())
        made = _Made(encoder, grid, store)
        wanted = np.arange(len(grid)) if order is None else np.asarray(order, np.int64)
        todo = wanted[~np.isin(wanted, made.known)]
        yield Progress(made.count, made.count + len(todo), made.text, "tiles")
        if len(todo):
            yield from _embed(slide, encoder, queue, todo, made)
        return made.read()


def _embed(
    slide: TileSource,
    encoder: Encoder,
    queue: InferenceQueue,
    todo: NDArray[np.int64],
    made: _Made,
) -> Job[None]:
    """Embed the tiles `todo`, always preparing a unit while another one runs."""
    total = made.count + len(todo)
    units = _Units(encoder, queue)
    reader = slide.tiles(made.grid, todo, units.size.largest)
    with ExitStack() as stack:
        stack.callback(getattr(reader, "close", lambda: None))
        stack.callback(units.stop)
        for numbers, tiles in reader:
            for _ in units.calibrate(tiles):
                yield Progress(made.count, total, f"{made.text}: choosing the precision", "tiles")
            units.cut(numbers, tiles)
            while units.busy:
                made.add(*units.next())
                yield Progress(made.count, total, made.text + units.remark, "tiles")
        while units.pending:
            made.add(*units.next())
            yield Progress(made.count, total, made.text + units.remark, "tiles")


class _Made:
    """Vectors made so far, in the store if there is one."""

    def __init__(self, encoder: Encoder, grid: TileGrid, store: FeatureStore | None) -> None:
        self.grid = grid
        self.text = f"Embedding with {encoder.spec.name}"
        self._encoder, self._store = encoder, store
        self._tiles: list[NDArray[np.int64]] = []
        self._vectors: list[Vectors] = []
        self.known = np.zeros(0, np.int64) if store is None else store.read().tiles
        self.count = len(self.known)

    def add(self, tiles: NDArray[np.int64], vectors: Vectors) -> None:
        if self._store is None:
            self._tiles.append(tiles)
            self._vectors.append(vectors)
        else:
            if not self.count:
                # The precision is known only now, after the first tiles.
                precision = self._encoder.key.precision
                self._store.key = replace(self._store.key, precision=precision)
            self._store.append(tiles, vectors)
        self.count += len(tiles)

    def read(self) -> Embeddings:
        if self._store is not None:
            return self._store.read()
        none = np.zeros((0, self._encoder.spec.dim), np.float32)
        return Embeddings(
            self._encoder.key,
            self.grid.hash,
            np.concatenate([self.known, *self._tiles]),
            np.concatenate(self._vectors) if self._vectors else none,
        )


class _Units:
    """Cuts tiles into units of inference and keeps :data:`IN_FLIGHT` of them submitted.

    Attributes
    ----------
    remark : str
        What the user should know about how it goes, to be put behind the progress text.
    """

    def __init__(self, encoder: Encoder, queue: InferenceQueue) -> None:
        self.size = BatchSize(SIZES if encoder.device == "cpu" else GPU_SIZES)
        self.remark = ""
        self._encoder, self._queue = encoder, queue
        self._calibrated = not isinstance(encoder, Calibrating) or encoder.calibrated
        self._rest = (np.zeros(0, np.int64), np.zeros((0, 1, 1, 3), np.uint8))
        self._running: deque[
            tuple[NDArray[np.int64], NDArray[np.uint8], Future[tuple[Vectors, float]]]
        ] = deque()

    def calibrate(self, tiles: NDArray[np.uint8]) -> Iterator[None]:
        """Let the encoder find its precision on the first tiles, unit by unit."""
        if self._calibrated or not isinstance(self._encoder, Calibrating):
            return
        self._calibrated = True
        unit = 8 if self._queue.unit_seconds is None else 2
        steps = self._encoder.calibration(tiles, unit)
        while self._queue.call(lambda: next(steps, False)) is not False:
            yield

    def cut(self, numbers: NDArray[np.int64], tiles: NDArray[np.uint8]) -> None:
        """Take tiles to be cut; those before must have been used up."""
        self._rest = numbers, tiles
        self._fill()

    @property
    def busy(self) -> bool:
        """Whether there is more to cut than can be submitted now."""
        return bool(len(self._rest[0]))

    @property
    def pending(self) -> bool:
        """Whether a unit has been submitted that was not taken yet."""
        return bool(self._running)

    def next(self) -> tuple[NDArray[np.int64], Vectors]:
        """Wait for the oldest unit and submit another one."""
        numbers, tiles, future = self._running[0]
        try:
            vectors, seconds = future.result()
        except MemoryError as error:
            vectors = self._in_parts(tiles, error)
        else:
            self.size.took(len(numbers), seconds)
        self._running.popleft()
        self._fill()
        return numbers, vectors

    def stop(self) -> None:
        """Take back what waits, and wait for what runs: nobody else's network is still at it."""
        wait([future for _, _, future in self._running if not future.cancel()])
        self._running.clear()

    def _fill(self) -> None:
        while self.busy and len(self._running) < IN_FLIGHT:
            size = self.size.choose(self._queue.unit_seconds)
            numbers, tiles = self._rest
            self._rest = numbers[size:], tiles[size:]
            part = tiles[:size]
            future = self._queue.submit(self._unit(part), Priority.REST)
            self._running.append((numbers[:size], part, future))

    def _unit(self, tiles: NDArray[np.uint8]) -> Callable[[], tuple[Vectors, float]]:
        def unit() -> tuple[Vectors, float]:
            start = time.perf_counter()
            vectors = self._encoder.embed(tiles)
            return vectors, time.perf_counter() - start

        return unit

    def _in_parts(self, tiles: NDArray[np.uint8], error: MemoryError) -> Vectors:
        """Embed tiles that were too many at once, and use smaller units from now on."""
        if len(tiles) == 1:
            raise ModelError(str(error)) from error
        size = self.size.out_of_memory(len(tiles))
        self.remark = f" ({size} at a time: the memory of {self._encoder.device} is too small)"
        parts: list[Vectors] = []
        for start in range(0, len(tiles), size):
            part = tiles[start : start + size]
            try:
                parts.append(self._queue.call(self._unit(part))[0])
            except MemoryError as again:
                parts.append(self._in_parts(part, again))
        return np.concatenate(parts)
