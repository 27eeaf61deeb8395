"""The first tiles of a slide, read while another slide is embedded."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB
from ..core.tiles import TileGrid
from ..io.reader import SlideReader

FIRST_TILES, FIRST_BYTES = 64, 64 << 20
"""As many tiles as a card works on while the next ones are decoded; fewer of large ones."""


class FirstTiles:
    """A :class:`~.embed.TileSource` that has some tiles already; they are given out once.

    Parameters
    ----------
    slide : SlideReader
        For all others; whoever has it closes it.
    numbers : ndarray
        ``(N,)`` int64: the tiles that were read.
    tiles : ndarray
        ``(N, tile_px, tile_px, 3)`` uint8.
    """

    def __init__(self, slide: SlideReader, numbers: NDArray[np.int64], tiles: RGB) -> None:
        self._slide, self._numbers, self._tiles = slide, numbers, tiles

    def tiles(
        self, grid: TileGrid, order: NDArray[np.integer] | None = None, batch: int = 32
    ) -> Generator[tuple[NDArray[np.int64], RGB], None, None]:
        """Walk over a grid as a slide does, beginning with the tiles that are there.

        Only where all of them are wanted; else they are forgotten.
        """
        wanted = np.arange(len(grid)) if order is None else np.asarray(order, np.int64)
        numbers, tiles = self._numbers, self._tiles
        self._numbers, self._tiles = numbers[:0], tiles[:0]
        if np.isin(numbers, wanted).all():
            wanted = wanted[~np.isin(wanted, numbers)]
        else:
            numbers = numbers[:0]
        with (
            closing(self._slide.tiles(grid, wanted, batch)) as rest,
            ThreadPoolExecutor(1, "first-tiles") as thread,
        ):
            coming = thread.submit(next, rest, None)  # decoding begins now
            for start in range(0, len(numbers), batch):
                yield numbers[start : start + batch], tiles[start : start + batch]
            following = coming.result()
            while following is not None:
                yield following
                following = next(rest, None)


def read_first(slide: SlideReader, grid: TileGrid) -> FirstTiles:
    """Read the first tiles of a grid in file order.

    Raises
    ------
    SlideError
        A segment is damaged.
    """
    tile = 3 * grid.spec.tile_px**2
    count = max(1, min(len(grid), FIRST_TILES, FIRST_BYTES // tile))
    with closing(slide.tiles(grid, np.arange(count), count)) as reader:
        return FirstTiles(slide, *next(reader))
