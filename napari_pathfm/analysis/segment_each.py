"""Segment many objects in one go: every box or point is an object of its own.

Those that lie near each other share an encoded crop (:mod:`.shared_crops`) and are decoded
together. What is found becomes one edit by :func:`~.keep_objects.keep_candidates`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..core.inference import InferenceQueue, Priority, answered
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..io.masks import AnnotationLayer
from ..models.base import Segmenter
from .candidate import Candidate
from .crop import Crop
from .distinct import distinct
from .proposals import Pace
from .segment import LOOKS, better_size, candidate_of, check_answers, smallest
from .shared_crops import SLACK, Asked, SharedCrop, shared_crops
from .taken import Taken

TEXT = "segmenting each"

OUTSIDE = "outside the slide"
NOTHING = "where nothing was found"
THERE = "on objects that are there already"
TWICE = "the same as another one"
"""Why there is no object where one was asked for."""


@dataclass(frozen=True, eq=False)
class SegmentedEach:
    """What was found.

    Attributes
    ----------
    candidates : list of Candidate
        Each with one mask, cut to its box, in the order in which they are drawn: the first of two
        that meet is above.
    left_out : Counter
        How many there are not, by the reason.
    """

    candidates: list[Candidate]
    left_out: Counter[str]


def segment_each(
    slide: Slide,
    prompts: Sequence[Prompts],
    segmenter: Segmenter,
    view_downsample: float = 1.0,
    size: float | None = None,
    layer: AnnotationLayer | None = None,
    queue: InferenceQueue | None = None,
    priority: Priority = Priority.REST,
) -> Job[SegmentedEach]:
    """Segment an object for each of many boxes or points; nothing is changed.

    A box says how large its object is. Points are looked at as :func:`~.segment.segment` does it:
    again and closer where a first answer is tiny in its crop, or reaches over its edge. Of answers
    that are the same object the best is kept.

    Parameters
    ----------
    slide : Slide
    prompts : sequence of Prompts
        Each of one object, level-0 pixels: a box, or points.
    segmenter : Segmenter
        Must answer all of them.
    view_downsample : float
        Level-0 pixels per screen pixel of the view; for points of an unknown size.
    size : float, optional
        About how large the objects are that have only points, level-0 pixels.
    layer : AnnotationLayer, optional
        What lies mostly on its objects is left out.
    queue : InferenceQueue, optional
        Default: the one of the segmenter's device.
    priority : Priority
        In the queue.

    Raises
    ------
    ValueError
        There is no prompt, one of them is a mask, or the segmenter does not answer one of them.
    """
    if not prompts:
        raise ValueError("There is no prompt yet: draw boxes round objects, or set points on them.")
    for each in prompts:
        check_answers(segmenter, each)
        if each.mask is not None:
            raise ValueError("A mask is corrected alone, not with many: segment that object again.")
    queue = queue or device_queue(segmenter.device)
    asked = [Asked(each, size) for each in prompts if _on_slide(each.extent, slide)]
    work = _Work(slide, segmenter, view_downsample, layer, queue, priority, len(asked))
    work.left_out[OUTSIDE] = len(prompts) - len(asked)
    yield from work.look(asked)
    kept = distinct(work.found)
    work.left_out[TWICE] = len(work.found) - len(kept)
    return SegmentedEach(kept, +work.left_out)


class _Work:
    """What has been found so far."""

    def __init__(
        self,
        slide: Slide,
        segmenter: Segmenter,
        view_downsample: float,
        layer: AnnotationLayer | None,
        queue: InferenceQueue,
        priority: Priority,
        total: int,
    ) -> None:
        self.found: list[Candidate] = []
        self.left_out = Counter[str]()
        self._slide, self._segmenter, self._view = slide, segmenter, view_downsample
        self._taken, self._queue, self._priority = Taken(layer), queue, priority
        self._pace, self._done, self._total = Pace(queue), 0, total

    def look(self, asked: Sequence[Asked], looks: int = LOOKS) -> Job[None]:
        """Answer objects; those that their crop does not suit are looked at again."""
        shape = self._slide.levels[0].shape
        for shared in shared_crops(asked, self._segmenter.input_px, self._view, shape):
            again = []
            crop, candidates = yield from self._answer(shared)
            for one, candidate in zip(shared.asked, candidates, strict=True):
                size = self._better_size(one, candidate, crop) if looks > 1 else None
                if size is None:
                    self._take(candidate)
                else:
                    again.append(Asked(one.prompts, size))
            yield from self.look(again, looks - 1)

    def _answer(self, shared: SharedCrop) -> Job[tuple[Crop, list[Candidate]]]:
        """Encode a crop once, and decode as many of its objects together as a unit should take."""
        segmenter, queue = self._segmenter, self._queue
        progress = Progress(self._done, self._total, TEXT, "objects")
        yield progress
        crop = shared.read(self._slide, segmenter.input_px)
        encode = partial(segmenter.encode, crop.rgb)
        embedding = yield from answered(queue, encode, self._priority, progress)
        pixels = max(len(crop.rgb), segmenter.input_px) ** 2
        candidates: list[Candidate] = []
        while len(candidates) < len(shared.asked):
            start = len(candidates)
            said = [one.prompts for one in shared.asked[start : start + self._pace.points(pixels)]]
            decode = partial(segmenter.decode, embedding, [crop.prompts(each) for each in said])
            unit = partial(self._pace.timed, decode, len(said))
            answer = yield from answered(queue, unit, self._priority, progress)
            candidates += [
                candidate_of(crop, answer, segmenter.name, each, number)
                for number, each in enumerate(said)
            ]
        return crop, candidates

    def _better_size(self, asked: Asked, candidate: Candidate, crop: Crop) -> float | None:
        """How large an object is that has to be looked at again; ``None``: it has not."""
        if asked.prompts.box is not None:
            return None
        shown = candidate if asked.size is not None else smallest(candidate)
        return better_size(shown, crop, self._segmenter.input_px, SLACK)

    def _take(self, candidate: Candidate) -> None:
        self._done += 1
        if candidate.box is None or not _on_slide(candidate.box, self._slide):
            self.left_out[NOTHING] += 1
        elif self._taken.covers(candidate):
            self.left_out[THERE] += 1
        else:
            self.found.append(candidate.cut_out())


def _on_slide(box: tuple[float, float, float, float], slide: Slide) -> bool:
    """Whether any of a box, level-0 pixels, lies on the slide."""
    (y0, x0, y1, x1), (height, width) = box, slide.levels[0].shape
    return bool(np.isfinite(box).all()) and y1 >= 0 and x1 >= 0 and y0 < height and x0 < width
