"""Levels of a slide as arrays for the window: reading them never waits for a decoder."""

from __future__ import annotations

import math
import operator
from types import EllipsisType
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB
from ..core.tiles import coarser_pixels, segments_of
from .loader import SegmentLoader
from .reader import SlideReader

CHUNK = 256
"""Pixels along which viewers take more or less of a level, about: as many whole segments.

With chunks twice as large they take a third more pixels, which all go through the graphics driver.
"""

AROUND = 512
"""Pixels around a view that are read when it is there, should it move on."""

LARGEST = 64_000_000
"""Pixels of the largest region that is handed out in one piece."""

PINNED = 2_000_000
"""Pixels up to which a level is held in memory completely (the coarsest always is)."""

OPENING_SECONDS = 1.0
"""How long opening waits at most for the coarsest levels; what is missing comes later."""

Index = SupportsIndex | slice | EllipsisType


def live_levels(slide: SlideReader) -> tuple[list[LevelArray], SegmentLoader]:
    """Return a slide's levels as arrays for a multiscale image layer, and what fills them.

    The coarsest levels are decoded now, so that there is something to show everywhere; where the
    file has none, a sketch of them.

    Returns
    -------
    levels : list of LevelArray
        From the finest to the coarsest.
    loader : SegmentLoader
        Belongs to the caller, who closes it with the layer.
    """
    loader = SegmentLoader(slide)
    coarsest = len(slide.levels) - 1
    loader.pin(
        *(n for n, level in enumerate(slide.levels) if math.prod(level.shape) <= PINNED), coarsest
    )
    levels: list[LevelArray] = []
    for number in range(coarsest, -1, -1):
        levels.append(LevelArray(slide, number, loader, levels[-1] if levels else None))
    loader.wait_for_overview(OPENING_SECONDS)
    return levels[::-1], loader


