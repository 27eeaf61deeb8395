"""Segment by example: what was marked in one place is found in another, on any slide.

A model that learns from examples looks at overlapping windows of a region, at the scale of the
examples; what hangs together is an object, whose outline a promptable segmenter then draws anew.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..io.examples import Example
from ..models.base import ExampleSegmenter, Segmenter
from .candidate import Candidate
from .crop import Box
from .example_map import Windows, likeness, windows_of
from .segment import segment

T = TypeVar("T")

SMALLEST = 0.1
"""What is found is left out if it is smaller than this part of the smallest example."""

PLAUSIBLE = 0.6
"""An outline is drawn anew only if its IoU with what the examples say is at least this."""


@dataclass(frozen=True, eq=False)
class FoundByExample:
    """What looks like the examples.

    Attributes
    ----------
    example : str
        Their name.
    objects : tuple of Candidate
        Each with one mask; its score is how sure the model was of it, 0 to 1.
    refined : int
        Of how many the segmenter has drawn the outline.
    """

    example: str
    objects: tuple[Candidate, ...]
    refined: int = 0


def segment_by_example(
    slide: Slide,
    examples: Sequence[Example],
    model: ExampleSegmenter,
    region: Box | None = None,
    segmenter: Segmenter | None = None,
    queue: InferenceQueue | None = None,
) -> Job[FoundByExample]:
    """Find everything in a region that looks like the examples.

    Parameters
    ----------
    slide : Slide
        The one that the examples are from, or another.
    examples : sequence of Example
        Of one name.
    model : ExampleSegmenter
    region : tuple of float, optional
        ``(y0, x0, y1, x1)``, level-0 pixels; all of the slide if absent.
    segmenter : Segmenter, optional
        Draws the outline of each object anew, by its box and, if it understands points, its
        innermost point.
    queue : InferenceQueue, optional
        Default: those of the two models' devices.

    Raises
    ------
    ValueError
        There is no example, the region lies outside the slide, or it is too large.
    """
    if not examples:
        raise ValueError("There is no example: save what is meant as an example first.")
    windows = windows_of(slide, examples, model.input_px, region)
    likely = yield from likeness(slide, examples, model, windows, queue)
    yield Progress(0, 0, "Looking for objects")
    parts = list(_parts(likely, windows, _smallest(slide, examples, windows), model.name))
    if segmenter is None or not segmenter.answers & {"box", "points"}:
        return FoundByExample(examples[0].name, tuple(parts))
    objects, refined = [], 0
    for number, part in enumerate(parts):
        progress = Progress(number, len(parts), "Drawing outlines", "objects")
        yield progress
        drawn = yield from _told_as(_refine(slide, part, segmenter, queue), progress)
        refined += drawn is not part
        objects.append(drawn)
    return FoundByExample(examples[0].name, tuple(objects), refined)


def _smallest(slide: Slide, examples: Sequence[Example], windows: Windows) -> float:
    """Pixels of the region that an object has at least."""
    areas = []
    for each in examples:
        scale = each.downsample_on(slide.mpp) / windows.downsample
        areas.append(_largest_part(each.mask) * scale**2)
    return SMALLEST * min(areas)


def _largest_part(mask: NDArray[np.bool_]) -> int:
    from scipy.ndimage import label

    parts, _ = label(mask, np.ones((3, 3)))
    return int(np.bincount(parts[mask]).max())


def _parts(
    likely: NDArray[np.float32], windows: Windows, smallest: float, model: str
) -> Iterator[Candidate]:
    """What hangs together, as candidates at the scale of the examples."""
    from scipy.ndimage import find_objects, label

    numbers, _ = label(likely > 0.5, np.ones((3, 3)))
    for number, (rows, cols) in enumerate(find_objects(numbers), 1):
        mask = numbers[rows, cols] == number
        if mask.sum() < smallest:
            continue
        score = float(likely[rows, cols][mask].mean())
        top = windows.y + rows.start * windows.downsample
        left = windows.x + cols.start * windows.downsample
        height, width = (length * windows.downsample for length in mask.shape)
        box = np.array([top, left, top + height, left + width])
        yield Candidate(
            mask[None],
            0,
            np.array([score], np.float32),
            top,
            left,
            windows.downsample,
            model,
            Prompts(box=box),
        )


def _refine(
    slide: Slide, part: Candidate, segmenter: Segmenter, queue: InferenceQueue | None
) -> Job[Candidate]:
    """Have the segmenter draw an object; the part itself where it draws something else."""
    drawn = yield from segment(
        slide,
        _prompts(part, segmenter.answers),
        segmenter,
        part.downsample,
        queue=queue,
        priority=Priority.REST,
    )
    agreement = [_iou(part, drawn.chosen(choice)) for choice in range(len(drawn.masks))]
    best = int(np.argmax(agreement))
    if agreement[best] < PLAUSIBLE:
        return part
    return replace(drawn.chosen(best).cut_out(), scores=part.scores, model=part.model)


def _prompts(part: Candidate, answers: frozenset[str]) -> Prompts:
    from scipy.ndimage import distance_transform_edt

    box = part.prompts.box if "box" in answers else None
    if "points" not in answers:
        return Prompts(box=box)
    depth = distance_transform_edt(np.pad(part.mask, 1))[1:-1, 1:-1]
    innermost = np.array(np.unravel_index(int(depth.argmax()), depth.shape)) + 0.5
    point = np.array([part.y, part.x]) + innermost * part.downsample
    return Prompts(point[None], np.array([True]), box)


def _iou(part: Candidate, drawn: Candidate) -> float:
    """IoU of a part with what was drawn, on the pixels of the part."""
    scale = part.downsample / drawn.downsample
    rows, cols = (
        np.floor((start + (np.arange(count) + 0.5) * part.downsample - origin) / drawn.downsample)
        for start, count, origin in zip(
            (part.y, part.x), part.mask.shape, (drawn.y, drawn.x), strict=True
        )
    )
    height, width = drawn.mask.shape
    known = ((rows >= 0) & (rows < height))[:, None] & ((cols >= 0) & (cols < width))[None]
    there = drawn.mask[
        np.ix_(rows.clip(0, height - 1).astype(int), cols.clip(0, width - 1).astype(int))
    ]
    both = int((part.mask & there & known).sum())
    either = int(part.mask.sum()) + int(drawn.mask.sum()) / scale**2 - both
    return both / max(either, 1e-9)


def _told_as(job: Job[T], progress: Progress) -> Generator[Progress, None, T]:
    """Run a job within another, whose progress is told instead of its own."""
    with closing(job):
        while True:
            try:
                next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            yield progress
