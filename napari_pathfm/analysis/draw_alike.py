"""Have a promptable segmenter draw what a map of likeness to examples shows as blots.

Patch tokens are coarse: nuclei that lie close together are one blot to them. So the segmenter is
asked at the map's peaks, which lie about as far apart as objects of the examples' size, and what
it draws is taken if it is like the examples and about as large. Whether it knows such objects at
all is tried on the examples themselves: it draws glands and nuclei, not the border of a tumour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority, answered
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..io.examples import Example
from ..models.base import Segmenter
from .candidate import Candidate
from .distinct import Distinct
from .example_map import Windows
from .segment_each import segment_each

KNOWN = 0.5
"""The segmenter knows such objects if this is the IoU of its answers with the examples' objects."""

LIKELY = 0.3
"""It is asked where at least so much is like the examples; what it draws must be so on average.
Tokens of what lies between nuclei are half theirs, so this is less than what makes a blot."""

SMALLEST, LARGEST = 0.25, 4.0
"""Area of an object at least and at most, in areas of the examples'."""

BLUR, APART = 0.2, 0.35
"""How far the map is blurred before, and how far apart the places are, in sizes of the objects."""


@dataclass(frozen=True, eq=False)
class ExampleObject:
    """The object that an example is of.

    Attributes
    ----------
    example : Example
    mask : ndarray
        ``(h, w)`` bool, pixels of the example: the part of what is marked that lies in the middle,
        or nearest to it. Other parts are of its kind, but may be cut off.
    """

    example: Example
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, example: Example) -> ExampleObject:
        """Find it."""
        from scipy.ndimage import label

        parts, _ = label(example.mask, np.ones((3, 3)))
        places = np.argwhere(example.mask)
        middle = np.divide(np.subtract(example.mask.shape, 1), 2)
        nearest = places[np.square(places - middle).sum(1).argmin()]
        return cls(example, parts == parts[tuple(nearest)])

    @property
    def area(self) -> int:
        """In pixels of the example."""
        return int(np.count_nonzero(self.mask))

    @property
    def box(self) -> NDArray[np.float64]:
        """``(y0, x0, y1, x1)`` float64, pixels of the example."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return np.array([rows[0], cols[0], rows[-1] + 1, cols[-1] + 1], np.float64)

    def prompts(self, answers: frozenset[str]) -> Prompts:
        """Mean it, by its innermost point or, if a segmenter understands none, by its box."""
        from scipy.ndimage import distance_transform_edt

        if "points" not in answers:
            return Prompts(box=self.box)
        depth = distance_transform_edt(np.pad(self.mask, 1))[1:-1, 1:-1]
        innermost = np.array(np.unravel_index(int(depth.argmax()), depth.shape), np.float64)
        return Prompts(innermost[None] + 0.5, np.array([True]))


def draw_alike(
    slide: Slide,
    examples: Sequence[Example],
    likely: NDArray[np.float32],
    windows: Windows,
    blots: Sequence[Candidate],
    segmenter: Segmenter,
    queue: InferenceQueue | None = None,
) -> Job[list[Candidate] | None]:
    """Draw the objects of a region that are like the examples.

    Parameters
    ----------
    slide : Slide
    examples : sequence of Example
    likely : ndarray
        ``(height, width)`` float32, pixels of the region, see
        :func:`~napari_pathfm.analysis.example_map.likeness`.
    windows : Windows
        The region.
    blots : sequence of Candidate
        What hangs together in the map; the segmenter gets their boxes if it understands no points.
    segmenter : Segmenter
    queue : InferenceQueue, optional
        Default: the one of the segmenter's device.

    Returns
    -------
    list of Candidate or None
        Each with one mask, no two of the same object; the score is how much it is like the
        examples, 0 to 1. ``None`` if the segmenter does not know such objects.
    """
    queue = queue or device_queue(segmenter.device)
    objects = [ExampleObject.of(each) for each in examples]
    if not (yield from _knows(segmenter, objects, queue)):
        return None
    scales = [each.downsample_on(slide.mpp) for each in examples]
    sides = [np.ptp(one.box.reshape(2, 2), axis=0).max() for one in objects]
    size = float(np.median(np.multiply(sides, scales)))
    area = float(np.median(np.multiply([one.area for one in objects], np.square(scales))))
    if "points" in segmenter.answers:
        asked = _peaks(likely, windows, size)
    else:
        asked = [blot.prompts for blot in blots]
    if not asked:
        return []
    view, rest = windows.downsample, Priority.REST
    each = yield from segment_each(slide, asked, segmenter, view, size, queue=queue, priority=rest)
    alike = []
    for one in each.candidates:
        covered = np.count_nonzero(one.mask) * one.downsample**2
        score = _mean(likely, windows, one)
        if score >= LIKELY and SMALLEST * area <= covered <= LARGEST * area:
            alike.append(replace(one, scores=np.array([score], np.float32)))
    longest = max((one.size or 0.0 for one in alike), default=0.0)  # a thin one may be very long
    distinct = Distinct(longest, windows.downsample)
    for one in alike:
        distinct.add(one)
    return distinct.take()


def _knows(
    segmenter: Segmenter, objects: Sequence[ExampleObject], queue: InferenceQueue
) -> Job[bool]:
    """Whether the segmenter draws the examples' objects as they were drawn."""
    overlaps = []
    for number, one in enumerate(objects):
        progress = Progress(number, len(objects), "Trying the segmenter on the examples")
        yield progress
        unit = partial(_overlap, segmenter, one)
        overlaps.append((yield from answered(queue, unit, Priority.REST, progress)))
    return bool(np.median(overlaps) >= KNOWN)


def _overlap(segmenter: Segmenter, one: ExampleObject) -> float:
    """IoU of the answer that the segmenter is surest of with an example's object."""
    embedding = segmenter.encode(one.example.rgb)
    answer = segmenter.decode(embedding, [one.prompts(segmenter.answers)])
    drawn = answer.masks[0, int(answer.scores[0].argmax())]
    return float(np.count_nonzero(drawn & one.mask) / np.count_nonzero(drawn | one.mask))


def _peaks(likely: NDArray[np.float32], windows: Windows, size: float) -> list[Prompts]:
    """Points where the likeness is highest, one for about each object."""
    from scipy.ndimage import gaussian_filter
    from skimage.feature import peak_local_max

    px = size / windows.downsample
    places = peak_local_max(
        gaussian_filter(likely, BLUR * px),
        min_distance=max(1, round(APART * px)),
        threshold_abs=LIKELY,
        exclude_border=False,
    )
    points = np.array([windows.y, windows.x]) + (places + 0.5) * windows.downsample
    return [Prompts(point[None], np.array([True])) for point in points]


def _mean(likely: NDArray[np.float32], windows: Windows, one: Candidate) -> float:
    """How much of what was drawn in the region is like the examples, 0 to 1."""
    (height, width), scale = windows.shape, windows.downsample
    rows, cols = np.nonzero(one.mask)
    y = np.floor((one.y + (rows + 0.5) * one.downsample - windows.y) / scale).astype(np.int64)
    x = np.floor((one.x + (cols + 0.5) * one.downsample - windows.x) / scale).astype(np.int64)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return float(likely[y[inside], x[inside]].mean()) if inside.any() else 0.0
