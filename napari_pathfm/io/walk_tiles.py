"""The tiles of a walk over a grid, from their first segment until they are handed out."""

from __future__ import annotations

import threading
from functools import lru_cache

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
        self._cuts = tuple(_cuts(side, plan.size) for side in level.tile_shape)
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
            self._tiles[tile][:] = self._squares[tile][:] = 255
        self._begun = max(self._begun, last + 1)

    def square(self, tile: int) -> RGB:
        """Return where the pixels of a tile are to be, ``(size, size, 3)`` uint8."""
        return self._squares[tile]

    def put(self, segment: RGB, row: int, col: int, tiles: list[int]) -> None:
        """Copy a segment to where it lies in tiles that it touches."""
        # Some 10 us of Python a segment, while decoding it takes 80: each look-up counts.
        (rows, cols), squares, tops, lefts = self._cuts, self._squares, self._tops, self._lefts
        y, x = row * self._side[0], col * self._side[1]
        for tile in tiles:
            to_rows, from_rows = rows[y - tops[tile]]
            to_cols, from_cols = cols[x - lefts[tile]]
            square = squares[tile]
            square[to_rows, to_cols] = segment[from_rows, from_cols]
            if self._resized and self._complete(tile):
                self._tiles[tile][:] = resize(square, self._plan.tile_px, self._plan.tile_px)

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


@lru_cache(8)
def _cuts(side: int, size: int) -> list[tuple[slice, slice]]:
    """Which part of a tile a segment fills, and which part of the segment that is, on one axis.

    The index is where the segment begins in the tile, negative where it begins before it.
    """
    inside = [(slice(begin, begin + side), slice(0, size - begin)) for begin in range(size)]
    before = [(slice(0, side - cut), slice(cut, cut + size)) for cut in range(side - 1, 0, -1)]
    return inside + before


class _Pieces(dict[int, RGB]):
    """Squares of one size by their number, of which so many lie in one piece of memory."""

    def __init__(self, total: int, count: int, side: int) -> None:
        super().__init__()
        self._total, self._count, self._side = total, count, side
        self._begun = 0
        self._held: dict[int, RGB] = {}

    def make_room(self, last: int) -> None:
        """Have memory up to the square with the number `last`."""
        for piece in range(self._begun, last // self._count + 1):
            count = min(self._count, self._total - piece * self._count)
            memory = recycler().take(count, self._side, self._side, 3)
            self._held[piece] = memory
            self.update(enumerate(memory, piece * self._count))
            self._begun += 1

    def take(self, first: int) -> RGB:
        """Hand out the piece that begins with the square `first`."""
        piece = self._held.pop(first // self._count)
        for number in range(first, first + len(piece)):
            del self[number]  # or its view would keep the memory
        return piece
