"""Which tiles are embedded first: those that the user looks at, then their neighbours."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ..core.tiles import TileGrid

RINGS = 8
"""Tiles up to so many sides away from the view go by their distance; what is farther away goes in
file order, which is read fastest."""


class TileOrder:
    """Puts the tiles of a grid in order; any thread may say where the user looks now.

    Parameters
    ----------
    grid : TileGrid

    Attributes
    ----------
    turn : int
        Counts how often the view has moved: work that was ordered in another turn is outdated.
    """

    def __init__(self, grid: TileGrid) -> None:
        self.turn = 0
        self._centers, self._side = grid.centers, grid.side
        self._view: tuple[float, float, float, float] | None = None
        self._lock = threading.Lock()

    def look(self, top: float, left: float, bottom: float, right: float) -> None:
        """The user sees this rectangle now, in level-0 pixels."""
        with self._lock:
            if self._view != (top, left, bottom, right):
                self._view = top, left, bottom, right
                self.turn += 1

    def sort(self, tiles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put ``(M,)`` numbers of tiles in order, the most urgent first."""
        tiles = np.sort(tiles)
        return tiles[np.argsort(self._rings(tiles), kind="stable")]

    def visible(self, tiles: NDArray[np.int64]) -> bool:
        """Whether any of these tiles is in view."""
        return self._view is not None and bool((self._rings(tiles) == 0).any())

    def _rings(self, tiles: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many sides of a tile each lies outside the view: ``(M,)``, 0 for in view."""
        with self._lock:
            view = self._view
        if view is None:
            return np.full(len(tiles), RINGS)
        corners = np.asarray(view).reshape(2, 2)
        centers = self._centers[tiles]
        outside = np.maximum(corners[0] - centers, centers - corners[1]).max(1, initial=0)
        rings = np.ceil(np.maximum(outside / self._side - 0.5, 0))
        limited: NDArray[np.int64] = np.minimum(rings, RINGS).astype(np.int64)
        return limited


class GivenOrder:
    """Takes tiles as somebody has ordered them.

    Parameters
    ----------
    tiles : ndarray
        ``(M,)`` numbers, the most urgent first.
    """

    turn = 0

    def __init__(self, tiles: NDArray[np.integer]) -> None:
        self.tiles = np.asarray(tiles, np.int64)

    def sort(self, tiles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put ``(M,)`` numbers of tiles in order; those that were not given are left out."""
        return self.tiles[np.isin(self.tiles, tiles)]

    def visible(self, tiles: NDArray[np.int64]) -> bool:
        """Nobody looks."""
        return False
