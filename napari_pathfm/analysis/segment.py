"""Segment an object from prompts: prompts, crop centred on them, encoder, decoder, candidate.

The encoder runs once a crop and the decoder once a click (Kirillov et al., "Segment Anything",
ICCV 2023, https://github.com/facebookresearch/segment-anything), see
:mod:`napari_pathfm.analysis.crop_cache`.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority, answered
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..models.base import Segmentation, Segmenter
from .candidate import Candidate
from .crop import Box, Crop, Square, check_inside, crop_side, least_side, make_crop
from .crop_cache import CropCache, Seen
from .crop_store import Origin, origin_of

TINY, BEYOND = 3.0, 1.5
"""An object is looked at again if the crop is so many times as large, or does not show all of it:
then it is taken to be so many times as large as what is seen."""

LIKELY = 0.7
"""An answer may be meant if its score is at least this part of the best one."""

LOOKS = 3
"""Crops that are looked at for a click, at most."""

LOGITS_PX, SURE = 256, 8.0
"""Side of a mask that is a prompt, as segmenters get it, and the logit of its pixels."""


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
    looks: int = LOOKS,
) -> Job[Candidate]:
    """Segment the object that the prompts mean.

    Each further click corrects the answer to those before it. Where a first answer shows that the
    object is much smaller than the square that was looked at, or reaches over its edge, it is
    looked at again, in a square that fits it. Answers before the last one, also of a crop that is
    encoded already though it shows the object from afar, are told as :attr:`Progress.so_far`.

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
    looks : int
        At most so many crops are looked at.

    Raises
    ------
    ValueError
        There is no prompt that says where the object is, they lie outside the slide, or the
        segmenter does not understand such prompts.
    """
    if not prompts:
        raise ValueError("There is no prompt yet: click on an object or draw a box around it.")
    check_answers(segmenter, prompts)
    check_inside(slide, prompts)
    queue = queue or device_queue(segmenter.device)
    cache = cache if cache is not None else CropCache(1)
    origin = origin_of(slide, segmenter)
    around: Box | None = None
    looks = 1 if crop is not None or prompts.box is not None else looks
    for look in range(1, looks + 1):
        side = crop_side(prompts, segmenter.input_px, view_downsample, size)
        seen = cache.find(origin, prompts, side) if crop is None else None
        if seen is None:
            hint = cache.rough(origin, prompts, side) if crop is None and look == 1 else None
            if hint is not None:
                yield from _hinted(segmenter, hint, prompts, queue, priority)
            yield Progress(0, 3, "reading the slide")
            looked = crop or make_crop(
                slide, prompts, segmenter.input_px, view_downsample, size, around
            )
            wanted = side if crop is None else None
            encode = partial(_encode, segmenter, cache, origin, looked, prompts, wanted)
            seen = yield from answered(queue, encode, priority, Progress(1, 3, "encoding"))
        found = yield from _decoded(segmenter, seen, prompts, queue, priority)
        cache.keep(origin, seen)  # only now: the answer does not wait for the disk
        candidate = candidate_of(seen.crop, found, segmenter.name, prompts)
        shown = candidate if size is not None else meant(candidate)
        better = better_size(shown, seen.crop, segmenter.input_px)
        if look == looks or better is None:
            break
        size, around = better, shown.box
        yield Progress(0, 3, "looking closer", so_far=shown)
    return candidate


def _hinted(
    segmenter: Segmenter, seen: Seen, prompts: Prompts, queue: InferenceQueue, priority: Priority
) -> Job[None]:
    """Answer from a crop that is at hand, while nobody has seen a better one."""
    found = yield from _decoded(segmenter, seen, prompts, queue, priority)
    candidate = meant(candidate_of(seen.crop, found, segmenter.name, prompts))
    yield Progress(0, 3, "looking closer", so_far=candidate)


def _decoded(
    segmenter: Segmenter, seen: Seen, prompts: Prompts, queue: InferenceQueue, priority: Priority
) -> Job[Segmentation]:
    """Answer prompts; what was shown under the pointer is not asked for again."""
    latest = seen.latest
    if latest is not None and latest[0] == prompts.key:
        seen.logits[prompts.key] = latest[1].logits[:, 0]
        return latest[1]
    decode = partial(_decode, segmenter, seen, prompts)
    return (yield from answered(queue, decode, priority, Progress(2, 3, "decoding")))


def _encode(
    segmenter: Segmenter,
    cache: CropCache,
    origin: Origin,
    crop: Crop,
    prompts: Prompts,
    side: float | None,
) -> Seen:
    """Encode a crop, unless one of `side` was encoded while this waited; a unit of inference."""
    seen = None if side is None else cache.find(origin, prompts, side)
    return seen or cache.put(origin, crop, segmenter.encode(crop.rgb))


def preview(
    slide: Slide, prompts: Prompts, segmenter: Segmenter, cache: CropCache, side: float
) -> Candidate | None:
    """Answer prompts if a crop is encoded already that shows them; ``None`` if there is none.

    One that shows them from afar is better than none. It is a unit of inference, so it runs in the
    thread of an :class:`InferenceQueue`. Parameters are those of :func:`segment`; `side` is that of
    the square to look at, see :func:`~.crop.crop_side`. What is answered is not kept: the pointer
    moves on.
    """
    origin = origin_of(slide, segmenter)
    seen = cache.find(origin, prompts, side)
    hint = cache.rough(origin, prompts, side) if seen is None else seen
    if hint is None:
        return None
    found = _decode(segmenter, hint, prompts, False)
    candidate = candidate_of(hint.crop, found, segmenter.name, prompts)
    return candidate if seen is not None else meant(candidate)


def candidate_of(
    crop: Square, found: Segmentation, model: str, prompts: Prompts, number: int = 0
) -> Candidate:
    """Place the answer to the object `number` of those that were asked about on the slide."""
    return Candidate(
        masks=found.masks[number],
        choice=0,
        scores=found.scores[number],
        y=crop.y,
        x=crop.x,
        downsample=crop.side / found.masks.shape[-1],
        model=model,
        prompts=prompts,
    )


def smallest(candidate: Candidate) -> Candidate:
    """Choose the smallest answer that may be meant, where nobody knows the size yet.

    From far a click on a nucleus may as well mean its gland; from near both can be told apart.
    """
    least = LIKELY * float(candidate.scores.max())
    likely = [candidate.chosen(n) for n, score in enumerate(candidate.scores) if score >= least]
    sized = [(each.size, number) for number, each in enumerate(likely) if each.size is not None]
    return likely[min(sized)[1]] if sized else candidate


def meant(candidate: Candidate) -> Candidate:
    """Choose as :func:`smallest` where a single click leaves open what is meant."""
    prompts = candidate.prompts
    said = prompts.box is not None or prompts.mask is not None or len(prompts.points) > 1
    return candidate if said else smallest(candidate)


def better_size(
    candidate: Candidate, crop: Square, input_px: int, slack: float = 1.0
) -> float | None:
    """About how large an object is that its crop does not show well; ``None`` if it does.

    It is tiny in the crop, or reaches over the edge and is larger than what is seen of it. A crop
    that several objects share may be `slack` times as large as that of one.
    """
    if candidate.box is None or candidate.size is None:
        return None
    y0, x0, y1, x1 = candidate.box
    edge = crop.side / 64
    over = min(y0 - crop.y, x0 - crop.x, crop.y + crop.side - y1, crop.x + crop.side - x1) < edge
    if over:
        return BEYOND * candidate.size
    nearest = crop.side <= 1.1 * slack * least_side(input_px)
    tiny = crop.side > TINY * slack * candidate.size and not nearest
    return candidate.size if tiny else None


def _decode(segmenter: Segmenter, seen: Seen, prompts: Prompts, keep: bool = True) -> Segmentation:
    """Answer prompts one after the other, each with the answer before; a unit of inference."""
    corrects = "mask" in segmenter.answers
    logits = _known_mask(seen.crop, prompts) if corrects else None
    found: Segmentation | None = None
    for said in prompts.grown() if corrects else (prompts,):
        known = seen.logits.get(said.key)
        if known is None or said.key == prompts.key:
            if seen.latest is not None and seen.latest[0] == said.key:
                found = seen.latest[1]
            else:
                found = segmenter.decode(seen.embedding, [seen.crop.prompts(said)], logits)
                seen.latest = said.key, found
            known = found.logits[:, 0]
            if keep or said.key != prompts.key:
                seen.logits[said.key] = known
        logits = known
    if found is None:
        raise ValueError("All points say where the object is not: add one on it.")
    return found


def _known_mask(crop: Square, prompts: Prompts) -> NDArray[np.float32] | None:
    """Logits ``(1, 256, 256)`` of the mask that is a prompt, as an earlier answer has them."""
    known = prompts.mask
    if known is None:
        return None
    inside = known.sampled(crop.y, crop.x, crop.side / LOGITS_PX, LOGITS_PX)
    return np.where(inside, SURE, -SURE).astype(np.float32)[None]


def check_answers(segmenter: Segmenter, prompts: Prompts) -> None:
    """Raise ``ValueError`` with a remedy where the segmenter cannot answer such prompts."""
    if prompts.box is None and not prompts.positive.any():
        raise ValueError(
            "All points say where the object is not: add a positive point or a box on it."
        )
    if prompts.box is None and "points" not in segmenter.answers:
        raise ValueError(
            f"{segmenter.name} does not answer points alone: draw a box around the object, or "
            "choose one that does (pathfm-click)."
        )
    if prompts.box is not None and "box" not in segmenter.answers:
        raise ValueError(
            f"{segmenter.name} does not answer boxes: click on the object, or choose pathfm-click."
        )
