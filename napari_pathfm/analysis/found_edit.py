"""What was found by example becomes one edit of an annotation layer."""

from __future__ import annotations

import json
import math

import numpy as np
from numpy.typing import NDArray

from ..core.edits import Edit, ObjectRow
from ..io.masks import AnnotationLayer
from .by_example import FoundByExample
from .candidate import COMMIT_PX, Candidate
from .window import overlap


class NothingNew(ValueError):
    """Nothing was found, or nothing that is not annotated already; the message says which."""


KNOWN = 0.5
"""What is found is left out if more than this part of it is an object already."""


def found_edit(
    layer: AnnotationLayer, found: FoundByExample, class_id: int = 0, author: str = ""
) -> Edit:
    """Make one edit of all that was found; what is annotated already stays as it is.

    Parameters
    ----------
    layer : AnnotationLayer
    found : FoundByExample
    class_id : int
        0 for no class yet.
    author : str

    Returns
    -------
    Edit
        To be committed by the caller.

    Raises
    ------
    NothingNew
        Nothing was found, or nothing that is not annotated yet.
    """
    boxes = [each.box for each in found.objects]
    areas = [box for box in boxes if box is not None]
    if not areas:
        raise NothingNew(
            f"Nothing here looks like the examples of {found.example!r}. Look elsewhere, or save "
            "another object as an example of the same name."
        )
    level = _level(layer, found, np.array(areas))
    factor = 2**level
    corners = np.array(areas)
    low = np.floor(corners[:, :2].min(0) / factor).astype(int).clip(0)
    high = np.ceil(corners[:, 2:].max(0) / factor).astype(int)
    high = np.minimum(high, layer.levels[level])
    old = layer.read(level, int(low[0]), int(low[1]), *(high - low).clip(0).tolist())
    ids = np.zeros(old.shape, np.uint32)
    rows = {}
    # The surest lies on top.
    for each in sorted(found.objects, key=lambda one: one.score):
        window = _draw(ids, each, factor, low)
        if window is None or (old[window[0]][window[1]] > 0).mean() > KNOWN:
            continue
        number = layer.new_id()
        ids[window[0]][window[1]] = number
        rows[number] = ObjectRow(
            id=number,
            class_id=class_id,
            how="predict",
            model=each.model,
            prompts=json.dumps({"example": found.example}),
            score=each.score,
            author=author,
        )
    if not rows:
        raise NothingNew(
            f"What looks like the examples of {found.example!r} here is annotated already."
        )
    text = f"segment by example {found.example}"
    mask = (ids > 0) & (old == 0)
    return layer.paint_edit(int(low[0]), int(low[1]), ids, mask, text, rows, level)


def _level(layer: AnnotationLayer, found: FoundByExample, boxes: NDArray[np.float64]) -> int:
    """Finest level that shows what the masks know, and at which all of them can be held."""
    finest = min(each.downsample for each in found.objects)
    level, last = max(0, math.floor(math.log2(finest))), len(layer.levels) - 1
    height, width = boxes[:, 2:].max(0) - boxes[:, :2].min(0)
    while height * width / 4**level > COMMIT_PX and level < last:
        level += 1
    return min(level, last)


def _draw(
    ids: NDArray[np.uint32], candidate: Candidate, factor: int, low: NDArray[np.int64]
) -> tuple[tuple[slice, slice], NDArray[np.bool_]] | None:
    """Where in an image of ids a mask lies, and which pixels of that; nothing if none."""
    y, x, mask = candidate.mask_at(factor)
    into_y, from_y = overlap(y - int(low[0]), mask.shape[0], ids.shape[0])
    into_x, from_x = overlap(x - int(low[1]), mask.shape[1], ids.shape[1])
    inner = mask[from_y, from_x]
    return ((into_y, into_x), inner) if inner.any() else None
