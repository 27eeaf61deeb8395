"""A rough picture of a slide without a pyramid, at once; the true one takes all of its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from ..core.slide import RGB, Level, SlideError

STEPS = (64, 32, 16, 8, 4)
"""One segment of so many is looked at along y and x, pass by pass."""

MOST = 2500
"""Segments of a pass; a finer one is left out."""


class Stored(Protocol):
    """What is needed of a slide."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest to the coarsest."""

    @property
    def stored_levels(self) -> int:
        """How many of them are in the file."""

    def segment(self, level: int, row: int, col: int) -> RGB:
        """Decode one segment, ``(*tile_shape, 3)`` uint8."""


class Sketch:
    """Paints coarse levels from few of the segments that they are made of, from coarse to fine.

    Parameters
    ----------
    slide : Stored
    pictures : mapping
        Pictures to paint, ``(h, w, 3)`` uint8 each, by their level.

    Attributes
    ----------
    rough : bool
        Whether all of the slide has been painted at least once.
    """

    def __init__(self, slide: Stored, pictures: Mapping[int, RGB]) -> None:
        self._slide, self._pictures = slide, pictures
        self._level = slide.stored_levels - 1
        self.rough = False
        self._steps = self._paint()

    def step(self) -> bool:
        """Look at one more segment; ``False`` if that was all."""
        return next(self._steps, False)

    def _paint(self) -> Iterator[bool]:
        rows, cols = self._slide.levels[self._level].segments
        for step in STEPS:
            if -(-rows // step) * -(-cols // step) > MOST:
                break
            for row in range(0, rows, step):
                for col in range(0, cols, step):
                    self._fill(row, col, step)
                    yield True
            self.rough = True

    def _fill(self, row: int, col: int, step: int) -> None:
        # The segment in the middle of a square stands for all of it.
        stored = self._slide.levels[self._level]
        tile, (rows, cols) = np.array(stored.tile_shape), stored.segments
        middle = min(row + step // 2, rows - 1), min(col + step // 2, cols - 1)
        height, width = np.array(stored.shape) - middle * tile  # of the slide in that segment
        try:
            segment = self._slide.segment(self._level, *middle)
        except SlideError:  # noted in slide.damage
            return
        colour = segment[:height, :width].mean((0, 1))
        for level, picture in self._pictures.items():
            scale = stored.downsample / self._slide.levels[level].downsample
            y0, x0 = np.round(tile * (row, col) * scale).astype(int)
            y1, x1 = np.round(tile * (row + step, col + step) * scale).astype(int)
            picture[y0:y1, x0:x1] = colour
