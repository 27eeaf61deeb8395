"""Walking over the tiles of a grid, some tiles ahead of whoever uses them.

Two kinds of short tasks run in the same threads: some decode segments into the cache, each segment
of the walk once; others, a step behind, put tiles together from what is then in the cache. So no
thread waits for a segment that another one is decoding. Decoding ahead is only a hint: a tile
whose segment has been thrown out of the cache again reads it itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB, Level, SlideError
from ..core.threads import be_polite, reader_threads
from ..core.tiles import TileGrid, segments_of

AHEAD = 3
"""Batches that are being read while one is used."""

TILES_A_TASK = 16
"""Tiles that one task puts together, at most."""

BYTES_A_TASK = 16 * 1024**2
"""What these tiles may take before they are resized; several tasks are under way."""

SEGMENTS_A_TASK = 8


class Readable(Protocol):
    """What a walk needs of a slide."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """Of the pyramid."""

    def segment(self, level: int, row: int, col: int) -> RGB:
        """Bring a segment into the cache."""

    def read_into(self, out: RGB, level: int, y: int, x: int) -> None:
        """Fill `out` with the region whose corner is ``(y, x)`` in pixels of `level`."""


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
        self._asked = np.zeros(self._level.segments, bool)
        self._held: tuple[RGB, int, list[Future[None]]] | None = None
        self._tasks: deque[Future[None]] = deque()
        self._stopped = threading.Event()

    def start(self, first: int, count: int) -> tuple[RGB, list[Future[None]]]:
        """Start to read `count` tiles; they are there when all of the futures are done."""
        side = self._plan.tile_px
        tiles = np.empty((count, side, side, 3), np.uint8)
        filling: list[Future[None]] = []
        for begin in range(0, count, self._step):
            part = tiles[begin : begin + self._step]
            self._decode_ahead(first + begin, len(part))
            self.start_held()
            self._held = part, first + begin, filling
        return tiles, filling

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
                self._slide.segment(self._plan.level, *place)

    def _fill(self, tiles: RGB, first: int) -> None:
        plan = self._plan
        square = np.empty((plan.size, plan.size, 3), np.uint8)
        for tile, (y, x) in zip(tiles, self._corners[first : first + len(tiles)], strict=True):
            if self._stopped.is_set():
                return
            if plan.size == plan.tile_px:
                self._slide.read_into(tile, plan.level, y, x)
            else:
                self._slide.read_into(square, plan.level, y, x)
                tile[:] = resize(square, plan.tile_px, plan.tile_px)


def resize(image: RGB, height: int, width: int) -> RGB:
    """Shrink or enlarge an ``(h, w, 3)`` uint8 image, antialiased (Pillow, without the GIL)."""
    from PIL import Image

    size = (width, height)
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)
