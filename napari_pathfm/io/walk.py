"""Walking over the tiles of a grid, some tiles ahead of whoever uses them.

A segment is decoded into memory that its thread uses again and again, and is copied at once to
all tiles that touch it, also to those that are yet to come: so it is read from the processor's own
cache, no thread waits for another, and nothing of the slide is kept but tiles. A walk over a large
slide throws nothing out of the cache that the window looks at, and needs little fresh memory, which
would cost as much as decoding.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB, Level
from ..core.threads import be_polite, reader_threads
from ..core.tiles import TileGrid, segments_of_squares
from .memory import in_reach
from .walk_tiles import WalkTiles

AHEAD = 3
"""Batches that are being read while one is used."""

MOST_BYTES = 256 * 1024**2
"""Of tiles that are being filled, before they are resized; in file order a row of them."""

STEPS = 16
"""Parts of that which are read one after the other where tiles are resized."""


class Readable(Protocol):
    """What a walk needs of a slide."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Of the pyramid."""

    def segment_into(self, out: RGB, level: int, row: int, col: int) -> RGB:
        """Return a segment to look at, in the memory `out` where it has to be decoded."""


@cache
def decoders() -> ThreadPoolExecutor:
    """Return the threads that decode for every walk of this process."""
    return ThreadPoolExecutor(reader_threads(), "decode", initializer=be_polite)


def walk(
    slide: Readable, grid: TileGrid, numbers: NDArray[np.int64], batch: int
) -> Generator[tuple[NDArray[np.int64], RGB], None, None]:
    """Yield the tiles `numbers` of a grid in that order; see :meth:`SlideReader.tiles`."""
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    return _batches(slide, grid, numbers, batch)


def _batches(
    slide: Readable, grid: TileGrid, numbers: NDArray[np.int64], batch: int
) -> Generator[tuple[NDArray[np.int64], RGB], None, None]:
    tasks = _Tasks(slide, grid, numbers, batch)
    try:
        for first in range(0, len(numbers), batch):
            part = numbers[first : first + batch]
            yield part, tasks.finish(first, first + len(part))
    finally:
        tasks.stop()


class _Tasks:
    """What the threads have to do for one walk: steps of some tiles, several under way."""

    def __init__(
        self, slide: Readable, grid: TileGrid, numbers: NDArray[np.int64], batch: int
    ) -> None:
        self._slide, self._number = slide, grid.plan.level
        self._level = slide.levels[self._number]
        corners = grid.level_origins(self._level.downsample)[numbers]
        self._needs = _Needs(self._level, corners, grid.plan.size)
        self._most = max(1, MOST_BYTES // (3 * grid.plan.size**2))
        resized = grid.plan.size != grid.plan.tile_px
        self._step = max(1, min(batch, self._most // STEPS)) if resized else batch
        self._lead = max(0, min(AHEAD * batch, self._most - self._step))
        self._tiles = WalkTiles(
            self._level, corners, grid.plan, batch, self._step, self._needs.counts
        )
        self._count, self._started, self._finished = len(numbers), 0, 0
        self._under_way: deque[list[Future[None]]] = deque()
        self._stopped = threading.Event()
        self._own = threading.local()

    def finish(self, first: int, last: int) -> RGB:
        """Return a batch when it is there, and have begun with what comes after it."""
        while self._finished < last:
            wanted = min(self._finished + self._step + self._lead, self._count)
            while self._started < wanted:
                self._start()
            for task in self._under_way[0]:
                task.result()
            del self._under_way[0]
            self._tiles.finish(self._finished)
            self._finished += self._step
        return self._tiles.take(first)

    def _start(self) -> None:
        first, last = self._started, min(self._started + self._step, self._count)
        needed = deque(self._needs.take(first, last, max(last, self._finished + self._most)))
        self._tiles.make_room(max([last - 1, *(tiles[-1] for *_, tiles in needed)]))
        workers = min(reader_threads(), len(needed))
        self._under_way.append([decoders().submit(self._decode, needed) for _ in range(workers)])
        self._started = last

    def stop(self) -> None:
        """Let no task begin any more; those that are at it end after the segment they are at."""
        self._stopped.set()
        for task in chain.from_iterable(self._under_way):
            task.cancel()

    def _decode(self, needed: deque[tuple[int, int, list[int]]]) -> None:
        memory = getattr(self._own, "memory", None)
        if memory is None:
            memory = self._own.memory = in_reach(*self._level.tile_shape)
        while not self._stopped.is_set():
            try:
                row, col, tiles = needed.popleft()
            except IndexError:
                return  # the other threads do the rest
            straight = self._tiles.are_segments
            place = self._tiles.square(tiles[0]) if straight else memory
            segment = self._slide.segment_into(place, self._number, row, col)
            done = straight and segment is place
            self._tiles.put(segment, row, col, tiles[1:] if done else tiles)


class _Needs:
    """Which tiles need which segments, and which of them have been provided for.

    Parameters
    ----------
    level : Level
    corners : ndarray
        ``(N, 2)`` ``(y, x)`` of the tiles in the order of the walk, in pixels of the level.
    size : int
        Side of the tiles in such pixels.
    """

    def __init__(self, level: Level, corners: NDArray[np.int64], size: int) -> None:
        tiles, segments = segments_of_squares(level, corners, size)
        places, self._needed = np.unique(segments, return_inverse=True)
        self._rows, self._cols = np.divmod(places, level.segments[1])
        self._of_tile = np.searchsorted(tiles, np.arange(len(corners) + 1))
        # One sorted list of all pairs: segment by segment, and for each in the order of the walk.
        self._count = max(1, len(corners))
        self._pairs = np.sort(self._needed * self._count + tiles)
        self._needing, self._tiles = self._pairs % self._count, tiles
        self._served = np.zeros(len(places), np.int64)  # tiles before this one are provided for
        self.counts: list[int] = np.diff(self._of_tile).tolist()

    def take(self, first: int, last: int, end: int) -> list[tuple[int, int, list[int]]]:
        """Return the segments that the tiles `first` to `last` still need, in file order.

        They are rows and columns, each with all tiles before `end` that need it; from now on
        these count as provided for.
        """
        part = slice(self._of_tile[first], self._of_tile[last])
        needed = self._needed[part]
        missing = needed[self._served[needed] <= self._tiles[part]]
        found = np.array(sorted(set(missing.tolist())), np.int64)  # a few: faster than np.unique
        begins = self._pairs.searchsorted(found * self._count + self._served[found])
        ends = self._pairs.searchsorted(found * self._count + min(end, self._count))
        self._served[found] = end
        columns = self._rows[found], self._cols[found], begins, ends
        return [
            (row, col, self._needing[begin:stop].tolist())
            for row, col, begin, stop in zip(*(each.tolist() for each in columns), strict=True)
        ]
