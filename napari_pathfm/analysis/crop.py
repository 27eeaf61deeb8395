"""The square of a slide that a segmenter looks at, centred on the prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.prompts import Prompts
from ..core.slide import RGB, Slide
from ..core.tiles import level_for_downsample, to_level

MARGIN = 2.0
"""Side of a crop in extents of the prompts: a box fills half of it."""

ROOM = 2.0
"""Side of a crop in sizes of an object that is only about known."""

SMOOTH_PX = 512
"""Crops have up to this many pixels a side even for a smaller network: masks come out smoother."""

ENLARGE, NEAREST = 6, 40.0
"""Level-0 pixels are enlarged at most so many times for the network, and a crop has at least so
many a side; what is nearer shows nothing new."""

ROUGH = 8.0
"""A square that is so many times as large as wanted shows roughly what lies in it."""

LIKELY_PX = 8.0, 500.0
"""Between these sizes on the screen an object is likely to be like the last one."""

Box = tuple[float, float, float, float]
"""``(y0, x0, y1, x1)``, level-0 pixels."""


@dataclass(frozen=True)
class Square:
    """Where a crop lies, and how large its pixels are.

    Attributes
    ----------
    level : int
        Level of the slide it is read from.
    y, x : float
        Upper left corner, level-0 pixels; may lie outside the slide.
    size : int
        Side in pixels of that level.
    downsample : float
        Level-0 pixels per pixel of the crop.
    px : int
        Side in pixels of the crop.
    """

    level: int
    y: float
    x: float
    size: int
    downsample: float
    px: int

    @property
    def side(self) -> float:
        """Side in level-0 pixels."""
        return self.px * self.downsample

    def suits(self, extent: Box, side: float) -> bool:
        """Whether it shows what lies in `extent` well.

        Parameters
        ----------
        extent : Box
            Of the prompts, level-0 pixels; must lie well inside.
        side : float
            Side of the square that would be looked at, level-0 pixels; this one's must not differ
            by more than a factor of 2.
        """
        return 0.5 <= self.side / side <= 2 and self._surrounds(extent)

    def hints(self, extent: Box, side: float) -> bool:
        """Whether it shows what lies in `extent` at least from afar; else as :meth:`suits`."""
        return hints(self.side, side) and self._surrounds(extent)

    def _surrounds(self, extent: Box) -> bool:
        y0, x0, y1, x1 = extent
        near, far = self.side / 8, self.side * 7 / 8
        return (
            self.y + near <= y0
            and y1 <= self.y + far
            and self.x + near <= x0
            and x1 <= self.x + far
        )

    def prompts(self, prompts: Prompts) -> Prompts:
        """Turn level-0 prompts into pixels of the crop."""
        return prompts.moved(self.y, self.x, 1 / self.downsample)

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Pixels of the crop, ``(K, 2)`` int64 ``(y, x)``, that hold level-0 points in it."""
        at = np.floor((points - (self.y, self.x)) / self.downsample).astype(np.int64)
        return at.clip(0, self.px - 1)


@dataclass(frozen=True, eq=False)
class Crop(Square):
    """A square of a slide as a segmenter gets it.

    Attributes
    ----------
    rgb : ndarray
        ``(px, px, 3)`` uint8, white outside the slide.
    """

    rgb: RGB

    @property
    def square(self) -> Square:
        """Where it lies, without its pixels."""
        return Square(self.level, self.y, self.x, self.size, self.downsample, self.px)


def hints(side: float, wanted: float) -> bool:
    """Whether a square of one side is of use where one of another is wanted."""
    return 0.5 <= side / wanted <= ROUGH


def likely_size(last: float | None, view_downsample: float) -> float | None:
    """About how large the next object is, level-0 pixels: as the last one, if there is one.

    That says nothing where the view has been zoomed so that it would hardly be seen, or fill all
    of it.
    """
    low, high = (pixels * view_downsample for pixels in LIKELY_PX)
    return last if last is not None and low < last < high else None


def crop_side(
    prompts: Prompts, input_px: int, view_downsample: float, size: float | None = None
) -> float:
    """Side of the square to look at, in level-0 pixels.

    A box says how large the object is, so it alone decides and fills half of the square. Points do
    not: the size that the object is expected to have decides, or, where nobody knows that, what
    `input_px` screen pixels show; and the points have to fit.
    """
    y0, x0, y1, x1 = prompts.extent
    around = MARGIN * max(y1 - y0, x1 - x0)
    shown = input_px * view_downsample if size is None else ROOM * size
    if prompts.box is not None:
        shown = 0.0
    return max(around, shown, least_side(input_px))


def least_side(input_px: int) -> float:
    """Side of the smallest square that is looked at, level-0 pixels."""
    return max(input_px / ENLARGE, NEAREST)


def check_inside(slide: Slide, prompts: Prompts) -> None:
    """Raise ``ValueError`` with a remedy where there is no prompt on the slide."""
    y0, x0, y1, x1 = prompts.extent
    height, width = slide.levels[0].shape
    if y1 < 0 or x1 < 0 or y0 >= height or x0 >= width:
        raise ValueError(
            f"The prompts lie outside the slide of {height} x {width} pixels: "
            "click or draw the box on the tissue."
        )


def make_crop(
    slide: Slide,
    prompts: Prompts,
    input_px: int,
    view_downsample: float,
    size: float | None = None,
    around: Box | None = None,
) -> Crop:
    """Read the square around the prompts, at a level that shows the object well.

    Parameters
    ----------
    slide : Slide
    prompts : Prompts
        Level-0 pixels.
    input_px : int
        Side of the square that the segmenter's encoder sees.
    view_downsample : float
        Level-0 pixels per screen pixel of the view.
    size : float, optional
        About how large the object is, level-0 pixels.
    around : tuple of float, optional
        ``(y0, x0, y1, x1)``, level-0 pixels: the middle of this is the middle of the crop; else
        that of the prompts.

    Raises
    ------
    ValueError
        There is no prompt, or all of them lie outside the slide.
    """
    check_inside(slide, prompts)
    y0, x0, y1, x1 = prompts.extent
    height, width = slide.levels[0].shape
    side = crop_side(prompts, input_px, view_downsample, size)
    side = max(min(side, float(max(height, width))), MARGIN * max(y1 - y0, x1 - x0))
    y0, x0, y1, x1 = around or (y0, x0, y1, x1)
    return read_square(slide, (y0 + y1) / 2, (x0 + x1) / 2, side, max(input_px, SMOOTH_PX))


def read_square(slide: Slide, y: float, x: float, side: float, pixels: int) -> Crop:
    """Read a square of a slide.

    Parameters
    ----------
    slide : Slide
    y, x : float
        Its middle, level-0 pixels; the crop's is within a pixel of the level that is read.
    side : float
        Level-0 pixels.
    pixels : int
        Side of the crop at most, in its own pixels.
    """
    level = level_for_downsample(slide.levels, max(1.0, side / pixels))
    scale = slide.levels[level].downsample
    pixels_there = max(2, round(side / scale))
    top = to_level(y, scale) - pixels_there // 2
    left = to_level(x, scale) - pixels_there // 2
    rgb = _shrunk(slide.read(level, top, left, pixels_there, pixels_there), pixels)
    downsample = pixels_there * scale / len(rgb)
    return Crop(level, top * scale, left * scale, pixels_there, downsample, len(rgb), rgb)


def _shrunk(rgb: RGB, pixels: int) -> RGB:
    if len(rgb) <= pixels:
        return rgb
    from PIL import Image

    image = Image.fromarray(rgb).resize((pixels, pixels), Image.Resampling.BOX)
    return np.asarray(image)
