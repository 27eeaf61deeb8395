"""Where an annotation layer has objects already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..io.masks import AnnotationLayer
from .candidate import Candidate

MOSTLY = 0.5
"""A candidate of which more than this part lies on objects is one of them."""

READ_PX = 1024
"""Of a larger place a coarser level is read."""


class Taken:
    """Says what of a layer is an object's already; nothing without a layer.

    Parameters
    ----------
    layer : AnnotationLayer or None
    """

    def __init__(self, layer: AnnotationLayer | None) -> None:
        self._layer = layer if layer is not None and layer.objects else None

    def holds(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of ``(K, 2)`` points ``(y, x)``, level-0 pixels, lie on an object: ``(K,)``."""
        if self._layer is None or not len(points):
            return np.zeros(len(points), bool)
        level = self._level(float(np.ptp(points, axis=0).max()))
        pixels = np.floor(points / 2**level).astype(np.int64)
        (y, x), (bottom, right) = pixels.min(0), pixels.max(0)
        ids = self._layer.read(level, int(y), int(x), int(bottom - y + 1), int(right - x + 1))
        on: NDArray[np.bool_] = ids[tuple((pixels - (y, x)).T)] > 0
        return on

    def covers(self, candidate: Candidate) -> bool:
        """Whether a candidate lies mostly on objects."""
        if self._layer is None:
            return False
        level = self._level(candidate.size or 0.0)
        y, x, mask = candidate.mask_at(2**level)
        there = self._layer.read(level, y, x, *mask.shape) > 0
        return bool(np.count_nonzero(there & mask) > MOSTLY * np.count_nonzero(mask))

    def _level(self, extent: float) -> int:
        """Finest level at which so many level-0 pixels are few enough."""
        level = 0
        while self._layer and extent / 2**level > READ_PX and level < len(self._layer.levels) - 1:
            level += 1
        return level
