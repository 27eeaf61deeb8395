"""Segment an object again: with another segmenter, or more prompts than it was made with."""

from __future__ import annotations

import json

import numpy as np

from ..core.edits import Edit
from ..core.prompts import MaskPrompt, Prompts
from ..io.masks import AnnotationLayer
from .candidate import Candidate, commit_row
from .reshape import exchange, frame_for, region_of, row_of

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
        said = Prompts.from_dict(json.loads(row.prompts))
        if said:  # what was found by example names that only
            return said
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
    row = row_of(layer, number)
    if candidate.box is None:
        raise ValueError("The mask is empty: add a point on the object or draw the box again.")
    both = np.array([row.box, candidate.box])
    frame = frame_for(layer, [*both[:, :2].min(0), *both[:, 2:].max(0)])
    mask = np.zeros((frame.height, frame.width), bool)
    y, x, inner = candidate.mask_at(2**frame.level)
    top, left = y - frame.y, x - frame.x
    mask[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    made = commit_row(candidate, number, row.class_id, author)
    text = f"segment object {number} again"
    return exchange(layer, number, frame, mask, text, overwrite, made)
