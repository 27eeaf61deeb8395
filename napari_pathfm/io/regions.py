"""Putting regions together from segments, and resizing them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.slide import RGB, Level


def assemble(out: RGB, level: Level, y: int, x: int, segment: Callable[[int, int], RGB]) -> None:
    """Fill `out`, ``(h, w, 3)`` uint8, with the region of a level whose corner is ``(y, x)``.

    Parameters
    ----------
    out : ndarray
    level : Level
    y, x : int
        Pixels of the level; outside it is white.
    segment : callable
        ``segment(row, col)`` gives a segment, ``(*tile_shape, 3)`` uint8.
    """
    (height, width), (tile_height, tile_width) = level.shape, level.tile_shape
    bottom, right = min(y + out.shape[0], height), min(x + out.shape[1], width)
    if y < 0 or x < 0 or bottom < y + out.shape[0] or right < x + out.shape[1]:
        out.fill(255)
    if bottom <= max(y, 0) or right <= max(x, 0):
        return
    for row in range(max(y, 0) // tile_height, -(-bottom // tile_height)):
        top = row * tile_height
        y0, y1 = max(y, top), min(bottom, top + tile_height)
        for col in range(max(x, 0) // tile_width, -(-right // tile_width)):
            left = col * tile_width
            x0, x1 = max(x, left), min(right, left + tile_width)
            out[y0 - y : y1 - y, x0 - x : x1 - x] = segment(row, col)[
                y0 - top : y1 - top, x0 - left : x1 - left
            ]


def resize(image: RGB, height: int, width: int) -> RGB:
    """Shrink or enlarge an ``(h, w, 3)`` uint8 image, antialiased (Pillow, without the GIL)."""
    from PIL import Image

    size = (width, height)
    resized = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(resized)
