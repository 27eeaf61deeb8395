"""Numbers that tell napari the object and its colour at once.

napari finds the colour of a label either by the label modulo the number of colours (10 ms for a
window of 2200 x 1500 pixels, however many labels there are) or in a dict (100 to 450 ms, growing
with the labels). So that objects have the colour of their class at the first speed, the pixels
on screen hold ``1000 * object + class``: object 12 of class 3 reads 12003.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray

from ..core.edits import AnnotationClass

BASE = 1000
"""The last three digits are the class."""

HIGHLIGHT = 999
"""Stands in for the class of the object that is pointed out."""

UNCLASSIFIED = "#9e9e9e"
POINTED_OUT = "#ffff66"


def code_of(number: int, class_id: int) -> int:
    """Code of one object; 0 for no object."""
    return number * BASE + class_id if number else 0


def object_of(code: int) -> int:
    """Object of a code; 0 for none."""
    return int(code) // BASE


def decode(codes: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Objects of codes, any shape."""
    return (codes // BASE).astype(np.uint32)


def encode(ids: NDArray[np.uint32], class_of: Callable[[int], int]) -> NDArray[np.int64]:
    """Codes of object ids.

    Parameters
    ----------
    ids : ndarray
        ``(h, w)`` uint32.
    class_of : callable
        Class of an object; asked once for each that occurs.

    Returns
    -------
    ndarray
        ``(h, w)`` int64.
    """
    present = objects_in(ids)
    codes = np.array([code_of(number, class_of(number)) for number in present.tolist()], np.int64)
    if not len(present) or int(present[-1]) < 4 * ids.size:
        table = np.zeros(int(present[-1]) + 1 if len(present) else 1, np.int64)
        table[present] = codes
        return table[ids]
    # Very large numbers would make the table larger than the picture.
    at = np.searchsorted(present, ids).clip(0, len(present) - 1)
    return np.where(ids == 0, 0, codes[at])


def objects_in(ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Sorted objects that occur in a picture, without 0."""
    flat = ids.ravel()
    if not len(flat):
        return np.zeros(0, np.uint32)
    # Objects are runs of pixels: sorting one of each run is much quicker than sorting all.
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    present = np.unique(np.append(flat[starts], flat[0]))
    return present[present > 0]


def class_colormap(classes: Sequence[AnnotationClass]) -> CyclicLabelColormap:
    """Colours of codes: each class its own, grey where there is none yet."""
    from napari.utils.colormaps.standardize_color import transform_color

    colors = np.tile(transform_color(UNCLASSIFIED), (BASE + 1, 1))
    colors[0] = 0
    colors[HIGHLIGHT] = transform_color(POINTED_OUT)[0]
    for one in classes:
        colors[one.id] = transform_color(one.color)[0]
    return CyclicLabelColormap(colors=colors)
