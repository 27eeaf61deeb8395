"""Numbers that tell napari the object and its colour at once.

napari finds the colour of a label either by the label modulo the number of colours (10 ms for a
window of 2200 x 1500 pixels, however many labels there are) or in a dict (100 to 450 ms, growing
with the labels). So that objects have the colour of their class at the first speed, the pixels
on screen hold ``1000 * object + class``: object 12 of class 3 reads 12003. They are uint32 up to
object 4,294,966, and int64 where there are others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray

from ..core.edits import AnnotationClass
from ..core.objects import distinct

BASE = 1000
"""The last three digits are the class."""

HIGHLIGHT = 999
"""Stands in for the class of the object that is pointed out."""

TABLE = 16
"""Numbers up to so many times as many as there are runs of pixels are looked up in a table."""

PIECE = 1 << 16
"""Pixels that are written at once."""

Codes = NDArray[np.uint32] | NDArray[np.int64]

UNCLASSIFIED = "#9e9e9e"
POINTED_OUT = "#ffff66"


def code_of(number: int, class_id: int) -> int:
    """Code of one object; 0 for no object."""
    return number * BASE + class_id if number else 0


def object_of(code: int) -> int:
    """Object of a code; 0 for none."""
    return int(code) // BASE


def decode(codes: Codes) -> NDArray[np.uint32]:
    """Objects of codes, any shape."""
    return (codes // BASE).astype(np.uint32)


def with_room_for(code: int, codes: Codes) -> Codes:
    """Return codes, any shape, of a type that can hold another one."""
    return codes if code <= np.iinfo(codes.dtype).max else codes.astype(np.int64)


def encode(
    ids: NDArray[np.uint32], classes_of: Callable[[NDArray[np.uint32]], NDArray[np.integer]]
) -> Codes:
    """Codes of object ids.

    Parameters
    ----------
    ids : ndarray
        ``(h, w)`` uint32.
    classes_of : callable
        Classes ``(K,)`` of ascending objects ``(K,)``; asked once, for those that occur.

    Returns
    -------
    ndarray
        ``(h, w)`` uint32, or int64 where one of them is larger.
    """
    starts = _runs(ids)
    numbers = ids.ravel()[starts]
    present = _distinct(numbers)
    codes = np.zeros(len(present) + 1, np.int64)
    codes[1:] = present.astype(np.int64) * BASE + classes_of(present)
    if int(codes.max()) <= np.iinfo(np.uint32).max:
        codes = codes.astype(np.uint32)
    of_runs = codes[np.where(numbers > 0, _places(present, numbers) + 1, 0)]
    return _repeated(of_runs, starts, ids.size).reshape(ids.shape)


def _repeated(codes: Codes, starts: NDArray[np.intp], size: int) -> Codes:
    """Repeat each code from its start to the next one's."""
    out = np.empty(size, codes.dtype)
    # Piece by piece, so that what numpy makes in between stays in the processor's cache.
    for begin in range(0, size, PIECE):
        end = min(begin + PIECE, size)
        first, last = np.searchsorted(starts, (begin, end))
        first -= first == len(starts) or starts[first] > begin
        edges = np.r_[begin, starts[first + 1 : last], end]
        out[begin:end] = codes[first:last].repeat(np.diff(edges))
    return out


def objects_in(ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Sorted objects that occur in a picture, without 0."""
    return _distinct(ids.ravel()[_runs(ids)])


def _runs(ids: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Where runs of equal pixels begin in a picture read line after line."""
    flat = ids.ravel()
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.concatenate([[0], starts]) if len(flat) else starts


def _distinct(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    largest = int(numbers.max(initial=0))
    if largest >= TABLE * len(numbers):
        present = distinct(numbers)
        return present[present > 0]
    seen = np.zeros(largest + 1, bool)
    seen[numbers] = True
    seen[0] = False
    return np.flatnonzero(seen).astype(np.uint32)


def _places(present: NDArray[np.uint32], numbers: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Place of each number among the sorted ones; anything for 0."""
    if not len(present) or int(present[-1]) >= TABLE * len(numbers):
        return np.searchsorted(present, numbers)
    table = np.zeros(int(present[-1]) + 1, np.intp)
    table[present] = np.arange(len(present))
    return table[numbers]


def class_colormap(classes: Sequence[AnnotationClass]) -> CyclicLabelColormap:
    """Colours of codes: each class its own, grey where there is none yet."""
    from napari.utils.colormaps.standardize_color import transform_color

    colors = np.tile(transform_color(UNCLASSIFIED), (BASE + 1, 1))
    colors[0] = 0
    colors[HIGHLIGHT] = transform_color(POINTED_OUT)[0]
    for one in classes:
        colors[one.id] = transform_color(one.color)[0]
    return CyclicLabelColormap(colors=colors)
