"""An object as polygons whose corners a hand can move, and back.

Few corners are left of an outline (Douglas and Peucker, Cartographica 1973).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.edits import Edit
from ..io.interop.outlines import outline, strip_corners
from ..io.masks import AnnotationLayer
from .reshape import exchange, frame_for, region_of, row_of

TOLERANCE = 1.0
"""By so many pixels of the level an outline may be off, so that it has few corners."""

MIN_CORNERS = 3
"""Less is no polygon: an object so small keeps every corner."""


def rings_of(
    layer: AnnotationLayer, number: int, tolerance: float = TOLERANCE
) -> list[NDArray[np.float64]]:
    """Return the outlines of an object, with few corners.

    Parameters
    ----------
    layer : AnnotationLayer
    number : int
    tolerance : float
        By how much they may be off, pixels of the level that is worked on: level 0 unless the
        object is huge. 0 for every corner of a pixel.

    Returns
    -------
    list of ndarray
        ``(K, 2)`` corners ``(y, x)`` each, level-0 pixels, the first not repeated: around each
        part and each hole. What lies in an odd number of them is the object.

    Raises
    ------
    ValueError
        There is no such object.
    """
    from skimage.measure import approximate_polygon

    found = region_of(layer, number)
    rings: list[NDArray[np.float64]] = []
    for part in outline([strip_corners(found.mask, found.y, found.x)]):
        for ring in (part.exterior, *part.holes):
            few = np.asarray(approximate_polygon(ring, tolerance))
            kept = few if len(few) > MIN_CORNERS else ring
            rings.append(kept[:-1].astype(np.float64) * 2**found.level)
    return rings


def reshape_to(
    layer: AnnotationLayer,
    number: int,
    rings: Sequence[NDArray[np.floating]],
    overwrite: bool = False,
) -> Edit:
    """Make the edit that gives an object the shape of polygons.

    Parameters
    ----------
    layer : AnnotationLayer
    number : int
    rings : sequence of ndarray
        As of :func:`rings_of`; a pixel belongs to what its centre lies in.
    overwrite : bool
        Whether it takes pixels from other objects.

    Raises
    ------
    ValueError
        There is no such object, or nothing would be left of it.
    """
    from skimage.draw import polygon2mask

    row = row_of(layer, number)
    if not rings:
        raise ValueError(f"There is no polygon left of object {number}: delete it in the table.")
    corners = np.concatenate(list(rings))
    box = [*np.minimum(corners.min(0), row.box[:2]), *np.maximum(corners.max(0), row.box[2:])]
    frame = frame_for(layer, box)
    mask = np.zeros((frame.height, frame.width), bool)
    for ring in rings:
        # skimage has the centre of the first pixel at 0, ours at half a pixel.
        inside = np.asarray(ring) / 2**frame.level - (frame.y + 0.5, frame.x + 0.5)
        mask ^= polygon2mask(mask.shape, inside)
    return exchange(layer, number, frame, mask, f"reshape object {number}", overwrite)
