"""Where the edit window lies: the visible region and a margin, at the level that is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..io.masks import AnnotationLayer
from .view import Region

MARGIN = 0.25
"""Kept around the visible region on each side, as a part of it."""

STEP = 128
"""Sides of the window are multiples of this, so that panning keeps its shape and its texture."""


@dataclass(frozen=True)
class Place:
    """Where a window lies: upper left corner and size in pixels of a level."""

    level: int
    y: int
    x: int
    height: int
    width: int

    def holds(self, region: Region) -> bool:
        """Whether a level-0 region lies inside."""
        factor = 2**self.level
        y0, x0, y1, x1 = region
        return (
            self.y * factor <= y0
            and self.x * factor <= x0
            and y1 <= (self.y + self.height) * factor
            and x1 <= (self.x + self.width) * factor
        )

    def meets(self, region: Region) -> bool:
        """Whether it has anything in common with a level-0 region."""
        factor = 2**self.level
        y0, x0, y1, x1 = region
        return (
            self.y * factor < y1
            and self.x * factor < x1
            and (self.y + self.height) * factor > y0
            and (self.x + self.width) * factor > x0
        )


def place_for(layer: AnnotationLayer, region: Region, downsample: float) -> Place:
    """Choose level and place of the window for a visible region.

    Parameters
    ----------
    layer : AnnotationLayer
    region : tuple of float
        ``(y0, x0, y1, x1)`` level-0 pixels.
    downsample : float
        Level-0 pixels per pixel of the screen.
    """
    wanted = round(math.log2(max(downsample, 1.0)))
    level = min(wanted, len(layer.levels) - 1)
    height, width = layer.levels[level]
    y, rows = _span(region[0] / 2**level, region[2] / 2**level, height)
    x, cols = _span(region[1] / 2**level, region[3] / 2**level, width)
    return Place(level, y, x, rows, cols)


def _span(low: float, high: float, limit: int) -> tuple[int, int]:
    size = math.ceil((high - low) * (1 + 2 * MARGIN) / STEP) * STEP
    size = min(size, limit)
    start = round((low + high - size) / 2)
    return min(max(start, 0), limit - size), size


def clipped(region: Region, shape: tuple[int, int]) -> Region:
    """Keep what of a region lies on the slide."""
    y0, x0, y1, x1 = region
    return max(y0, 0), max(x0, 0), min(y1, shape[0]), min(x1, shape[1])
