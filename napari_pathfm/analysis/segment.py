"""Segment an object from prompts: prompts, crop centred on them, encoder, decoder, candidate.

The encoder runs once a crop and the decoder once a click (Kirillov et al., "Segment Anything",
ICCV 2023, https://github.com/facebookresearch/segment-anything), see
:mod:`napari_pathfm.analysis.crop`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from concurrent.futures import wait
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.edits import Edit, ObjectRow
from ..core.inference import InferenceQueue, Priority
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..io.masks import AnnotationLayer
from ..models.base import Segmentation, Segmenter
from .crop import ENLARGE, Box, Crop, CropCache, Seen, crop_side, make_crop

T = TypeVar("T")

TINY = 5.0
"""An object is looked at again if the crop is so many times as large."""

LOOKS = 3
"""At most so many crops are looked at for a click."""

COMMIT_PX = 1 << 26
"""A mask of more pixels than this is committed from a coarser level of the annotation layer."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a segmenter answered, before it is committed.

    Attributes
    ----------
    masks : ndarray
        ``(K, h, w)`` bool, pixels of the crop, best first; K is 3 for a segmenter's answer.
    choice : int
        Which of them is meant.
    scores : ndarray
        ``(K,)`` float32, the model's own estimate of the IoU.
    y, x : float
        Upper left corner of the crop, level-0 pixels.
    downsample : float
        Level-0 pixels per pixel of `masks`.
    model : str
        Name of the segmenter.
    prompts : Prompts
        In level-0 pixels.
    """

    masks: NDArray[np.bool_]
    choice: int
    scores: NDArray[np.float32]
    y: float
    x: float
    downsample: float
    model: str
    prompts: Prompts

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The chosen mask, ``(h, w)`` bool, pixels of the crop."""
        chosen: NDArray[np.bool_] = self.masks[self.choice]
        return chosen

    @property
    def box(self) -> Box | None:
        """``(y0, x0, y1, x1)`` around the chosen mask, level-0 pixels; ``None`` if it is empty."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return None
        scale = self.downsample
        top, left = self.y + rows[0] * scale, self.x + cols[0] * scale
        return top, left, self.y + (rows[-1] + 1) * scale, self.x + (cols[-1] + 1) * scale

    @property
    def box_area(self) -> float:
        """Level-0 pixels of the box round the chosen mask."""
        if self.box is None:
            return 0.0
        y0, x0, y1, x1 = self.box
        return (y1 - y0) * (x1 - x0)

    @property
    def size(self) -> float | None:
        """Longer side of that box; ``None`` if the mask is empty."""
        if self.box is None:
            return None
        y0, x0, y1, x1 = self.box
        return max(y1 - y0, x1 - x0)

    def chosen(self, choice: int) -> Candidate:
        """Return the same answer with another of its masks chosen."""
        return replace(self, choice=choice)

    @property
    def score(self) -> float:
        """The model's estimate for the chosen mask, 0 to 1."""
        return float(np.clip(self.scores[self.choice], 0, 1))

    def mask_at(self, factor: int) -> tuple[int, int, NDArray[np.bool_]]:
        """Draw the mask on the slide's pixels, `factor` x `factor` taken as one.

        Parameters
        ----------
        factor : int
            Level-0 pixels per pixel of the answer.

        Returns
        -------
        y, x : int
            Upper left corner, in pixels of the answer.
        mask : ndarray
            ``(h, w)`` bool: the box around the mask, each pixel by the crop's pixel in which its
            centre lies; ``(0, 0)`` for an empty mask.
        """
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return 0, 0, np.zeros((0, 0), bool)
        y, row = _centres(self.y, self.downsample, factor, rows[0], rows[-1])
        x, col = _centres(self.x, self.downsample, factor, cols[0], cols[-1])
        return y, x, self.mask[np.ix_(row, col)]

    def level0_mask(self) -> tuple[int, int, NDArray[np.bool_]]:
        """Draw the mask on level 0: ``(y, x, (h, w) bool)``, see :meth:`mask_at`."""
        return self.mask_at(1)


def _centres(
    start: float, downsample: float, factor: int, first: int, last: int
) -> tuple[int, NDArray[np.int64]]:
    """Pixels whose centres lie in crop pixels `first` to `last`, and the crop pixel of each."""
    low = math.ceil((start + first * downsample) / factor - 0.5)
    high = math.ceil((start + (last + 1) * downsample) / factor - 0.5)
    centres = (np.arange(low, max(high, low)) + 0.5) * factor
    pixel = np.floor((centres - start) / downsample).astype(np.int64)
    return low, pixel.clip(first, last)


