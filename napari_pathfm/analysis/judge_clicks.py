"""How well a segmenter does with simulated clicks and boxes, on images whose objects are known.

Prompts go through the same job as those of the window, one object of an image after the other.
What the job is told of the scale is what the window tells it: the zoom of the view and, from the
second object of an image on, how large the answer for the one before was; never the truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue
from ..core.jobs import Job, Progress, run
from ..core.prompts import Prompts
from ..core.slide import RGB, Level
from ..models.base import Segmenter
from .candidate import Candidate
from .click_crops import LabelledImage
from .crop import likely_size
from .crop_cache import CropCache
from .segment import segment
from .simulated_clicks import box_around, first_click, next_click

CLICKS = (1, 3, 5)
"""After how many clicks the answer is judged."""

LEAST_PX = 10
"""Least size of an object that is asked for."""


class ArraySlide:
    """An image in memory as a :class:`~napari_pathfm.core.slide.Slide` of one level.

    Parameters
    ----------
    rgb : ndarray
        ``(h, w, 3)`` uint8.
    name : str
    """

    def __init__(self, rgb: RGB, name: str = "array") -> None:
        self._rgb, self.name, self.path = rgb, name, Path(name)
        shape = (rgb.shape[0], rgb.shape[1])
        self.levels = (Level(shape, 1.0, shape),)
        self.id = hashlib.blake2b(rgb.tobytes(), digest_size=16).hexdigest()
        self.mpp = None
        self.properties: Mapping[str, str] = {}
        self.associated_images: tuple[str, ...] = ()
        self.damage: Mapping[tuple[int, int, int], str] = {}

    def associated(self, name: str) -> RGB:
        """There is none."""
        raise KeyError(name)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        """Read a region, ``(height, width, 3)`` uint8, white outside the image."""
        out = np.full((height, width, 3), 255, np.uint8)
        bottom, right = min(y + height, len(self._rgb)), min(x + width, self._rgb.shape[1])
        top, left = max(y, 0), max(x, 0)
        if bottom > top and right > left:
            out[top - y : bottom - y, left - x : right - x] = self._rgb[top:bottom, left:right]
        return out

    def close(self) -> None:
        """Nothing is open."""


def judge(
    segmenter: Segmenter,
    images: Sequence[LabelledImage],
    each: int = 15,
    view_downsample: float = 1.0,
    seed: int = 0,
) -> Job[dict[str, float]]:
    """Measure the mean IoU over objects after 1, 3 and 5 clicks, and with a box.

    The first click is on the innermost point of an object, each further one on the innermost point
    of the largest part that is wrong. After the last one the object counts as done, and the next
    is expected to be about as large, as in the window.

    Parameters
    ----------
    segmenter : Segmenter
    images : sequence of LabelledImage
    each : int
        Objects of an image that are asked for, at most, chosen by `seed`.
    view_downsample : float
        Pixels of an image per screen pixel of the view that is pretended.
    seed : int

    Returns
    -------
    dict
        ``click_1``, ``click_3``, ``click_5``, ``box``: mean IoU; ``first_click_1``: over the first
        objects of the images alone, of whose size nothing is known; ``objects``: how many.
    """
    draw = np.random.default_rng(seed)
    found: dict[str, list[float]] = {
        name: [] for name in (*(f"click_{count}" for count in CLICKS), "box", "first_click_1")
    }
    queue = InferenceQueue(f"judge {segmenter.name}")
    for number, image in enumerate(images):
        slide, cache = ArraySlide(image.rgb, image.name), CropCache(8)
        boxes = image.boxes()
        known = [n for n, b in boxes.items() if min(b[2] - b[0], b[3] - b[1]) >= LEAST_PX]
        last: float | None = None
        for chosen in draw.permutation(known)[:each]:
            truth = image.labels == chosen
            cache.clear()
            expected = likely_size(last, view_downsample)
            job = partial(_answer, segmenter, slide, view=view_downsample, cache=cache, queue=queue)
            clicks, answer = _clicks(job, truth, expected)
            for count in CLICKS:
                found[f"click_{count}"].append(clicks[count - 1])
            if last is None:
                found["first_click_1"].append(clicks[0])
            last = answer.size or last
            cache.clear()
            found["box"].append(_iou(job(Prompts(box=box_around(truth)), size=None), truth))
        yield Progress(number + 1, len(images), "judging", "images")
    means = {name: float(np.mean(values)) if values else 0.0 for name, values in found.items()}
    return means | {"objects": len(found["box"])}


def _clicks(
    job: Callable[..., Candidate], truth: NDArray[np.bool_], size: float | None
) -> tuple[list[float], Candidate]:
    """IoU after each of the clicks, and the last answer."""
    points, signs = [first_click(truth)], [True]
    ious: list[float] = []
    while True:
        answer = job(Prompts(np.array(points, float), np.array(signs, bool)), size=size)
        ious.append(_iou(answer, truth))
        following = next_click(truth, _drawn(answer, truth.shape))
        if following is None or len(ious) == max(CLICKS):
            return ious + [ious[-1]] * (max(CLICKS) - len(ious)), answer
        points.append(following[0])
        signs.append(following[1])
        size = answer.size


def _answer(
    segmenter: Segmenter,
    slide: ArraySlide,
    prompts: Prompts,
    view: float,
    size: float | None,
    cache: CropCache,
    queue: InferenceQueue,
) -> Candidate:
    return run(segment(slide, prompts, segmenter, view, cache, queue, size=size))


def _drawn(answer: Candidate, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the chosen mask on the pixels of the image."""
    y, x, mask = answer.level0_mask()
    out = np.zeros(shape, bool)
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + mask.shape[0], shape[0]), min(x + mask.shape[1], shape[1])
    if bottom > top and right > left:
        out[top:bottom, left:right] = mask[top - y : bottom - y, left - x : right - x]
    return out


def _iou(answer: Candidate, truth: NDArray[np.bool_]) -> float:
    drawn = _drawn(answer, truth.shape)
    return float((drawn & truth).sum() / (drawn | truth).sum())
