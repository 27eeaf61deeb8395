"""Embed the tiles of a grid: read ahead, run the network in short units, keep what is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings
from ..core.inference import InferenceQueue, Priority
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.tiles import TileGrid
from ..io.store import FeatureStore
from ..models.base import Encoder
from ..models.precision import agreement_of, compiling
from .pace import Pace
from .tile_order import GivenOrder, TileOrder
from .units import Done, Units, Vectors

WATCH_SECONDS = 3.0
"""How often somebody who watches is shown what there is."""

WATCH_SHARE = 0.05
"""Part of the time that showing may take: it is done more rarely where there is much to show."""


class TileSource(Protocol):
    """What embedding needs of a slide."""

    def tiles(
        self, grid: TileGrid, order: NDArray[np.integer] | None = None, batch: int = ...
    ) -> Generator[tuple[NDArray[np.int64], NDArray[np.uint8]], None, None]:
        """Yield numbers ``(B,)`` and tiles ``(B, tile_px, tile_px, 3)`` uint8."""


def embed(
    slide: TileSource,
    grid: TileGrid,
    encoder: Encoder,
    store: FeatureStore | None = None,
    queue: InferenceQueue | None = None,
    order: TileOrder | NDArray[np.integer] | None = None,
    watch: Callable[[Embeddings], None] | None = None,
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
    order : TileOrder or ndarray, optional
        Which tiles come first, and may change its mind meanwhile; or ``(M,)`` numbers of the tiles
        wanted, the most urgent first. All in file order if absent.
    watch : callable, optional
        Is shown all that there is every :data:`WATCH_SECONDS`, in the thread of the job; more
        rarely where that takes long.

    Returns
    -------
    Embeddings
        All that the store has of this grid, or what was computed.

    Raises
    ------
    ValueError
        The grid has no tiles, or the store's vectors were made in another way.
    ModelError
        The device has not enough memory for a single tile, or does not answer any more.
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
    if isinstance(order, TileOrder):
        sorter: TileOrder | GivenOrder = order
    else:
        sorter = GivenOrder(np.arange(len(grid)) if order is None else order)
    with ExitStack() as stack:
        if store is not None:
            stack.enter_context(store.lock())
        made = _Made(encoder, grid, store)
        todo = sorter.sort(np.setdiff1d(np.arange(len(grid)), made.known))
        yield Progress(made.count, made.count + len(todo), made.text, "tiles")
        if len(todo):
            pipeline = _Pipeline(slide, encoder, queue or device_queue(encoder.device), made)
            stack.callback(pipeline.stop)
            yield from pipeline.run(sorter, todo, watch)
        return made.read()


class _Pipeline:
    """Reads tiles, has them embedded and keeps the vectors; knows which of these is slowest."""

    def __init__(
        self, slide: TileSource, encoder: Encoder, queue: InferenceQueue, made: _Made
    ) -> None:
        self._slide, self._encoder, self._made = slide, encoder, made
        self._units = Units(encoder, queue, made.keep)
        self._pace = Pace("reading", "the network", "writing")
        self.stop = self._units.stop

    def run(
        self,
        order: TileOrder | GivenOrder,
        todo: NDArray[np.int64],
        watch: Callable[[Embeddings], None] | None,
    ) -> Job[None]:
        """Embed the tiles `todo`; whenever the order changes, what is left is ordered anew."""
        made = self._made
        total, show_at = made.count + len(todo), time.monotonic() + WATCH_SECONDS
        while len(todo):
            for text in self._walk(order, todo):
                yield Progress(made.count, total, text, "tiles")
                if watch is not None and (now := time.monotonic()) > show_at:
                    watch(made.read())
                    took = time.monotonic() - now
                    show_at = now + max(WATCH_SECONDS, took / WATCH_SHARE)
            todo = order.sort(np.setdiff1d(todo, made.known))

    def _walk(self, order: TileOrder | GivenOrder, todo: NDArray[np.int64]) -> Iterator[str]:
        """Embed tiles in this order until it changes; yields what there is to say."""
        turn, units, grid = order.turn, self._units, self._made.grid
        with closing(self._slide.tiles(grid, todo, units.size.largest)) as reader:
            while (batch := self._read(reader)) is not None:
                for _ in units.calibrate(batch[1]):
                    yield f"{self._made.text}: choosing the precision"
                urgent = Priority.VISIBLE if order.visible(batch[0]) else Priority.REST
                units.cut(*batch, urgent)
                while units.busy:
                    self._take()
                    yield self._text()
                    if order.turn != turn:
                        units.forget()
                if order.turn != turn:
                    break
        while units.pending:
            self._take()
            yield self._text()

    def _read(
        self, reader: Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
        with self._pace.waiting("reading"):
            return next(reader, None)

    def _take(self) -> None:
        with self._pace.waiting("the network"):
            done = self._units.next()
        self._pace.partly("writing", done.keeping)
        self._made.add(done)

    def _text(self) -> str:
        units, encoder = self._units, self._encoder
        facts = f"{encoder.device}, {encoder.key.precision}, {units.largest} at a time"
        compiled = "being compiled meanwhile" if compiling(encoder) else ""
        parts = [
            facts,
            agreement_of(encoder),
            compiled,
            units.remark,
            f"limited by {self._pace.limit}",
        ]
        return f"{self._made.text} ({'; '.join(filter(None, parts))})"


class _Made:
    """Vectors made so far, in the store if there is one."""

    def __init__(self, encoder: Encoder, grid: TileGrid, store: FeatureStore | None) -> None:
        self.grid = grid
        self.text = f"Embedding with {encoder.spec.name}"
        self._encoder, self._store = encoder, store
        self._tiles: list[NDArray[np.int64]] = []
        self._vectors: list[Vectors] = []
        self._before = np.zeros(0, np.int64) if store is None else store.tiles
        self.count = len(self._before)

    @property
    def known(self) -> NDArray[np.int64]:
        """Numbers of the tiles that have a vector."""
        return np.concatenate([self._before, *self._tiles])

    def keep(self, tiles: NDArray[np.int64], vectors: Vectors) -> None:
        """Write a unit, in whichever thread."""
        if self._store is not None:
            # The precision is known only now, after the first tiles.
            self._store.append(tiles, vectors, self._encoder.key.precision)

    def add(self, done: Done) -> None:
        """Count a unit that is kept."""
        self._tiles.append(done.numbers)
        if self._store is None:
            self._vectors.append(done.vectors)
        self.count += len(done.numbers)

    def read(self) -> Embeddings:
        if self._store is not None:
            return self._store.read()
        none = np.zeros((0, self._encoder.spec.dim), np.float32)
        return Embeddings(
            self._encoder.key,
            self.grid.hash,
            self.known,
            np.concatenate(self._vectors) if self._vectors else none,
        )