def segment(
    slide: Slide,
    prompts: Prompts,
    segmenter: Segmenter,
    view_downsample: float = 1.0,
    cache: CropCache | None = None,
    queue: InferenceQueue | None = None,
    crop: Crop | None = None,
    size: float | None = None,
    priority: Priority = Priority.CLICK,
) -> Job[Candidate]:
    """Segment the object that the prompts mean.

    Each further click corrects the answer to those before it. Where a first answer shows that the
    object is much smaller than the square that was looked at, or reaches over its edge, it is
    looked at again, in a square that fits it.

    Parameters
    ----------
    slide : Slide
    prompts : Prompts
        Of one object, level-0 pixels, in the order in which they were given.
    segmenter : Segmenter
    view_downsample : float
        Level-0 pixels per screen pixel of the view.
    cache : CropCache, optional
        Where encoded crops are looked up and kept.
    queue : InferenceQueue, optional
        Default: the one of the segmenter's device.
    crop : Crop, optional
        Look at this one; by default it is chosen by :func:`make_crop`.
    size : float, optional
        About how large the object is, level-0 pixels: :attr:`Candidate.size` of the answer to the
        clicks before, or of the last object.
    priority : Priority
        In the queue.

    Raises
    ------
    ValueError
        There is no prompt that says where the object is, they lie outside the slide, or the
        segmenter does not understand such prompts.
    """
    if not prompts:
        raise ValueError("There is no prompt yet: click on an object or draw a box around it.")
    check_answers(segmenter, prompts)
    queue = queue or device_queue(segmenter.device)
    cache = cache if cache is not None else CropCache(1)
    around: Box | None = None
    looks = 1 if crop is not None or prompts.box is not None else LOOKS
    for look in range(1, looks + 1):
        side = crop_side(prompts, segmenter.input_px, view_downsample, size)
        seen = cache.find(slide.id, segmenter.name, prompts, side) if crop is None else None
        if seen is None:
            yield Progress(0, 3, "reading the slide")
            looked = crop or make_crop(
                slide, prompts, segmenter.input_px, view_downsample, size, around
            )
            encode = partial(segmenter.encode, looked.rgb)
            embedding = yield from _answer(queue, encode, priority, 1, "encoding")
            seen = cache.put(slide.id, segmenter.name, looked, embedding)
        decode = partial(_decode, segmenter, seen, prompts)
        found = yield from _answer(queue, decode, priority, 2, "decoding")
        looked, candidate = seen.crop, _candidate(seen.crop, found, segmenter, prompts)
        if look == looks or _fits(candidate, looked, segmenter.input_px):
            break
        size, around = candidate.size, candidate.box
    return candidate


def preview(
    slide: Slide,
    prompts: Prompts,
    segmenter: Segmenter,
    cache: CropCache,
    side: float,
    queue: InferenceQueue | None = None,
) -> Job[Candidate | None]:
    """Answer prompts if a crop is encoded already that shows them; ``None`` if there is none.

    Parameters are those of :func:`segment`; `side` is that of the square to look at, see
    :func:`~.crop.crop_side`. What is answered is not kept: the pointer moves on.
    """
    seen = cache.find(slide.id, segmenter.name, prompts, side)
    if seen is None:
        return None
    queue = queue or device_queue(segmenter.device)
    decode = partial(_decode, segmenter, seen, prompts, False)
    found = yield from _answer(queue, decode, Priority.HOVER, 2, "decoding")
    return _candidate(seen.crop, found, segmenter, prompts)


def _candidate(
    crop: Crop, found: Segmentation, segmenter: Segmenter, prompts: Prompts
) -> Candidate:
    return Candidate(
        masks=found.masks[0],
        choice=0,
        scores=found.scores[0],
        y=crop.y,
        x=crop.x,
        downsample=crop.side / found.masks.shape[-1],
        model=segmenter.name,
        prompts=prompts,
    )


