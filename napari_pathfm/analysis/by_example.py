"""Segment by example: what was marked in one place is found in another, on any slide.

A model that learns from examples looks at overlapping windows of a region, at the scale of the
examples; what hangs together is an object. Or a promptable segmenter draws them, if there is one
that knows such objects, see :mod:`.draw_alike`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..io.examples import Example
from ..models.base import ExampleSegmenter, Segmenter
from .candidate import Candidate
from .crop import Box
from .draw_alike import ExampleObject, draw_alike
from .example_map import Windows, likeness, windows_of

SMALLEST = 0.1
"""What is found is left out if it is smaller than this part of the smallest example."""


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
        How many the segmenter has drawn.
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
        Draws the objects, if it draws those of the examples as they are.
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
    drawn: list[Candidate] | None = None
    if segmenter is not None and segmenter.answers & {"box", "points"}:
        drawn = yield from draw_alike(slide, examples, likely, windows, parts, segmenter, queue)
    if drawn is None:
        return FoundByExample(examples[0].name, tuple(parts))
    objects = tuple(replace(one, model=model.name) for one in drawn)
    return FoundByExample(examples[0].name, objects, len(objects))


def _smallest(slide: Slide, examples: Sequence[Example], windows: Windows) -> float:
    """Pixels of the region that an object has at least."""
    areas = []
    for each in examples:
        scale = each.downsample_on(slide.mpp) / windows.downsample
        areas.append(ExampleObject.of(each).area * scale**2)
    return SMALLEST * min(areas)


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
