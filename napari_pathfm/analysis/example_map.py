"""How much each pixel of a region looks like examples, from overlapping windows without seams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority, answered
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..io.examples import Example
from ..models.base import ExampleSegmenter
from .crop import Box
from .window import overlap, read_window

MOST_PX = 1 << 25
"""A region has at most so many pixels at the scale of the examples."""


@dataclass(frozen=True)
class Windows:
    """A region in pixels of the examples' scale, and the squares that are looked at.

    Attributes
    ----------
    y, x : float
        Upper left corner of the region, level-0 pixels.
    shape : tuple of int
        ``(height, width)`` of the region in pixels.
    downsample : float
        Level-0 pixels per pixel.
    px : int
        Side of a square in pixels; neighbours share half of it, so that an object as large as that
        is whole in one of them.
    """

    y: float
    x: float
    shape: tuple[int, int]
    downsample: float
    px: int

    def starts(self, axis: int) -> list[int]:
        """Where squares begin along an axis, in pixels of the region; also before it."""
        step = self.px // 2
        count = -(-self.shape[axis] // step)
        first = -((count * step - self.shape[axis]) // 2) - (self.px - step) // 2
        return [first + number * step for number in range(count)]

    def weights(self, axis: int) -> NDArray[np.float32]:
        """Sum of the weights of all squares for each pixel along an axis, ``(n,)`` float32."""
        total = np.zeros(self.shape[axis], np.float32)
        tent = _tent(self.px)
        for start in self.starts(axis):
            into, out_of = overlap(start, self.px, self.shape[axis])
            total[into] += tent[out_of]
        return total


def windows_of(
    slide: Slide, examples: Sequence[Example], px: int, region: Box | None = None
) -> Windows:
    """Lay windows of `px` pixels, as large as the examples, over a region or all of a slide.

    Raises
    ------
    ValueError
        The region lies outside the slide, or is too large.
    """
    height, width = slide.levels[0].shape
    y0, x0, y1, x1 = region or (0.0, 0.0, float(height), float(width))
    y0, x0, y1, x1 = max(0.0, y0), max(0.0, x0), min(y1, float(height)), min(x1, float(width))
    if y1 - y0 < 1 or x1 - x0 < 1:
        raise ValueError(
            f"The region lies outside the slide of {height} x {width} pixels: choose one on it."
        )
    sides = [len(each.rgb) * each.downsample_on(slide.mpp) for each in examples]
    downsample = float(np.median(sides)) / px
    shape = max(1, round((y1 - y0) / downsample)), max(1, round((x1 - x0) / downsample))
    if shape[0] * shape[1] > MOST_PX:
        side = int(math.sqrt(MOST_PX) * downsample)
        raise ValueError(
            f"The region is too large for examples as small as these: choose one of at most "
            f"{side} x {side} pixels of the slide, and then the next."
        )
    return Windows(y0, x0, shape, downsample, px)


def likeness(
    slide: Slide,
    examples: Sequence[Example],
    model: ExampleSegmenter,
    windows: Windows,
    queue: InferenceQueue | None = None,
) -> Job[NDArray[np.float32]]:
    """Ask a model about all windows, each a unit of inference.

    Returns
    -------
    ndarray
        ``(height, width)`` float32, pixels of the region: how likely each is meant, 0 to 1.
    """
    queue = queue or device_queue(model.device)
    rows, cols = windows.starts(0), windows.starts(1)
    count = len(rows) * len(cols)
    progress = Progress(0, count, "Learning from the examples")
    learn = partial(model.learn, [each.pair for each in examples])
    answer = yield from answered(queue, learn, Priority.REST, progress)
    tent, total = _tent(windows.px), np.zeros(windows.shape, np.float32)
    places = [(row, col) for row in rows for col in cols]
    for number, (row, col) in enumerate(places):
        y, x = (start * windows.downsample for start in (row, col))
        rgb = read_window(slide, windows.y + y, windows.x + x, windows.downsample, windows.px)
        progress = Progress(number, count, "Looking for what is like the examples", "windows")
        found = yield from answered(queue, partial(answer, rgb), Priority.REST, progress)
        into_y, from_y = overlap(row, windows.px, windows.shape[0])
        into_x, from_x = overlap(col, windows.px, windows.shape[1])
        weight = tent[from_y, None] * tent[None, from_x]
        total[into_y, into_x] += found[from_y, from_x] * weight
    total /= windows.weights(0)[:, None]
    total /= windows.weights(1)[None]
    return total


def _tent(px: int) -> NDArray[np.float32]:
    """Weights along a window, ``(px,)``: the middle, which sees most around it, counts most."""
    place = np.arange(px, dtype=np.float32) + 0.5
    weights: NDArray[np.float32] = np.minimum(place, px - place)
    return weights
