"""What a segmenter answers to many points of a crop, and which of it can be an object.

As in the automatic masks of Segment Anything (Kirillov et al., ICCV 2023,
https://github.com/facebookresearch/segment-anything): an answer counts if the model's own score is
high and if its area hardly depends on the threshold of its logits. Ours must also have about the
size that is expected, and is the connected part under its point.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority, answered
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..models.base import Segmentation, Segmenter
from .candidate import Candidate
from .crop import Square
from .crop_cache import Seen
from .crop_grid import LARGEST

OFFSET = 1.0
"""The area is looked at with the logits' threshold moved up and down by this."""

MOST_POINTS = 64
"""Of a unit of inference."""

UNIT_PIXELS = 1 << 24
"""Pixels of the masks of a unit of inference, at most: 64 MB as float32."""


@dataclass(frozen=True)
class Wanted:
    """Which answers count as objects.

    Attributes
    ----------
    size : float
        Longer side that the box of an object is expected to have, level-0 pixels.
    score : float
        Least score of the model, 0 to 1.
    stability : float
        Least ratio of the areas at a higher and at a lower threshold, 0 to 1.
    smallest, largest : float
        Least and largest longer side, in units of `size`; `largest` at most
        :data:`~.crop_grid.LARGEST`.
    """

    size: float
    score: float = 0.45
    stability: float = 0.75
    smallest: float = 0.35
    largest: float = LARGEST

    def __post_init__(self) -> None:
        if not 0 < self.smallest < self.largest <= LARGEST:
            raise ValueError(
                f"Objects may be up to {LARGEST:g} times as large as expected, so enter a larger "
                f"size instead of {self.largest:g} times."
            )

    def fits(self, size: float) -> bool:
        """Whether an object may have this longer side, level-0 pixels."""
        return self.smallest * self.size <= size <= self.largest * self.size


class Pace:
    """How many points make a unit of inference; it learns how long one takes.

    Parameters
    ----------
    queue : InferenceQueue
        Says how long a unit should take at most.
    """

    def __init__(self, queue: InferenceQueue) -> None:
        self._queue = queue
        self._seconds = 0.0  # of a point, as the last unit took it

    def points(self, pixels: int) -> int:
        """Points of the next unit, for crops whose masks have so many pixels."""
        most = max(1, min(MOST_POINTS, UNIT_PIXELS // (3 * pixels)))
        limit = self._queue.unit_seconds
        if limit is None or not self._seconds:
            return most if limit is None else min(most, 4)
        return max(1, min(most, int(limit / self._seconds)))

    def timed(self, unit: Callable[[], Segmentation], count: int) -> Segmentation:
        """Run a unit of `count` points and learn from it."""
        start = time.perf_counter()
        found = unit()
        self._seconds = (time.perf_counter() - start) / count
        return found


def propose(
    segmenter: Segmenter,
    seen: Seen,
    points: NDArray[np.float64],
    wanted: Wanted,
    queue: InferenceQueue,
    pace: Pace,
    progress: Progress,
) -> Job[list[Candidate]]:
    """Ask for the objects at points of an encoded crop.

    Parameters
    ----------
    segmenter : Segmenter
    seen : Seen
        The crop and its embedding.
    points : ndarray
        ``(K, 2)`` float64 ``(y, x)``, level-0 pixels, inside the crop.
    wanted : Wanted
    queue : InferenceQueue
    pace : Pace
    progress : Progress
        What is reported meanwhile.

    Returns
    -------
    list of Candidate
        At most one a point. They may overlap; their masks are cut to their boxes.
    """
    found: list[Candidate] = []
    pixels = max(seen.crop.px, segmenter.input_px) ** 2
    while len(points):
        count = pace.points(pixels)
        asked = [Prompts(point[None], np.array([True])) for point in points[:count]]
        points = points[count:]
        inside = [seen.crop.prompts(prompts) for prompts in asked]
        decode = partial(segmenter.decode, seen.embedding, inside)
        unit = partial(pace.timed, decode, len(asked))
        answer = yield from answered(queue, unit, Priority.REST, progress)
        found += _objects(answer, asked, seen.crop, wanted, segmenter.name)
    return found


def _objects(
    answer: Segmentation, asked: list[Prompts], crop: Square, wanted: Wanted, model: str
) -> list[Candidate]:
    steady = stability(answer.logits) >= wanted.stability
    # What is larger than the box of the largest object need not be looked at closely.
    areas = np.count_nonzero(answer.masks, axis=(-2, -1))
    small = areas <= (wanted.largest * wanted.size / crop.downsample) ** 2
    good = steady & small & (areas > 0) & (answer.scores >= wanted.score)
    found = []
    for number, prompts in enumerate(asked):
        for choice in np.flatnonzero(good[number]):  # best first
            mask, score = answer.masks[number, choice], answer.scores[number, choice]
            candidate = _candidate(mask, score, prompts, crop, model)
            if candidate is not None and wanted.fits(candidate.size or 0):
                found.append(candidate)
                break
    return found


def stability(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Area above a higher threshold as a part of that above a lower one.

    Parameters
    ----------
    logits : ndarray
        ``(..., h, w)`` float32.

    Returns
    -------
    ndarray
        ``(...)`` float64, 0 to 1; 0 where nothing lies above either.
    """
    high = np.count_nonzero(logits > OFFSET, axis=(-2, -1))
    low = np.count_nonzero(logits > -OFFSET, axis=(-2, -1))
    ratio: NDArray[np.float64] = high / np.maximum(low, 1)
    return ratio


def _candidate(
    mask: NDArray[np.bool_], score: np.float32, prompts: Prompts, crop: Square, model: str
) -> Candidate | None:
    """Cut out the part under the point; ``None`` if it reaches the edge of the crop."""
    ((row, col),) = crop.pixels(prompts.points).tolist()
    if not mask[row, col]:
        return None
    y, x, part = connected(mask, row, col)
    height, width = part.shape
    if min(y, x) <= 0 or y + height >= len(mask) or x + width >= mask.shape[1]:
        return None
    scale = crop.downsample
    return Candidate(
        masks=part[None],
        choice=0,
        scores=np.array([score], np.float32),
        y=crop.y + y * scale,
        x=crop.x + x * scale,
        downsample=scale,
        model=model,
        prompts=prompts,
    )


def connected(mask: NDArray[np.bool_], row: int, col: int) -> tuple[int, int, NDArray[np.bool_]]:
    """Return the part of a mask that hangs together with a pixel that is in it.

    Parameters
    ----------
    mask : ndarray
        ``(h, w)`` bool.
    row, col : int

    Returns
    -------
    y, x : int
        Upper left corner of its box.
    part : ndarray
        ``(h, w)`` bool, of the size of the box; holes in it are filled.
    """
    from scipy.ndimage import binary_fill_holes, find_objects, label

    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(cols[0])
    parts, _ = label(mask[top : rows[-1] + 1, left : cols[-1] + 1], np.ones((3, 3)))
    number = int(parts[row - top, col - left])
    ys, xs = find_objects(parts)[number - 1]
    filled: NDArray[np.bool_] = binary_fill_holes(parts[ys, xs] == number)
    return top + ys.start, left + xs.start, filled
