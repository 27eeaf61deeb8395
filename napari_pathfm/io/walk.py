"""Walking over the tiles of a grid, some tiles ahead of whoever uses them.

Two kinds of short tasks run in the same threads: some decode segments, each segment of the walk
once; others, a step behind, put tiles together from them. So no thread waits for a segment that
another one is decoding.

The segments of a walk are its own, until the last tile that touches them is there; then their
memory is used again. So a walk over a large slide throws nothing out of the cache that the window
looks at, and needs no fresh memory, which would cost as much as decoding.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB, Level, SlideError
from ..core.threads import be_polite, reader_threads
from ..core.tiles import TileGrid, segments_of
from .cache import SegmentCache
from .regions import assemble, resize

AHEAD = 3
"""Batches that are being read while one is used."""

TILES_A_TASK = 16
"""Tiles that one task puts together, at most."""

BYTES_A_TASK = 16 * 1024**2
"""What these tiles may take before they are resized; several tasks are under way."""

SEGMENTS_A_TASK = 8

MOST_BATCHES = AHEAD + 3
"""Batches whose memory is used again: those that are read, and what the user is at."""

MOST_BYTES = 256 * 1024**2
"""Of segments that a walk keeps; in file order it needs two rows of them."""


class Readable(Protocol):
    """What a walk needs of a slide."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Of the pyramid."""

    def segment_into(self, out: RGB, level: int, row: int, col: int) -> RGB:
        """Return a segment of the caller's own, in the memory `out` where that is possible."""


@cache
def decoders() -> ThreadPoolExecutor:
    """Return the threads that decode for every walk of this process."""
    return ThreadPoolExecutor(reader_threads(), "decode", initializer=be_polite)


def walk(
    slide: Readable, grid: TileGrid, numbers: NDArray[np.int64], batch: int
) -> Iterator[tuple[NDArray[np.int64], RGB]]:
    """Yield the tiles `numbers` of a grid in that order; see :meth:`SlideReader.tiles`."""
    if batch < 1:
        raise ValueError(f"batch must be at least 1, not {batch}")
    return _batches(_Walk(slide, grid, numbers), numbers, batch)


def _batches(
    walk: _Walk, numbers: NDArray[np.int64], batch: int
) -> Iterator[tuple[NDArray[np.int64], RGB]]:
    coming: deque[tuple[NDArray[np.int64], RGB, list[Future[None]]]] = deque()
    try:
        for first in range(0, len(numbers), batch):
            part = numbers[first : first + batch]
            coming.append((part, *walk.start(first, len(part))))
            if len(coming) > AHEAD:
                yield _finished(*coming.popleft())
        walk.start_held()
        while coming:
            yield _finished(*coming.popleft())
    finally:
        walk.stop()


def _finished(
    numbers: NDArray[np.int64], tiles: RGB, tasks: list[Future[None]]
) -> tuple[NDArray[np.int64], RGB]:
    for task in tasks:
        task.result()
    return numbers, tiles


