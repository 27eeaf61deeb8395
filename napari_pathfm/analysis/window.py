"""Squares of a slide at any downsample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB, Slide
from ..core.tiles import level_for_downsample
from ..io.masks import AnnotationLayer


def read_window(slide: Slide, y: float, x: float, downsample: float, px: int) -> RGB:
    """Read a square exactly where it is wanted, from the next finer level.

    Parameters
    ----------
    slide : Slide
    y, x : float
        Upper left corner, level-0 pixels; may lie outside the slide.
    downsample : float
        Level-0 pixels per pixel of the answer; below 1 the slide is enlarged.
    px : int
        Side of the answer.

    Returns
    -------
    ndarray
        ``(px, px, 3)`` uint8, white outside the slide.
    """
    from PIL import Image

    level = level_for_downsample(slide.levels, max(1.0, downsample))
    scale = slide.levels[level].downsample
    top, left, side = y / scale, x / scale, px * downsample / scale
    row, col = math.floor(top), math.floor(left)
    height, width = math.ceil(top + side) - row, math.ceil(left + side) - col
    image = Image.fromarray(slide.read(level, row, col, height, width))
    box = (left - col, top - row, left - col + side, top - row + side)
    return np.asarray(image.resize((px, px), Image.Resampling.BICUBIC, box))


def read_ids(
    layer: AnnotationLayer, y: float, x: float, downsample: float, px: int
) -> NDArray[np.uint32]:
    """Object ids under the centres of a window's pixels: ``(px, px)`` uint32, 0 for none.

    Parameters are those of :func:`read_window`.
    """
    level = min(max(0, math.floor(math.log2(downsample))), len(layer.levels) - 1)
    centres = (np.arange(px) + 0.5) * downsample
    rows = np.floor((y + centres) / 2**level).astype(int)
    cols = np.floor((x + centres) / 2**level).astype(int)
    shape = int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
    ids = layer.read(level, int(rows[0]), int(cols[0]), *shape)
    return ids[np.ix_(rows - rows[0], cols - cols[0])]


def overlap(start: int, px: int, length: int) -> tuple[slice, slice]:
    """Return where a window lies in a region along an axis, and which part of it that is."""
    low, high = max(0, start), min(length, start + px)
    return slice(low, high), slice(low - start, high - start)
