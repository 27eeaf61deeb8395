"""The square of a slide that a segmenter looks at, centred on the prompts, and what it saw there.

The encoder runs once a crop; a :class:`CropCache` keeps its answer while the next clicks stay in
the same place.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from ..core.prompts import Prompts
from ..core.slide import RGB, Slide
from ..core.tiles import level_for_downsample, to_level
from ..models.base import ImageEmbedding

MARGIN = 2.0
"""Side of a crop in extents of the prompts: a box fills half of it."""

SMOOTH_PX = 512
"""Crops have up to this many pixels a side even for a smaller network: masks come out smoother."""

ENLARGE = 4
"""Level-0 pixels are enlarged at most so many times for the network; more shows nothing new."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A square of a slide as a segmenter gets it.

    Attributes
    ----------
    level : int
        Level of the slide it was read from.
    y, x : float
        Upper left corner, level-0 pixels; may lie outside the slide.
    size : int
        Side in pixels of that level.
    downsample : float
        Level-0 pixels per pixel of `rgb`.
    rgb : ndarray
        ``(h, h, 3)`` uint8, white outside the slide.
    """

    level: int
    y: float
    x: float
    size: int
    downsample: float
    rgb: RGB

    @property
    def side(self) -> float:
        """Side in level-0 pixels."""
        return len(self.rgb) * self.downsample

    def prompts(self, prompts: Prompts) -> Prompts:
        """Turn level-0 prompts into pixels of the crop."""
        return prompts.moved(self.y, self.x, 1 / self.downsample)


def crop_side(prompts: Prompts, input_px: int, view_downsample: float) -> float:
    """Side of the square to look at, in level-0 pixels.

    A box says how large the object is, so it alone decides and fills half of the square; points
    do not, so what `input_px` screen pixels show decides, and the points have to fit.
    """
    y0, x0, y1, x1 = prompts.extent
    around = MARGIN * max(y1 - y0, x1 - x0)
    shown = input_px * view_downsample if prompts.box is None else 0.0
    return max(around, shown, input_px / ENLARGE)


def make_crop(slide: Slide, prompts: Prompts, input_px: int, view_downsample: float) -> Crop:
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

    Raises
    ------
    ValueError
        There is no prompt, or all of them lie outside the slide.
    """
    y0, x0, y1, x1 = prompts.extent
    height, width = slide.levels[0].shape
    if y1 < 0 or x1 < 0 or y0 >= height or x0 >= width:
        raise ValueError(
            f"The prompts lie outside the slide of {height} x {width} pixels: "
            "click or draw the box on the tissue."
        )
    side = crop_side(prompts, input_px, view_downsample)
    side = max(min(side, float(max(height, width))), MARGIN * max(y1 - y0, x1 - x0))
    pixels = max(input_px, SMOOTH_PX)
    level = level_for_downsample(slide.levels, max(1.0, side / pixels))
    scale = slide.levels[level].downsample
    size = max(2, round(side / scale))
    top = to_level((y0 + y1) / 2, scale) - size // 2
    left = to_level((x0 + x1) / 2, scale) - size // 2
    rgb = _shrunk(slide.read(level, top, left, size, size), pixels)
    return Crop(level, top * scale, left * scale, size, size * scale / len(rgb), rgb)


def _shrunk(rgb: RGB, pixels: int) -> RGB:
    if len(rgb) <= pixels:
        return rgb
    from PIL import Image

    image = Image.fromarray(rgb).resize((pixels, pixels), Image.Resampling.BOX)
    return np.asarray(image)


class CropCache:
    """What a segmenter's encoder saw lately: least recently used out first.

    May be used from any thread.

    Parameters
    ----------
    limit : int
        Number of crops kept (about 7 MB each with SAM).
    """

    def __init__(self, limit: int = 12) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[
            tuple[str, str, int, float, float, int], tuple[Crop, ImageEmbedding]
        ] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, slide_id: str, model: str, crop: Crop, embedding: ImageEmbedding) -> None:
        """Keep an encoded crop."""
        key = (slide_id, model, crop.level, crop.y, crop.x, crop.size)
        with self._lock:
            self._kept[key] = (crop, embedding)
            self._kept.move_to_end(key)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def find(
        self, slide_id: str, model: str, prompts: Prompts, side: float
    ) -> tuple[Crop, ImageEmbedding] | None:
        """Return the newest crop that still suits, or ``None``.

        Parameters
        ----------
        slide_id, model : str
        prompts : Prompts
            Level-0 pixels; must lie well inside the crop.
        side : float
            Side of the square that would be looked at, level-0 pixels; the crop's own must not
            differ by more than a factor of 2.
        """
        with self._lock:
            for key, (crop, embedding) in reversed(self._kept.items()):
                if key[:2] == (slide_id, model) and _suits(crop, prompts, side):
                    self._kept.move_to_end(key)
                    return crop, embedding
        return None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


def _suits(crop: Crop, prompts: Prompts, side: float) -> bool:
    y0, x0, y1, x1 = prompts.extent
    edge = crop.side / 8
    inside = (
        y0 >= crop.y + edge
        and x0 >= crop.x + edge
        and y1 <= crop.y + crop.side - edge
        and x1 <= crop.x + crop.side - edge
    )
    return inside and 0.5 <= crop.side / side <= 2