class _Walk:
    """The tasks of one walk."""

    def __init__(self, slide: Readable, grid: TileGrid, numbers: NDArray[np.int64]) -> None:
        self._slide, self._plan = slide, grid.plan
        self._level = slide.levels[grid.plan.level]
        self._corners = grid.level_origins(self._level.downsample)[numbers].tolist()
        self._step = max(1, min(TILES_A_TASK, BYTES_A_TASK // (3 * grid.plan.size**2)))
        self._window = _Window(slide, grid.plan.level, self._corners, grid.plan.size)
        self._batches: list[RGB] = []
        self._asked = np.zeros(self._level.segments, bool)
        self._held: tuple[RGB, int, list[Future[None]]] | None = None
        self._tasks: deque[Future[None]] = deque()
        self._stopped = threading.Event()

    def start(self, first: int, count: int) -> tuple[RGB, list[Future[None]]]:
        """Start to read `count` tiles; they are there when all of the futures are done."""
        tiles = self._batch(count)
        filling: list[Future[None]] = []
        for begin in range(0, count, self._step):
            part = tiles[begin : begin + self._step]
            self._decode_ahead(first + begin, len(part))
            self.start_held()
            self._held = part, first + begin, filling
        return tiles, filling

    def _batch(self, count: int) -> RGB:
        # What nobody but the list and this loop holds any more, not even by a view, is used again.
        for batch in self._batches:
            if len(batch) >= count and sys.getrefcount(batch) <= 3:
                return batch[:count]
        side = self._plan.tile_px
        self._batches.append(np.empty((count, side, side, 3), np.uint8))
        del self._batches[:-MOST_BATCHES]
        return self._batches[-1][:]

    def start_held(self) -> None:
        """Start what is held back until the segments of the tiles behind it are asked for."""
        if self._held is not None:
            part, first, filling = self._held
            filling.append(self._submit(self._fill, part, first))
            self._held = None

    def stop(self) -> None:
        """Let no task begin any more, and wait for those that are at it."""
        self._stopped.set()
        for task in self._tasks:
            if not task.cancel():
                task.exception()

    def _submit(self, work: object, *arguments: object) -> Future[None]:
        while self._tasks and self._tasks[0].done():
            self._tasks.popleft()
        task: Future[None] = decoders().submit(work, *arguments)  # type: ignore[arg-type]
        self._tasks.append(task)
        return task

    def _decode_ahead(self, first: int, count: int) -> None:
        size, new = self._plan.size, []
        for y, x in self._corners[first : first + count]:
            for place in segments_of(self._level, y, x, size, size):
                if not self._asked[place]:
                    self._asked[place] = True
                    new.append(place)
        for begin in range(0, len(new), SEGMENTS_A_TASK):
            self._submit(self._decode, new[begin : begin + SEGMENTS_A_TASK])

    def _decode(self, places: Sequence[tuple[int, int]]) -> None:
        for place in places:
            if self._stopped.is_set():
                return
            with contextlib.suppress(SlideError):  # raised again where a tile needs it
                self._window.segment(*place)

    def _fill(self, tiles: RGB, first: int) -> None:
        plan, segment = self._plan, self._window.segment
        square = np.empty((plan.size, plan.size, 3), np.uint8)
        for tile, (y, x) in zip(tiles, self._corners[first : first + len(tiles)], strict=True):
            if self._stopped.is_set():
                return
            if plan.size == plan.tile_px:
                assemble(tile, self._level, y, x, segment)
            else:
                assemble(square, self._level, y, x, segment)
                tile[:] = resize(square, plan.tile_px, plan.tile_px)
            self._window.leave(y, x)


class _Window:
    """The segments that tiles of a walk still need.

    Parameters
    ----------
    slide : Readable
    level : int
    corners : list of (y, x)
        Of all tiles of the walk, in pixels of the level.
    size : int
        Side of the tiles in such pixels.
    """

    def __init__(self, slide: Readable, level: int, corners: list[list[int]], size: int) -> None:
        self._slide, self._number, self._size = slide, level, size
        self._level = slide.levels[level]
        self._left = Counter(
            place for y, x in corners for place in segments_of(self._level, y, x, size, size)
        )
        self._cache = SegmentCache(MOST_BYTES)
        self._free: deque[RGB] = deque()
        self._lock = threading.Lock()

    def segment(self, row: int, col: int) -> RGB:
        """Return a segment, decoded at the first call."""
        segment = self._cache.peek((row, col))
        if segment is None:
            segment = self._cache.get((row, col), partial(self._decode, row, col))
        return segment

    def leave(self, y: int, x: int) -> None:
        """A tile is there; segments that no other needs are let go of."""
        with self._lock:
            for place in segments_of(self._level, y, x, self._size, self._size):
                self._left[place] -= 1
                if not self._left[place]:
                    segment = self._cache.take(place)
                    if segment is not None and segment.flags.owndata:
                        segment.setflags(write=True)
                        self._free.append(segment)

    def _decode(self, row: int, col: int) -> RGB:
        try:
            memory = self._free.pop()
        except IndexError:
            memory = np.empty((*self._level.tile_shape, 3), np.uint8)
        return self._slide.segment_into(memory, self._number, row, col)
