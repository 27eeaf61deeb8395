"""Turn what napari says of a brush stroke into pixels of our annotation layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.painting import Paint
from .label_codes import Codes, decode


def stroke_of(atoms: Sequence[Any], level: int, y: int, x: int) -> Paint | None:
    """Gather the pixels of one stroke, from mouse press to release.

    The layer's data is not asked: napari tells of a polygon before it has drawn it.

    Parameters
    ----------
    atoms : sequence
        Value of napari's ``paint`` event: for each stamp, fill or polygon either an object with
        ``slice_key``, ``mask`` (``None``: all of it) and ``new_value``, or a tuple of pixel
        indices, old and new values.
    level : int
        Level of the annotation layer that is shown.
    y, x : int
        Where the window begins, pixels of that level.

    Returns
    -------
    Paint or None
        ``None`` if nothing was painted.
    """
    parts = [_part(atom) for atom in atoms]
    if not parts:
        return None
    top, left = min(part[0] for part in parts), min(part[1] for part in parts)
    bottom = max(part[0] + part[2].shape[0] for part in parts)
    right = max(part[1] + part[2].shape[1] for part in parts)
    mask = np.zeros((bottom - top, right - left), bool)
    numbers = np.unique(np.concatenate([decode(codes).ravel() for *_, codes in parts]))
    if len(numbers) == 1:  # nearly always; strokes that wait take a fifth of the memory so
        ids = np.broadcast_to(numbers[0], mask.shape)
    else:
        ids = np.zeros(mask.shape, np.uint32)
    for row, col, drawn, codes in parts:
        here = np.s_[
            row - top : row - top + drawn.shape[0], col - left : col - left + drawn.shape[1]
        ]
        mask[here] |= drawn
        if len(numbers) > 1:
            np.copyto(ids[here], decode(codes), where=drawn)
    return Paint(y + top, x + left, ids, mask, 2**level) if mask.any() else None


Part = tuple[int, int, NDArray[np.bool_], Codes]
"""Row and column of its corner, the pixels drawn, and their codes (of one pixel, or of all)."""


def _part(atom: Any) -> Part:
    if hasattr(atom, "slice_key"):
        rows, cols = atom.slice_key
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        mask = np.ones(shape, bool) if atom.mask is None else atom.mask
        return rows.start, cols.start, mask, np.array([[atom.new_value]], np.int64)
    indices, _, value = atom
    ys, xs = (np.asarray(axis).ravel() for axis in indices)
    row, col = int(ys.min()), int(xs.min())
    mask = np.zeros((int(ys.max()) - row + 1, int(xs.max()) - col + 1), bool)
    mask[ys - row, xs - col] = True
    if np.ndim(value) == 0:
        return row, col, mask, np.array([[value]], np.int64)
    codes = np.zeros(mask.shape, np.int64)
    codes[ys - row, xs - col] = value
    return row, col, mask, codes


def lay_over(ids: NDArray[np.uint32], stroke: Paint, level: int, y: int, x: int) -> None:
    """Draw a stroke into a picture of any level, in place.

    Parameters
    ----------
    ids : ndarray
        ``(h, w)`` uint32 objects.
    stroke : Paint
    level, y, x : int
        Level of the picture and where it begins, in its own pixels.
    """
    height, width = ids.shape
    scale = 2**level / stroke.factor
    # Coarser levels keep the upper left of their pixels, so that is where the stroke is asked.
    rows = np.floor((y + np.arange(height)) * scale).astype(int) - stroke.y
    cols = np.floor((x + np.arange(width)) * scale).astype(int) - stroke.x
    in_rows = np.flatnonzero((rows >= 0) & (rows < stroke.mask.shape[0]))
    in_cols = np.flatnonzero((cols >= 0) & (cols < stroke.mask.shape[1]))
    if not len(in_rows) or not len(in_cols):
        return
    there = np.ix_(rows[in_rows], cols[in_cols])
    part = ids[in_rows[0] : in_rows[-1] + 1, in_cols[0] : in_cols[-1] + 1]
    np.copyto(part, stroke.ids[there], where=stroke.mask[there])
