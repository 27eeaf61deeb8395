"""Crops that show every object of a region whole, at a scale that suits objects of one size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.slide import Slide
from .crop import SMOOTH_PX, Box, Crop, least_side, read_square

LARGEST = 2.0
"""What is more than so many times as large as expected is no such object."""

OBJECT_PX = 32
"""Pixels of an object of the expected size in what the segmenter's encoder sees; about."""

FEWEST, MOST = 8.0, 16.0
"""Side of a crop in sizes of an object: between these, whatever the encoder sees."""

EDGE_PX = 4
"""Pixels of a crop that are kept free beside the largest object."""

GLASS = 225
"""A channel below this is tissue: glass is white, and every stain takes one colour away."""

ROUNDS = 3
"""Points are asked in so many rounds, widely spaced ones first."""


@dataclass(frozen=True)
class Cell:
    """The part of a region for which one crop answers.

    A crop reaches beyond its cell by the size of the largest object. So each object that holds a
    point of the cell lies wholly inside the crop, and none has to be put together at a seam.

    Attributes
    ----------
    box : Box
        Level-0 pixels; cells of a grid do not overlap.
    side : float
        Side of its crop, level-0 pixels.
    """

    box: Box
    side: float

    def read(self, slide: Slide, input_px: int) -> Crop:
        """Read the crop around it."""
        y0, x0, y1, x1 = self.box
        pixels = max(input_px, SMOOTH_PX)
        return read_square(slide, (y0 + y1) / 2, (x0 + x1) / 2, self.side, pixels)

    def holds(self, points: NDArray[np.float64], slack: float) -> NDArray[np.bool_]:
        """Which of ``(K, 2)`` points ``(y, x)`` lie in it or at most `slack` beside it: ``(K,)``.

        Points and `slack` are level-0 pixels.
        """
        low, high = np.array(self.box[:2]) - slack, np.array(self.box[2:]) + slack
        inside: NDArray[np.bool_] = np.all((points >= low) & (points < high), axis=1)
        return inside


def side_for(size: float, input_px: int) -> float:
    """Side of a crop for objects of a size, both in level-0 pixels."""
    sizes = min(max(input_px / OBJECT_PX, FEWEST), MOST)
    return max(size * sizes, least_side(input_px))


def cell_rows(region: Box, size: float, input_px: int) -> list[list[Cell]]:
    """Cut a region into cells.

    Parameters
    ----------
    region : Box
        Level-0 pixels.
    size : float
        Longer side that the box of an object is expected to have, level-0 pixels.
    input_px : int
        Side of the square that the segmenter's encoder sees.

    Returns
    -------
    list of list of Cell
        Row by row from the top.

    Raises
    ------
    ValueError
        The region is empty, or `size` is less than 2 pixels.
    """
    if not size >= 2:
        raise ValueError(f"An object has a size of at least 2 pixels, not {size:g}: enter another.")
    y0, x0, y1, x1 = region
    if y1 <= y0 or x1 <= x0:
        raise ValueError("There is nothing of the slide in this region: move the view to tissue.")
    side = side_for(size, input_px)
    edge = EDGE_PX * max(1.0, side / max(input_px, SMOOTH_PX))
    step = side - 2 * (LARGEST * size + edge)
    rows, cols = _cut(y0, y1, step), _cut(x0, x1, step)
    return [[Cell((top, left, low, right), side) for left, right in cols] for top, low in rows]


def _cut(start: float, stop: float, step: float) -> list[tuple[float, float]]:
    """As few equal parts as are no longer than `step`."""
    edges = np.linspace(start, stop, math.ceil((stop - start) / step) + 1).tolist()
    return list(itertools.pairwise(edges))


def lattice(box: Box, spacing: float) -> Iterator[NDArray[np.float64]]:
    """Points of a square lattice in a box, in :data:`ROUNDS` rounds: widely spaced ones first.

    The lattice is that of the slide, so that cells side by side share one.

    Yields
    ------
    ndarray
        ``(K, 2)`` float64 ``(y, x)``, level-0 pixels.
    """
    y0, x0, y1, x1 = box
    rows, cols = _places(y0, y1, spacing), _places(x0, x1, spacing)
    row, col = (each.ravel() for each in np.meshgrid(rows, cols, indexing="ij"))
    points = (np.stack([row, col], 1) + 0.5) * spacing
    rounds = np.where((row + col) % 2, 2, row % 2)
    for number in range(ROUNDS):
        yield points[rounds == number]


def _places(start: float, stop: float, spacing: float) -> NDArray[np.int64]:
    """Whole numbers n with ``start <= (n + 1/2) * spacing < stop``."""
    numbers = np.arange(math.floor(start / spacing) - 1, math.ceil(stop / spacing) + 1)
    at = (numbers + 0.5) * spacing
    return numbers[(at >= start) & (at < stop)]


def on_slide(region: Box, slide: Slide) -> Box:
    """Cut off what of a region lies beside the slide; level-0 pixels."""
    y0, x0, y1, x1 = region
    height, width = slide.levels[0].shape
    return max(y0, 0.0), max(x0, 0.0), min(y1, float(height)), min(x1, float(width))


def counted(rows: Sequence[Sequence[Cell]]) -> int:
    """Return the number of cells."""
    return sum(len(row) for row in rows)
