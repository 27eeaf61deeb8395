"""Coarser levels for slides that lack them, averaged when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from PIL import Image

from ...core.slide import RGB, Level, SlideError
from .base import Backend, white, white_outside

COARSEST = 1024
"""Levels are added until the longer side is at most this, in pixels."""

MOST_WITHOUT_LEVELS = 2**34
"""Pixels of a slide whose coarser levels can still be made here: minutes of decoding."""

Stop = Callable[[], bool]
"""Whether nobody waits for a segment any more."""


class Stopped(Exception):
    """Nobody waits any more for a segment that is made of many others."""


class Segment(Protocol):
    """Reads a segment through the cache."""

    def __call__(self, level: int, row: int, col: int, stop: Stop | None) -> RGB:
        """Return it, ``(*tile_shape, 3)`` uint8."""


class PyramidBackend:
    """Another backend's slide with the coarser levels that it does not have.

    Each added level halves the one before: a pixel is the mean of 2 x 2, its downsample exactly
    twice as large, and an odd last row or column is left out.

    Parameters
    ----------
    backend : Backend
        The slide as it is stored.
    segment : callable
        Reads the finer segments that are averaged, through the cache.

    Raises
    ------
    SlideError
        It has so many pixels and so few levels that nobody can look at the whole of it.
    """

    def __init__(self, backend: Backend, segment: Segment) -> None:
        self._backend, self._segment = backend, segment
        self.stored_levels = len(backend.levels)
        height, width = backend.levels[-1].shape
        if height * width > MOST_WITHOUT_LEVELS:
            raise SlideError(
                f"its coarsest level claims to be {height} x {width} pixels large: too many to be "
                "shown. Save it as a pyramid, or copy it again if it should be one."
            )
        self.name, self.content = backend.name, backend.content
        self.levels = backend.levels + tuple(missing_levels(backend.levels[-1]))
        self.mpp = backend.mpp
        self.properties = backend.properties
        self.icc_profile = backend.icc_profile
        self.associated_images = backend.associated_images
        self.associated = backend.associated
        self.close = backend.close

    def segment(
        self, level: int, row: int, col: int, out: RGB | None = None, stop: Stop | None = None
    ) -> RGB:
        """See :meth:`Backend.segment`.

        Raises
        ------
        Stopped
            `stop` said so before all finer segments were there.
        """
        if level < self.stored_levels:
            return self._backend.segment(level, row, col, out)
        here, finer = self.levels[level], self.levels[level - 1]
        height, width = (side // 2 for side in here.tile_shape)
        mean = white(here)
        rows, cols = finer.segments
        for r in range(2 * row, min(2 * row + 2, rows)):
            for c in range(2 * col, min(2 * col + 2, cols)):
                if stop is not None and stop():
                    raise Stopped
                y, x = (r - 2 * row) * height, (c - 2 * col) * width
                mean[y : y + height, x : x + width] = halve(self._segment(level - 1, r, c, stop))
        return white_outside(mean, here, row, col)


def missing_levels(coarsest: Level) -> list[Level]:
    """Return the levels to add below `coarsest`."""
    added: list[Level] = []
    level = coarsest
    while max(level.shape) > COARSEST and not any(side % 2 for side in level.tile_shape):
        height, width = level.shape
        level = Level(
            (max(1, height // 2), max(1, width // 2)), level.downsample * 2, level.tile_shape
        )
        added.append(level)
    return added


def halve(image: RGB) -> RGB:
    """Average 2 x 2 pixels of an ``(h, w, 3)`` uint8 image with even sides, rounding to nearest."""
    # numpy's sums over every second pixel take two and a half times as long.
    return np.asarray(Image.fromarray(image).reduce(2))
