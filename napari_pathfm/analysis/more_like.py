"""Find more objects like some that are there, by the features of the segmenter's own encoder.

An object is the mean of the features in its mask. Where a crop resembles it, the segmenter is asked
by a point, and its answers are ordered by how much they resemble it themselves. The idea of
prompting a segmenter where the features of an example match is that of PerSAM (Zhang et al.,
"Personalize Segment Anything Model with One Shot", ICLR 2024,
https://github.com/ZrrSkywalker/Personalize-SAM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority, answered
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.prompts import MaskPrompt, Prompts
from ..core.slide import Slide
from ..io.masks import AnnotationLayer
from ..models.base import Segmenter
from .candidate import Candidate
from .crop import SMOOTH_PX, Box, read_square
from .crop_cache import Seen
from .crop_grid import GLASS, Cell, cell_rows, on_slide, side_for
from .distinct import Distinct
from .likeness import Likeness
from .proposals import Pace, Wanted, propose
from .reshape import region_of
from .segment import check_answers
from .taken import Taken

EXAMPLES = 8
"""At most so many objects are taken as examples."""

SMALLER, LARGER = 0.5, 2.0
"""Size of what is found, in sizes of the examples."""

ALIKE, PEAK = 0.2, 0.05
"""Least likeness of an object, and of a place at which one is looked for; low, for they are asked
about in the order of their likeness, and nobody has to go on to the end."""

SCORE = STABILITY = 0.4
"""How sure the segmenter must be; low as well."""

TEXT = "looking for more of them"


@dataclass(frozen=True, eq=False)
class Like:
    """An object that resembles the examples.

    Attributes
    ----------
    candidate : Candidate
    likeness : float
        Cosine to the most similar example, at most 1.
    """

    candidate: Candidate
    likeness: float


def more_like(
    slide: Slide,
    segmenter: Segmenter,
    layer: AnnotationLayer,
    examples: Sequence[int],
    region: Box,
    limit: int = 500,
    queue: InferenceQueue | None = None,
) -> Job[list[Like]]:
    """Find objects of a region that resemble some of a layer; nothing is changed.

    Parameters
    ----------
    slide : Slide
    segmenter : Segmenter
        Must answer points.
    layer : AnnotationLayer
        Holds the examples; what lies mostly on its objects is not found once more.
    examples : sequence of int
        Objects of the layer; of more than :data:`EXAMPLES` some are taken.
    region : Box
        ``(y0, x0, y1, x1)``, level-0 pixels.
    limit : int
        At most so many are returned.
    queue : InferenceQueue, optional
        Default: the one of the segmenter's device.

    Returns
    -------
    list of Like
        The most similar one first; no two are the same object.

    Raises
    ------
    ValueError
        There is no example, the segmenter does not answer points or has no features that are a
        map, or the region is empty.
    """
    check_answers(segmenter, Prompts(np.zeros((1, 2)), np.array([True])))
    if not len(examples):
        raise ValueError("There is no example: choose an object first, then look for more like it.")
    queue = queue or device_queue(segmenter.device)
    chosen = _spread(examples)
    size = _size(layer, chosen)
    cells = [
        cell for row in cell_rows(on_slide(region, slide), size, segmenter.input_px) for cell in row
    ]
    likeness = yield from _learned(slide, segmenter, layer, chosen, size, queue)
    search = _Search(slide, segmenter, likeness, size, layer, queue)
    for done, cell in enumerate(cells):
        progress = Progress(done, len(cells), TEXT, "crops")
        yield progress
        yield from search.look(cell, progress)
    return search.best(limit)


def _spread(examples: Sequence[int]) -> list[int]:
    """Some of many, evenly."""
    places = np.linspace(0, len(examples) - 1, min(len(examples), EXAMPLES)).round().astype(int)
    return [int(examples[place]) for place in places]


def _size(layer: AnnotationLayer, examples: Sequence[int]) -> float:
    """Longer side of the box of an example in the middle, level-0 pixels."""
    rows = layer.objects.select(examples).rows
    sides = np.maximum(rows["y1"] - rows["y0"], rows["x1"] - rows["x0"])
    return float(np.median(sides))


def _learned(
    slide: Slide,
    segmenter: Segmenter,
    layer: AnnotationLayer,
    examples: Sequence[int],
    size: float,
    queue: InferenceQueue,
) -> Job[Likeness]:
    """Look at the examples, at the scale at which more of them are looked for."""
    side, pixels = side_for(size, segmenter.input_px), max(segmenter.input_px, SMOOTH_PX)
    seen = []
    for done, number in enumerate(examples):
        progress = Progress(done, len(examples), "looking at the examples")
        region = region_of(layer, number)
        factor = 2.0**region.level
        shape = MaskPrompt(region.mask, region.y * factor, region.x * factor, factor)
        y, x = np.argwhere(region.mask).mean(0) * factor + (shape.y, shape.x)
        crop = read_square(slide, y, x, side, pixels)
        encode = partial(segmenter.encode, crop.rgb)
        embedding = yield from answered(queue, encode, Priority.REST, progress)
        seen.append((Seen(crop, embedding), shape))
    return Likeness.of(seen)


class _Search:
    """What has been found so far."""

    def __init__(
        self,
        slide: Slide,
        segmenter: Segmenter,
        likeness: Likeness,
        size: float,
        layer: AnnotationLayer,
        queue: InferenceQueue,
    ) -> None:
        self._slide, self._segmenter, self._likeness = slide, segmenter, likeness
        self._wanted = Wanted(size, SCORE, STABILITY, SMALLER, LARGER)
        self._taken, self._queue, self._pace = Taken(layer), queue, Pace(queue)
        self._distinct: Distinct | None = None
        self._scores: dict[int, float] = {}  # by the identity of a candidate that is kept

    def look(self, cell: Cell, progress: Progress) -> Job[None]:
        """Ask where a cell resembles the examples."""
        crop = cell.read(self._slide, self._segmenter.input_px)
        distinct = self._distinct = self._distinct or Distinct(self._wanted.size, crop.downsample)
        if not (crop.rgb.min(2) < GLASS).any():
            return
        encode = partial(self._segmenter.encode, crop.rgb)
        embedding = yield from answered(self._queue, encode, Priority.REST, progress)
        seen = Seen(crop, embedding)
        points = peaks(self._likeness, seen, self._wanted.size)
        # The next crop may see the same peak a little to the side: nobody must leave it to another.
        points = points[cell.holds(points, self._wanted.size / 4)]
        points = points[~self._taken.holds(points)]
        candidates = yield from propose(
            self._segmenter, seen, points, self._wanted, self._queue, self._pace, progress
        )
        for candidate in candidates:
            score = self._likeness.score(seen, _shape_of(candidate))
            if score >= ALIKE and not self._taken.covers(candidate) and distinct.add(candidate):
                self._scores[id(candidate)] = score

    def best(self, limit: int) -> list[Like]:
        """Those that resemble the examples most, and no other."""
        kept = self._distinct.take() if self._distinct is not None else []
        found = [Like(candidate, self._scores[id(candidate)]) for candidate in kept]
        return sorted(found, key=lambda like: -like.likeness)[:limit]


def _shape_of(candidate: Candidate) -> MaskPrompt:
    return MaskPrompt(candidate.mask, candidate.y, candidate.x, candidate.downsample)


def peaks(likeness: Likeness, seen: Seen, size: float) -> NDArray[np.float64]:
    """Where a crop resembles the examples most: ``(K, 2)`` float64 ``(y, x)``, level-0 pixels.

    Peaks of the map of likeness, taken together over half of the `size` of an object, no two nearer
    than that.
    """
    from scipy.ndimage import uniform_filter
    from skimage.feature import peak_local_max

    found = likeness.map(seen.embedding)
    step = np.array((seen.crop.side, seen.crop.side)) / found.shape
    half = max(1, round(size / step[0] / 2))
    smooth = uniform_filter(found, half, mode="nearest")
    at = peak_local_max(smooth, min_distance=half, threshold_abs=PEAK, exclude_border=False)
    points: NDArray[np.float64] = (at + 0.5) * step + (seen.crop.y, seen.crop.x)
    return points