class LevelArray:
    """One level as a read-only array-like ``(h, w, 3)`` uint8.

    Indexing answers with what is in the cache and, where that is missing, with the next coarser
    level enlarged, and asks the loader for it: at once, but for the loader's patience. So the same
    index gives a sharper answer later; the loader's ``loaded`` signal says when.

    Parameters
    ----------
    slide : SlideReader
    level : int
    loader : SegmentLoader
    coarser : LevelArray, optional
        The next coarser level; without one this level has to be pinned in the loader.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self,
        slide: SlideReader,
        level: int,
        loader: SegmentLoader,
        coarser: LevelArray | None = None,
    ) -> None:
        self.level = level
        self._facts = slide.levels[level]
        self._loader, self._coarser = loader, coarser
        self.shape = (*self._facts.shape, 3)
        self.chunks = (*map(_chunk, self._facts.tile_shape), 3)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"<LevelArray level {self.level} {self.shape}>"

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        # napari keeps the coarsest level that it got first: it is the memory that is filled in.
        whole = None if copy else self._loader.pinned(self.level)
        if whole is None:
            return np.asarray(self[:, :], dtype)
        live = whole.view()
        live.setflags(write=False)
        return live.astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Index | tuple[Index, ...]) -> NDArray[np.uint8]:
        """Return what is there now; never decodes.

        Raises
        ------
        ValueError
            More than 64 Mpx are asked for at once.
        IndexError
            The index is neither whole numbers nor slices.
        """
        (rows, row_rest), (cols, col_rest), channels = self._ranges(key)
        if len(rows) * len(cols) > LARGEST:
            raise ValueError(
                f"{len(rows)} x {len(cols)} pixels are too many to be read in one piece. "
                "Take a smaller region or a coarser level."
            )
        region = self.region(rows.start, cols.start, len(rows), len(cols))
        part: NDArray[np.uint8] = region[row_rest, col_rest, channels]
        return part

    def region(self, y: int, x: int, height: int, width: int) -> RGB:
        """Return a region inside the level as it is now, and ask for what is missing.

        What lies around it is read after that: a view that moves on finds it there.
        """
        around = y - AROUND, x - AROUND, height + 2 * AROUND, width + 2 * AROUND
        missing = self._missing(y, x, height, width)
        self._loader.request(self.level, missing, self._missing(*around))
        self._loader.soon()
        out, missing = self._now(y, x, height, width)
        self._loader.lacking = bool(missing or self._loader.lacking)
        return out

    def sharp(self, y: int, x: int, height: int, width: int) -> bool:
        """Whether all of a region is there (in pixels of this level); asks for nothing."""
        return not self._missing(y, x, height, width)

    def _missing(self, y: int, x: int, height: int, width: int) -> list[tuple[int, int]]:
        return [
            place
            for place in segments_of(self._facts, y, x, height, width)
            if not self._loader.has(self.level, *place)
        ]

    def _now(self, y: int, x: int, height: int, width: int) -> tuple[RGB, list[tuple[int, int]]]:
        whole = self._loader.pinned(self.level)
        if whole is not None:
            missing = self._missing(y, x, height, width)
            return whole[y : y + height, x : x + width].copy(), missing
        out = np.empty((height, width, 3), np.uint8)
        missing = []
        for row, col in segments_of(self._facts, y, x, height, width):
            inside, offset = self._overlap(row, col, y, x, height, width)
            segment = self._loader.peek(self.level, row, col)
            if segment is None:
                missing.append((row, col))
            else:
                out[inside] = segment[offset]
        if missing:
            self._enlarge(out, y, x, missing)
        return out, missing

    def _overlap(
        self, row: int, col: int, y: int, x: int, height: int, width: int
    ) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        # Where a segment lies in a region, and which part of the segment that is.
        tile_height, tile_width = self._facts.tile_shape
        top, left = row * tile_height, col * tile_width
        y0, y1 = max(y, top), min(y + height, top + tile_height)
        x0, x1 = max(x, left), min(x + width, left + tile_width)
        return (
            (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)),
            (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)),
        )

    def _enlarge(self, out: RGB, y: int, x: int, missing: list[tuple[int, int]]) -> None:
        coarser = self._coarser
        if coarser is None:
            return
        boxes = [self._overlap(row, col, y, x, *out.shape[:2])[0] for row, col in missing]
        top, left = (min(box[axis].start for box in boxes) for axis in (0, 1))
        bottom, right = (max(box[axis].stop for box in boxes) for axis in (0, 1))
        rows = self._pixels_of(coarser, 0, y + top, y + bottom)
        cols = self._pixels_of(coarser, 1, x + left, x + right)
        extent = rows[-1] + 1 - rows[0], cols[-1] + 1 - cols[0]
        below, _ = coarser._now(int(rows[0]), int(cols[0]), *map(int, extent))
        rows, cols = rows - rows[0], cols - cols[0]
        for down, across in boxes:  # one by one, which stays in the processor's cache
            y0, x0 = rows[down.start - top], cols[across.start - left]
            ys = rows[down.start - top : down.stop - top] - y0
            xs = cols[across.start - left : across.stop - left] - x0
            small = below[y0 : y0 + ys[-1] + 1, x0 : x0 + xs[-1] + 1]
            out[down, across] = small.take(xs, axis=1).take(ys, axis=0)

    def _pixels_of(
        self, coarser: LevelArray, axis: int, start: int, stop: int
    ) -> NDArray[np.int64]:
        downsamples = self._facts.downsample, coarser._facts.downsample
        return coarser_pixels(start, stop, *downsamples, coarser.shape[axis])

    def _ranges(
        self, key: Index | tuple[Index, ...]
    ) -> tuple[tuple[range, Any], tuple[range, Any], Any]:
        # What to read of rows and columns, each with what is left to be applied to that, and the
        # index of the channels.
        keys: list[Any] = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            place = keys.index(Ellipsis)
            keys[place : place + 1] = [slice(None)] * (4 - len(keys))
        keys += [slice(None)] * (3 - len(keys))
        if len(keys) != 3 or Ellipsis in keys:
            raise IndexError("a level has 3 axes, and an index may hold one ellipsis")
        return _range(keys[0], self.shape[0]), _range(keys[1], self.shape[1]), keys[2]


def _chunk(side: int) -> int:
    return 2 * CHUNK if side > 2 * CHUNK else side * max(1, CHUNK // side)


def _range(key: Any, length: int) -> tuple[range, Any]:
    if isinstance(key, slice):
        start, stop, step = key.indices(length)
        if step < 1:
            raise IndexError("a level can only be read forwards; turn the result round instead")
        return range(start, max(start, stop)), slice(None, None, step)
    number = operator.index(key)
    if not -length <= number < length:
        raise IndexError(f"index {number} lies outside an axis of {length}")
    return range(number % length, number % length + 1), 0
