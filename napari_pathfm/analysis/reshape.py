"""Change objects of an annotation layer by what a segmenter answers, or by their own shape.

Each verb makes one edit, which the caller commits. Very large objects are worked on at a coarser
level of the layer, so that they fit into memory; only pixels that change are painted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.edits import Edit, ObjectRow
from ..io.masks import AnnotationLayer
from .candidate import COMMIT_PX, Candidate

SMOOTH_PX = 3.0
"""Radius of the discs with which an outline is smoothed, pixels of the level."""


@dataclass(frozen=True, eq=False)
class Region:
    """The box of an object and one pixel around it, at a level where it fits into memory.

    Attributes
    ----------
    level, y, x : int
        Upper left corner, in pixels of the level.
    mask : ndarray
        ``(h, w)`` bool: the object.
    free : ndarray
        ``(h, w)`` bool: no object is there.
    """

    level: int
    y: int
    x: int
    mask: NDArray[np.bool_]
    free: NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """A box and one pixel around it, at the finest level where it fits into memory.

    Attributes
    ----------
    level, y, x, height, width : int
        In pixels of the level.
    """

    level: int
    y: int
    x: int
    height: int
    width: int


def frame_for(layer: AnnotationLayer, box: Sequence[float]) -> Frame:
    """Return the frame of ``(y0, x0, y1, x1)`` in level-0 pixels."""
    y0, x0 = math.floor(box[0]), math.floor(box[1])
    y1, x1 = math.ceil(box[2]), math.ceil(box[3])
    level, last = 0, len(layer.levels) - 1
    while (y1 - y0) * (x1 - x0) / 4**level > COMMIT_PX and level < last:
        level += 1
    factor = 2**level
    y, x = y0 // factor - 1, x0 // factor - 1
    return Frame(level, y, x, -(-y1 // factor) + 1 - y, -(-x1 // factor) + 1 - x)


def region_of(layer: AnnotationLayer, number: int) -> Region:
    """Read an object.

    Raises
    ------
    ValueError
        There is no such object.
    """
    frame = frame_for(layer, row_of(layer, number).box)
    ids = layer.read(frame.level, frame.y, frame.x, frame.height, frame.width)
    return Region(frame.level, frame.y, frame.x, ids == number, ids == 0)


def exchange(
    layer: AnnotationLayer,
    number: int,
    frame: Frame,
    mask: NDArray[np.bool_],
    text: str,
    overwrite: bool = False,
    row: ObjectRow | None = None,
) -> Edit:
    """Make the edit that gives an object these pixels instead of its own.

    Parameters
    ----------
    layer : AnnotationLayer
    number : int
    frame : Frame
        Holds the object and the mask.
    mask : ndarray
        ``(height, width)`` bool, pixels of the frame.
    text : str
        For the history.
    overwrite : bool
        Whether it takes pixels from other objects.
    row : ObjectRow, optional
        What describes it from now on; if absent, a hand has corrected it.

    Raises
    ------
    ValueError
        Nothing would be left of it.
    """
    before = layer.read(frame.level, frame.y, frame.x, frame.height, frame.width)
    if not overwrite:
        mask = mask & ((before == 0) | (before == number))
    if not mask.any():
        raise ValueError(
            f"Nothing would be left of object {number}: its new shape is empty, or other objects "
            "cover all of it."
        )
    return layer.paint_edit(
        frame.y,
        frame.x,
        np.where(mask, number, 0).astype(np.uint32),
        mask | (before == number),
        text,
        rows={} if row is None else {number: row},
        level=frame.level,
        by_hand=row is None,
    )


def met(layer: AnnotationLayer, candidate: Candidate) -> int:
    """Return the object that most pixels of a candidate lie on, or that it touches.

    Raises
    ------
    ValueError
        There is none.
    """
    from scipy.ndimage import binary_dilation

    y, x, mask = candidate.level0_mask()
    mask = np.pad(mask, 1)
    ids = layer.read(0, y - 1, x - 1, *mask.shape)
    for part in (mask, binary_dilation(mask, np.ones((3, 3)))):
        below = ids[part & (ids > 0)]
        if below.size:
            numbers, counts = np.unique(below, return_counts=True)
            return int(numbers[counts.argmax()])
    raise ValueError(
        "The object in work touches no other: choose one first, in the table or with napari's "
        "picker."
    )


def add_to(
    layer: AnnotationLayer, number: int, candidate: Candidate, overwrite: bool = False
) -> Edit:
    """Make the edit that gives an object the pixels of a candidate, too.

    Parameters
    ----------
    layer : AnnotationLayer
    number : int
        The object.
    candidate : Candidate
    overwrite : bool
        Whether it takes pixels from other objects.

    Raises
    ------
    ValueError
        There is no such object.
    """
    row_of(layer, number)
    y, x, mask = candidate.level0_mask()
    if not overwrite:
        mask = mask & (layer.read(0, y, x, *mask.shape) == 0)
    return _painted(layer, 0, y, x, mask, number, f"add to object {number}")


def take_from(layer: AnnotationLayer, number: int, candidate: Candidate) -> Edit:
    """Make the edit that takes the pixels of a candidate away from an object.

    Raises
    ------
    ValueError
        There is no such object.
    """
    row_of(layer, number)
    y, x, mask = candidate.level0_mask()
    mask = mask & (layer.read(0, y, x, *mask.shape) == number)
    return _painted(layer, 0, y, x, mask, 0, f"take from object {number}")


def fill_holes(layer: AnnotationLayer, number: int) -> Edit:
    """Make the edit that fills what an object encloses; other objects in it stay.

    Raises
    ------
    ValueError
        There is no such object.
    """
    from scipy.ndimage import binary_fill_holes

    found = region_of(layer, number)
    holes = binary_fill_holes(found.mask) & ~found.mask & found.free
    text = f"fill holes of object {number}"
    return _painted(layer, found.level, found.y, found.x, holes, number, text)


def smooth(layer: AnnotationLayer, number: int, radius: float = SMOOTH_PX) -> Edit:
    """Make the edit that opens and closes an object with a disc: corners and slits narrower go.

    Parameters
    ----------
    layer : AnnotationLayer
    number : int
    radius : float
        Of the disc, in pixels of the level that is worked on: level 0 unless the object is huge.

    Raises
    ------
    ValueError
        There is no such object, or nothing would be left of it.
    """
    found = region_of(layer, number)
    edge = int(np.ceil(radius)) + 1
    mask = np.pad(found.mask, edge)
    closed = _shrunk(_grown(mask, radius), radius)
    opened = _grown(_shrunk(closed, radius), radius)[edge:-edge, edge:-edge]
    if not opened.any():
        raise ValueError(
            f"Object {number} is narrower than the disc: nothing would be left of it. Choose a "
            "smaller one."
        )
    ids = np.where(opened, number, 0)
    changed = (opened & found.free) | (found.mask & ~opened)
    text = f"smooth object {number}"
    return layer.paint_edit(found.y, found.x, ids, changed, text, level=found.level, by_hand=True)


def split(layer: AnnotationLayer, number: int) -> Edit:
    """Make the edit that makes objects of the parts of an object.

    Parts that do not touch each other; of one that hangs together, the two halves on the sides of
    its narrowest place (by watershed of the distance from the edge). The largest part keeps the id,
    the others have all else of its row.

    Raises
    ------
    ValueError
        There is no such object, or it has no narrow place.
    """
    from scipy.ndimage import label

    row, found = row_of(layer, number), region_of(layer, number)
    parts, count = label(found.mask, np.ones((3, 3)))
    if count < 2:
        parts = _halves(found.mask)
        count = int(parts.max())
    if count < 2:
        raise ValueError(
            f"Object {number} has no narrow place to split it at: erase a line through it first."
        )
    order = np.argsort(-np.bincount(parts.ravel())[1:], kind="stable") + 1
    numbers = [int(new) for new in layer.new_ids(count - 1)]
    ids = np.zeros(count + 1, np.uint32)
    ids[order] = [number, *numbers]
    rows = {new: row.with_(id=new, corrected=row.how != "brush") for new in numbers}
    changed = found.mask & (parts != order[0])
    text = f"split object {number}"
    return layer.paint_edit(
        found.y, found.x, ids[parts], changed, text, rows, found.level, by_hand=True
    )


def _halves(mask: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Number the two sides of the narrowest place: ``(h, w)``, 1 and 2, 0 outside; or all 1."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    depth = gaussian_filter(distance_transform_edt(mask), 1.0)
    peaks = peak_local_max(
        depth, min_distance=max(1, int(depth.max() / 2)), labels=mask.astype(int), num_peaks=2
    )
    seeds = np.zeros(mask.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    halves: NDArray[np.integer] = watershed(-depth, seeds, mask=mask)
    return halves


def _grown(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    from scipy.ndimage import distance_transform_edt

    near: NDArray[np.bool_] = distance_transform_edt(~mask) <= radius
    return near if mask.any() else mask


def _shrunk(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    from scipy.ndimage import distance_transform_edt

    deep: NDArray[np.bool_] = distance_transform_edt(mask) > radius
    return deep


def row_of(layer: AnnotationLayer, number: int) -> ObjectRow:
    """Return the row of an object; ``ValueError`` if there is none."""
    row = layer.objects.get(number)
    if row is None:
        raise ValueError(f"The layer {layer.name!r} has no object {number}.")
    return row


def _painted(
    layer: AnnotationLayer,
    level: int,
    y: int,
    x: int,
    mask: NDArray[np.bool_],
    number: int,
    text: str,
) -> Edit:
    ids = np.full(mask.shape, number, np.uint32)
    return layer.paint_edit(y, x, ids, mask, text, level=level, by_hand=True)
