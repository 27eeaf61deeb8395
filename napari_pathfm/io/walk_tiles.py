"""The tiles of a walk over a grid, from their first segment until they are handed out."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB, Level
from ..core.tiles import TilePlan
from .memory import recycler
from .regions import resize


class WalkTiles:
    """Puts tiles together out of segments that come in any order, from any thread.

    Parameters
    ----------
    level : Level
    corners : ndarray
        ``(N, 2)`` ``(y, x)`` of the tiles in the order of the walk, in pixels of the level.
    plan : TilePlan
    batch : int
        Tiles that lie in one piece of memory.
    counts : list of int
        How many segments each tile needs.

    Attributes
    ----------
    are_segments : bool
        Whether each tile is exactly one segment, and can be decoded straight into its place.
    """

    def __init__(
        self,
        level: Level,
        corners: NDArray[np.int64],
        plan: TilePlan,
        batch: int,
        counts: list[int],
    ) -> None:
        self._plan, self._batch, self._side, self._missing = plan, batch, level.tile_shape, counts
        self._tops, self._lefts = corners.T.tolist()
        outside = ((corners < 0) | (corners + plan.size > level.shape)).any(1)
        self._over_edge = np.flatnonzero(outside)
        self._resized = plan.size != plan.tile_px
        self.are_segments = self._side == (plan.size, plan.size) and not (
            self._resized or (corners % plan.size).any()
        )
        # By number of the batch; where tiles are resized, squares are what they are made of.
        self._tiles: dict[int, RGB] = {}
        self._squares: dict[int, RGB] = {} if self._resized else self._tiles
        self._begun = 0  # batches that have memory, or had it
        self._lock = threading.Lock()

    def make_room(self, last: int) -> None:
        """Have memory for all tiles up to the `last`."""
        for number in range(self._begun, last // self._batch + 1):
            first = number * self._batch
            count = min(self._batch, len(self._tops) - first)
            self._tiles[number] = self._new(count, self._plan.tile_px)
            if self._resized:
                self._squares[number] = self._new(count, self._plan.size)
            begin, end = self._over_edge.searchsorted((first, first + count))
            for tile in self._over_edge[begin:end]:
                self._tiles[number][tile - first] = self._squares[number][tile - first] = 255
            self._begun += 1

    @staticmethod
    def _new(count: int, side: int) -> RGB:
        return recycler().take(count, side, side, 3)

    def square(self, tile: int) -> RGB:
        """Return where the pixels of a tile are to be, ``(size, size, 3)`` uint8."""
        batch, number = divmod(tile, self._batch)
        square: RGB = self._squares[batch][number]
        return square

    def put(self, segment: RGB, row: int, col: int, tiles: list[int]) -> None:
        """Copy a segment to where it lies in tiles that it touches."""
        (height, width), size = self._side, self._plan.size
        y, x = row * height, col * width
        for tile in tiles:
            top, left = y - self._tops[tile], x - self._lefts[tile]
            square = self.square(tile)
            square[max(top, 0) : top + height, max(left, 0) : left + width] = segment[
                max(-top, 0) : size - top, max(-left, 0) : size - left
            ]
            if self._resized and self._complete(tile):
                side = self._plan.tile_px
                batch, number = divmod(tile, self._batch)
                self._tiles[batch][number] = resize(square, side, side)

    def _complete(self, tile: int) -> bool:
        with self._lock:
            self._missing[tile] -= 1
            return not self._missing[tile]

    def take(self, number: int) -> RGB:
        """Hand out a batch."""
        if self._resized:
            del self._squares[number]
        return self._tiles.pop(number)
