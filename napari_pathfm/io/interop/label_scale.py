"""How the pixels of a label image lie on a slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.slide import Level


@dataclass(frozen=True)
class LabelScale:
    """A level of a label image that covers the whole slide.

    Attributes
    ----------
    level : int
    shape : tuple of int
        ``(height, width)`` of that level.
    downsample : float
        Level-0 pixels of the slide per pixel of it; 1 or more, not always whole.
    """

    level: int
    shape: tuple[int, int]
    downsample: float

    def pixels(self, start: int, stop: int, axis: int) -> NDArray[np.int64]:
        """Pixels of the label image under the centres of level-0 pixels `start` to `stop`.

        Beyond its last one, which may be part of a pixel that it lacks, they are its length.
        """
        found = np.floor((np.arange(start, stop) + 0.5) / self.downsample + 1e-9)
        pixels: NDArray[np.int64] = found.clip(max=self.shape[axis]).astype(np.int64)
        return pixels


def fit(shapes: Sequence[tuple[int, int]], levels: Sequence[Level]) -> LabelScale:
    """Find the finest level of a label image that covers the slide, and its downsample.

    Parameters
    ----------
    shapes : sequence of tuple of int
        ``(height, width)`` of the levels of the label image, finest first.
    levels : sequence of Level
        Of the slide.

    Raises
    ------
    ValueError
        Its sides are not in the ratio of the slide's: it is the mask of something else.
    """
    for number, shape in enumerate(shapes):
        downsample = _downsample(shape, levels)
        if downsample is not None:
            return LabelScale(number, shape, downsample)
    (height, width), (rows, cols) = shapes[0], levels[0].shape
    raise ValueError(
        f"The labels have {width:,} x {height:,} pixels and the slide {cols:,} x {rows:,}: it is "
        f"{cols / width:.4g} times as wide and {rows / height:.4g} times as high. Choose labels "
        "of this whole slide, at its size or smaller by the same ratio both ways."
    )


def _downsample(shape: tuple[int, int], levels: Sequence[Level]) -> float | None:
    """Return the ratio that explains both sides, however the smaller image was rounded."""
    for level in levels:
        if level.shape == shape:
            return level.downsample
    slide = levels[0].shape
    if min(shape) < 1:
        return None
    low = max(side / (small + 1) for side, small in zip(slide, shape, strict=True))
    high = min(side / max(small - 1, 1) for side, small in zip(slide, shape, strict=True))
    if high < 1 or low > high:
        return None
    whole = round((low + high) / 2)
    if low <= whole <= high and whole >= 1:
        return float(whole)
    return max(1.0, (low + high) / 2)
