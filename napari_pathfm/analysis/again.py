"""Segment an object again: with another segmenter, or more prompts than it was made with."""

from __future__ import annotations

import json

import numpy as np

from ..core.edits import Edit, ObjectRow
from ..core.prompts import MaskPrompt, Prompts
from ..io.masks import AnnotationLayer
from .candidate import COMMIT_PX, Candidate, commit_row
from .reshape import region_of

MASK_PX = 256
"""Side of the masks that are kept as prompts: segmenters take no finer ones."""


def prompts_of(layer: AnnotationLayer, number: int) -> Prompts:
    """Return what an object was made with; its own mask and the box round it if by nothing.

    An object that a hand has corrected since counts as it is now.

    Raises
    ------
    ValueError
        There is no such object.
    """
    row = layer.objects.get(number)
    if row is not None and row.prompts and not row.corrected:
        return Prompts.from_dict(json.loads(row.prompts))
    found = region_of(layer, number)
    step = max(1, -(-max(found.mask.shape) // MASK_PX))
    mask = found.mask[step // 2 :: step, step // 2 :: step]
    if not mask.any():  # thinner than a step
        mask = np.ones_like(mask)
    factor = 2**found.level
    prompt = MaskPrompt(mask, found.y * factor, found.x * factor, float(factor * step))
    return Prompts(box=prompt.box, mask=prompt)


def replace(
    layer: AnnotationLayer,
    number: int,
    candidate: Candidate,
    author: str = "",
    overwrite: bool = True,
) -> Edit:
    """Make the edit that gives an object the pixels of a candidate instead of its own.

    Parameters
    ----------
    layer : AnnotationLayer
    number : int
        The object; id and class stay.
    candidate : Candidate
    author : str
    overwrite : bool
        Whether it takes pixels from other objects.

    Raises
    ------
    ValueError
        There is no such object, or nothing would be left of it.
    """
    row = layer.objects.get(number)
    if row is None:
        raise ValueError(f"The layer {layer.name!r} has no object {number}.")
    if candidate.box is None:
        raise ValueError("The mask is empty: add a point on the object or draw the box again.")
    (y0, x0, y1, x1), (v0, u0, v1, u1) = row.box, candidate.box
    top, left = min(y0, int(v0)), min(x0, int(u0))
    bottom, right = max(y1, int(v1) + 1), max(x1, int(u1) + 1)
    level = 0
    while (bottom - top) * (right - left) / 4**level > COMMIT_PX and level < len(layer.levels) - 1:
        level += 1
    factor = 2**level
    y, x = top // factor - 1, left // factor - 1
    height, width = -(-bottom // factor) + 1 - y, -(-right // factor) + 1 - x
    before = layer.read(level, y, x, height, width)
    row_at, col_at, inner = candidate.mask_at(factor)
    mask = np.zeros((height, width), bool)
    mask[row_at - y : row_at - y + len(inner), col_at - x : col_at - x + inner.shape[1]] = inner
    if not overwrite:
        mask &= (before == 0) | (before == number)
    if not mask.any():
        raise ValueError("Nothing would be left of the object: its neighbours cover all of it.")
    made: ObjectRow = commit_row(candidate, number, row.class_id, author)
    return layer.paint_edit(
        y,
        x,
        np.where(mask, number, 0).astype(np.uint32),
        mask | (before == number),
        f"segment object {number} again",
        rows={number: made},
        level=level,
    )
