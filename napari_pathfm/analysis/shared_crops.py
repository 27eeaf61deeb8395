"""Squares that show several objects well: prompts near each other share an encoded crop."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.prompts import Prompts
from ..core.slide import Slide
from .crop import MARGIN, ROOM, SMOOTH_PX, Box, Crop, crop_side, least_side, read_square

SLACK = 2.0
"""A shared crop is at most so many times as large as that of one of its objects alone."""

BESIDE_BOX, ROUND_POINT = 1 / 8, 1 / ROOM
"""What is kept free round a box, and round points, in sides of the crop of that object alone: so
the object that is expected lies in the crop wherever it is clicked."""


@dataclass(frozen=True, eq=False)
class Asked:
    """An object that is asked for.

    Attributes
    ----------
    prompts : Prompts
        Level-0 pixels.
    size : float or None
        Longer side that it is expected to have, level-0 pixels; a box knows better.
    """

    prompts: Prompts
    size: float | None = None

    def side(self, input_px: int, view_downsample: float, longest: float) -> float:
        """Side of the crop of this object alone, see :func:`~.crop.make_crop`; level-0 pixels."""
        y0, x0, y1, x1 = self.prompts.extent
        side = crop_side(self.prompts, input_px, view_downsample, self.size)
        return max(min(side, longest), MARGIN * max(y1 - y0, x1 - x0))

    def room(self, side: float) -> Box:
        """What a crop has to show, `side` being that of the crop of this object alone."""
        y0, x0, y1, x1 = self.prompts.extent
        free = BESIDE_BOX if self.prompts.box is not None else ROUND_POINT
        free = min(free * side, (side - max(y1 - y0, x1 - x0)) / 2)
        return y0 - free, x0 - free, y1 + free, x1 + free


@dataclass(frozen=True, eq=False)
class SharedCrop:
    """A square that shows some objects well.

    Attributes
    ----------
    asked : tuple of Asked
    y, x : float
        Its middle, level-0 pixels.
    side : float
        Level-0 pixels.
    """

    asked: tuple[Asked, ...]
    y: float
    x: float
    side: float

    def read(self, slide: Slide, input_px: int) -> Crop:
        """Read it at a level that suits a segmenter whose encoder sees `input_px` pixels."""
        return read_square(slide, self.y, self.x, self.side, max(input_px, SMOOTH_PX))


def shared_crops(
    asked: Sequence[Asked], input_px: int, view_downsample: float, shape: tuple[int, int]
) -> list[SharedCrop]:
    """Group objects so that each is in one crop, which is at most twice as large as its own.

    An object that nothing is near is in the middle of the crop that it would have alone.

    Parameters
    ----------
    asked : sequence of Asked
    input_px : int
        Side of the square that the segmenter's encoder sees.
    view_downsample : float
        Level-0 pixels per screen pixel of the view; decides for points of an unknown size.
    shape : tuple of int
        ``(height, width)`` of the slide's level 0.

    Returns
    -------
    list of SharedCrop
        Small ones first, and those of about one size from the top.
    """
    smallest = least_side(input_px)
    sides = [one.side(input_px, view_downsample, float(max(shape))) for one in asked]
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for number, side in enumerate(sides):
        alike[math.floor(math.log2(side / smallest))].append(number)
    crops = []
    for _, numbers in sorted(alike.items()):
        own = [sides[number] for number in numbers]
        capacity = max(min(SLACK * min(own), float(max(shape))), max(own))
        rooms = np.array([asked[number].room(sides[number]) for number in numbers])
        for group in _packed(rooms, capacity):
            y0, x0 = rooms[group, :2].min(0)
            y1, x1 = rooms[group, 2:].max(0)
            members = [numbers[place] for place in group.tolist()]
            side = max(y1 - y0, x1 - x0, *(sides[number] for number in members))
            inside = tuple(asked[number] for number in members)
            crops.append(SharedCrop(inside, float((y0 + y1) / 2), float((x0 + x1) / 2), side))
    return crops


def _packed(rooms: NDArray[np.float64], capacity: float) -> Iterator[NDArray[np.intp]]:
    """Cut boxes ``(N, 4)`` into groups that each lie in a square: in strips, each from the left.

    Yields
    ------
    ndarray
        ``(K,)`` places in `rooms`, K at least 1.
    """
    left = np.argsort(rooms[:, 0], kind="stable")
    while len(left):
        strip, left = _cut(left, rooms[left], 0, capacity)
        strip = strip[np.argsort(rooms[strip, 1], kind="stable")]
        while len(strip):
            group, strip = _cut(strip, rooms[strip], 1, capacity)
            yield group


def _cut(
    places: NDArray[np.intp], rooms: NDArray[np.float64], axis: int, capacity: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Part the boxes that end within `capacity` of where the first begins from the others."""
    fits = rooms[:, axis + 2] <= rooms[0, axis] + capacity
    fits[0] = True  # whatever rounding says
    return places[fits], places[~fits]
