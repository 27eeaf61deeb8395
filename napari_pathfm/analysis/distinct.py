"""Of candidates that are the same object, the best one: non-maximum suppression as they come."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .candidate import Candidate
from .crop import Box
from .crop_grid import LARGEST

SAME = 0.5
"""Two are the same object if they share more than this part of the smaller one."""

SAME_BOX = 0.7
"""Boxes of objects of any size are those of the same one if their IoU is more than this, as in the
automatic masks of Segment Anything."""

Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Kept:
    candidate: Candidate
    y: int
    x: int
    mask: NDArray[np.bool_]
    area: int

    def window(self, y: int, x: int, height: int, width: int) -> NDArray[np.bool_]:
        """What of the mask lies in a window; ``(h, w)`` bool of the part that both have."""
        top, left = max(0, y - self.y), max(0, x - self.x)
        bottom, right = max(0, y + height - self.y), max(0, x + width - self.x)
        return self.mask[top:bottom, left:right]

    def shared(self, other: _Kept) -> int:
        """Pixels of both."""
        one = self.window(other.y, other.x, *other.mask.shape)
        two = other.window(self.y, self.x, *self.mask.shape)
        return int(np.count_nonzero(one & two)) if one.size and two.size else 0

    def holds(self, y: int, x: int) -> bool:
        """Whether a pixel is of it."""
        return bool(self.window(y, x, 1, 1).any())


class Distinct:
    """Candidates of about one size, of which no two are the same object.

    Parameters
    ----------
    size : float
        Longer side of the box of an object, level-0 pixels; none is larger than
        :data:`~.crop_grid.LARGEST` times that.
    downsample : float
        Of the crops; masks are compared on the slide's pixels, about as many taken as one.
    """

    def __init__(self, size: float, downsample: float) -> None:
        self._factor = max(1, int(downsample))
        self._pitch = max(1.0, LARGEST * size / self._factor)
        self._places: dict[Place, list[_Kept]] = {}

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._places.values())

    def add(self, candidate: Candidate) -> bool:
        """Take a candidate unless a better one of the same object is there; worse ones go."""
        y, x, mask = candidate.mask_at(self._factor)
        new = _Kept(candidate, y, x, mask, int(np.count_nonzero(mask)))
        if not new.area:
            return False
        place = self._place(y + mask.shape[0] / 2, x + mask.shape[1] / 2)
        same = [
            (at, kept)
            for at in _around(place)
            for kept in self._places.get(at, ())
            if new.shared(kept) > SAME * min(new.area, kept.area)
        ]
        if any(kept.candidate.score >= candidate.score for _, kept in same):
            return False
        for at, kept in same:
            self._places[at].remove(kept)
        self._places.setdefault(place, []).append(new)
        return True

    def covers(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of ``(K, 2)`` points ``(y, x)``, level-0 pixels, lie on one of them: ``(K,)``."""
        pixels = np.floor(points / self._factor).astype(np.int64).tolist()
        found = [any(kept.holds(y, x) for kept in self._near(y, x)) for y, x in pixels]
        return np.array(found, bool)

    def take(self, above: float = np.inf) -> list[Candidate]:
        """Hand over those that end above a level-0 row, and forget them; best first."""
        taken: list[Candidate] = []
        for place in list(self._places):
            kept = self._places[place]
            ends = [(one.y + one.mask.shape[0]) * self._factor <= above for one in kept]
            taken += [one.candidate for one, done in zip(kept, ends, strict=True) if done]
            self._places[place] = [one for one, done in zip(kept, ends, strict=True) if not done]
            if not self._places[place]:
                del self._places[place]
        return sorted(taken, key=lambda candidate: -candidate.score)

    def _near(self, y: float, x: float) -> Iterator[_Kept]:
        """Those that may hold a pixel."""
        return (kept for at in _around(self._place(y, x)) for kept in self._places.get(at, ()))

    def _place(self, y: float, x: float) -> Place:
        return int(y // self._pitch), int(x // self._pitch)


def _around(place: Place) -> Iterator[Place]:
    """A place and its eight neighbours: what may meet an object whose middle is there."""
    row, col = place
    return ((row + dy, col + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Of candidates of any sizes whose boxes are about the same, keep the best one.

    Parameters
    ----------
    candidates : iterable of Candidate
        None of them empty.

    Returns
    -------
    list of Candidate
        In the order in which they are drawn, so that the first of two that meet is above: what is
        clearly smaller first, so that a nucleus is not lost in its gland; of those about as large
        the best.
    """
    kept: list[tuple[int, Candidate]] = []
    boxes: defaultdict[tuple[int, int, int], list[Box]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda one: -one.score):
        box = candidate.box
        if box is None:
            raise ValueError("a candidate without a pixel is no object")
        octave = _octave(box)
        # What is the same has at least 0.7 of the size and lies less than that far away.
        near = (
            boxes.get((scale, row + dy, col + dx), ())
            for scale in (octave - 1, octave, octave + 1)
            for row, col in [_cell(box, scale)]
            for dy, dx in itertools.product((-1, 0, 1), repeat=2)
        )
        if any(_box_iou(box, other) > SAME_BOX for cell in near for other in cell):
            continue
        boxes[octave, *_cell(box, octave)].append(box)
        kept.append((octave, candidate))
    return [candidate for _, candidate in sorted(kept, key=lambda one: one[0])]


def _octave(box: Box) -> int:
    """Size of a box: between this power of 2 and the next."""
    y0, x0, y1, x1 = box
    return math.floor(math.log2(max(y1 - y0, x1 - x0)))


def _cell(box: Box, octave: int) -> Place:
    """Where the middle of a box lies, in cells of a size."""
    y0, x0, y1, x1 = box
    return math.floor((y0 + y1) / 2 / 2.0**octave), math.floor((x0 + x1) / 2 / 2.0**octave)


def _box_iou(one: Box, other: Box) -> float:
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, height) * max(0.0, width)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both)