def _fits(candidate: Candidate, crop: Crop, input_px: int) -> bool:
    """Whether the crop shows the object well: neither tiny nor over the edge."""
    if candidate.box is None or candidate.size is None:
        return True
    y0, x0, y1, x1 = candidate.box
    edge = crop.side / 64
    over = min(y0 - crop.y, x0 - crop.x, crop.y + crop.side - y1, crop.x + crop.side - x1) < edge
    nearest = crop.side <= 1.1 * input_px / ENLARGE
    tiny = crop.side > TINY * candidate.size and not nearest
    return not tiny and not over


def _decode(segmenter: Segmenter, seen: Seen, prompts: Prompts, keep: bool = True) -> Segmentation:
    """Answer prompts one after the other, each with the answer before; a unit of inference."""
    corrects = "mask" in segmenter.answers
    logits: NDArray[np.float32] | None = None
    found: Segmentation | None = None
    for said in prompts.grown() if corrects else (prompts,):
        known = seen.logits.get(said.key)
        if known is None or said.key == prompts.key:
            found = segmenter.decode(seen.embedding, [seen.crop.prompts(said)], logits)
            known = found.logits[:, 0]
            if keep or said.key != prompts.key:
                seen.logits[said.key] = known
        logits = known
    if found is None:
        raise ValueError("All points say where the object is not: add one on it.")
    return found


def check_answers(segmenter: Segmenter, prompts: Prompts) -> None:
    """Raise ``ValueError`` with a remedy where the segmenter cannot answer such prompts."""
    if prompts.box is None and not prompts.positive.any():
        raise ValueError(
            "All points say where the object is not: add a positive point or a box on it."
        )
    if prompts.box is None and "points" not in segmenter.answers:
        raise ValueError(
            f"{segmenter.name} does not answer points alone: draw a box around the object, or "
            "choose a SAM model (sam-vit-b)."
        )
    if prompts.box is not None and "box" not in segmenter.answers:
        raise ValueError(
            f"{segmenter.name} does not answer boxes: click on the object, or choose a SAM model."
        )


def _answer(
    queue: InferenceQueue, unit: Callable[[], T], priority: Priority, step: int, text: str
) -> Generator[Progress, None, T]:
    # Reports while it waits, so that whoever cancels is heard; what still waits is taken out.
    future = queue.submit(unit, priority)
    try:
        while not future.done():
            yield Progress(step, 3, text)
            wait([future], timeout=0.05)
        return future.result()
    finally:
        future.cancel()


def commit_edit(
    layer: AnnotationLayer,
    candidate: Candidate,
    class_id: int,
    author: str = "",
    overwrite: bool = True,
) -> Edit:
    """Build the edit that makes a candidate an object of the layer.

    Parameters
    ----------
    layer : AnnotationLayer
    candidate : Candidate
    class_id : int
        0 for no class yet.
    author : str
    overwrite : bool
        Whether it takes pixels from objects that are there already.

    Returns
    -------
    Edit
        To be committed by the caller.

    Raises
    ------
    ValueError
        The mask is empty, lies outside the slide or, with ``overwrite=False``, wholly on other
        objects.
    """
    level = _commit_level(candidate, len(layer.levels))
    y, x, mask = _clipped(*candidate.mask_at(2**level), layer.levels[level])
    if not overwrite and mask.any():
        mask = mask & (layer.read(level, y, x, *mask.shape) == 0)
    if not mask.any():
        raise ValueError(
            "The mask is empty, so there is nothing to commit: add a point on the object or draw "
            "the box again."
        )
    number = layer.new_id()
    row = ObjectRow(
        id=number,
        class_id=class_id,
        how="prompt",
        model=candidate.model,
        prompts=json.dumps(candidate.prompts.as_dict()),
        score=candidate.score,
        author=author,
    )
    ids = np.full(mask.shape, number, np.uint32)
    text = f"commit object {number}"
    return layer.paint_edit(y, x, ids, mask, text, rows={number: row}, level=level)


def _commit_level(candidate: Candidate, levels: int) -> int:
    """Finest level at which the mask is small enough to hold."""
    area = candidate.box_area
    level = 0
    while area / 4**level > COMMIT_PX and level < levels - 1:
        level += 1
    return level


def _clipped(
    y: int, x: int, mask: NDArray[np.bool_], shape: tuple[int, int]
) -> tuple[int, int, NDArray[np.bool_]]:
    """Cut off what lies outside ``shape``."""
    top, left = max(0, -y), max(0, -x)
    bottom, right = max(top, shape[0] - y), max(left, shape[1] - x)
    return y + top, x + left, mask[top:bottom, left:right]
