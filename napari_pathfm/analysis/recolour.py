"""Changing the colours of many pixels, in pieces that fit into the processor's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

PIECE = 8192
"""Pixels that are worked on at a time: some 100 KiB of float32."""


class Recolour(Protocol):
    """Gives pixels other colours."""

    def __call__(self, pixels: Pixels, out: Pixels | None = None) -> Pixels:
        """Return as many pixels ``(..., 3)`` uint8 as are given, in `out` if that is there."""


def in_pieces(recolour: Callable[[Pixels], NDArray[np.float32]]) -> Recolour:
    """Make a function of ``(N, 3)`` pixels, whose results are 0 to 255 or beyond, one of images."""

    def image(pixels: Pixels, out: Pixels | None = None) -> Pixels:
        made = np.empty(pixels.shape, np.uint8) if out is None else out
        source, target = pixels.reshape(-1, 3), made.reshape(-1, 3)
        for start in range(0, len(source), PIECE):
            part = slice(start, start + PIECE)
            colours = recolour(source[part])
            np.rint(np.clip(colours, 0, 255, out=colours), out=colours)
            target[part] = colours
        return made

    return image
