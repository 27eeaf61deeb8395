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
    step : int
        The same for what tiles are made of that are resized.
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
        step: int,
        counts: list[int],
    ) -> None:
        self._plan, self._side, self._missing = plan, level.tile_shape, counts
        self._tops, self._lefts = corners.T.tolist()
        outside = ((corners < 0) | (corners + plan.size > level.shape)).any(1)
        self._over_edge = np.flatnonzero(outside)
        self._resized = plan.size != plan.tile_px
        self.are_segments = self._side == (plan.size, plan.size) and not (
            self._resized or (corners % plan.size).any()
        )
        self._tiles = _Pieces(len(corners), batch, plan.tile_px)
        self._squares = _Pieces(len(corners), step, plan.size) if self._resized else self._tiles
        self._begun = 0  # tiles that have memory, or had it
        self._lock = threading.Lock()

    def make_room(self, last: int) -> None:
        """Have memory for all tiles up to the `last`."""
        self._tiles.make_room(last)
        self._squares.make_room(last)
        begin, end = self._over_edge.searchsorted((self._begun, last + 1))
        for tile in self._over_edge[begin:end].tolist():
            self._tiles[tile] = self._squares[tile] = 255
        self._begun = max(self._begun, last + 1)

    def square(self, tile: int) -> RGB:
        """Return where the pixels of a tile are to be, ``(size, size, 3)`` uint8."""
        return self._squares[tile]

    def put(self, segment: RGB, row: int, col: int, tiles: list[int]) -> None:
        """Copy a segment to where it lies in tiles that it touches."""
        (height, width), size = self._side, self._plan.size
        y, x = row * height, col * width
        for tile in tiles:
            top, left = y - self._tops[tile], x - self._lefts[tile]
            square = self._squares[tile]
            square[max(top, 0) : top + height, max(left, 0) : left + width] = segment[
                max(-top, 0) : size - top, max(-left, 0) : size - left
            ]
            if self._resized and self._complete(tile):
                self._tiles[tile] = resize(square, self._plan.tile_px, self._plan.tile_px)

    def _complete(self, tile: int) -> bool:
        with self._lock:
            self._missing[tile] -= 1
            return not self._missing[tile]

    def finish(self, first: int) -> None:
        """All tiles of the step that begins with `first` are complete."""
        if self._resized:
            self._squares.take(first)

    def take(self, first: int) -> RGB:
        """Hand out the batch that begins with `first`."""
        return self._tiles.take(first)


class _Pieces:
    """Squares of one size, of which so many lie in one piece of memory."""

    def __init__(self, total: int, count: int, side: int) -> None:
        self._total, self._count, self._side = total, count, side
        self._begun = 0
        self._held: dict[int, RGB] = {}

    def __getitem__(self, number: int) -> RGB:
        piece, within = divmod(number, self._count)
        square: RGB = self._held[piece][within]
        return square

    def __setitem__(self, number: int, pixels: RGB | int) -> None:
        self[number][:] = pixels

    def make_room(self, last: int) -> None:
        """Have memory up to the square with the number `last`."""
        for piece in range(self._begun, last // self._count + 1):
            count = min(self._count, self._total - piece * self._count)
            self._held[piece] = recycler().take(count, self._side, self._side, 3)
            self._begun += 1

    def take(self, first: int) -> RGB:
        """Hand out the piece that begins with the square `first`."""
        return self._held.pop(first // self._count)
