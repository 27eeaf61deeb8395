"""Turn what napari says of a brush stroke into pixels of our annotation layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .history import Stroke
from .label_codes import decode


def stroke_of(
    atoms: Sequence[Any], data: NDArray[np.int64], level: int, y: int, x: int
) -> Stroke | None:
    """Gather the pixels of one stroke, from mouse press to release.

    Parameters
    ----------
    atoms : sequence
        Value of napari's ``paint`` event: for each stamp, fill or polygon either an object with
        ``slice_key`` and ``mask`` (``None``: all of it), or a tuple of pixel indices, old and new
        values.
    data : ndarray
        ``(h, w)`` int64 codes on screen, after the stroke.
    level : int
        Level of the annotation layer that is shown.
    y, x : int
        Where the window begins, pixels of that level.

    Returns
    -------
    Stroke or None
        ``None`` if nothing was painted.
    """
    boxes = [_box(atom) for atom in atoms]
    if not boxes:
        return None
    lows, highs = zip(*boxes, strict=True)
    (top, left), (bottom, right) = np.min(lows, axis=0), np.max(highs, axis=0)
    mask = np.zeros((bottom - top, right - left), bool)
    for atom, ((y0, x0), (y1, x1)) in zip(atoms, boxes, strict=True):
        part = mask[y0 - top : y1 - top, x0 - left : x1 - left]
        if isinstance(getattr(atom, "slice_key", None), tuple):
            part |= True if atom.mask is None else atom.mask
        else:
            rows, cols = atom[0]
            mask[np.asarray(rows) - top, np.asarray(cols) - left] = True
    ids = decode(data[top:bottom, left:right])
    return Stroke(level, y + int(top), x + int(left), ids, mask) if mask.any() else None


def _box(atom: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    key = getattr(atom, "slice_key", None)
    if key is not None:
        rows, cols = key
        return (rows.start, cols.start), (rows.stop, cols.stop)
    rows, cols = (np.asarray(one) for one in atom[0])
    return (int(rows.min()), int(cols.min())), (int(rows.max()) + 1, int(cols.max()) + 1)


def lay_over(ids: NDArray[np.uint32], stroke: Stroke, level: int, y: int, x: int) -> None:
    """Draw a stroke into a picture of any level, in place.

    Parameters
    ----------
    ids : ndarray
        ``(h, w)`` uint32 objects.
    stroke : Stroke
    level, y, x : int
        Level of the picture and where it begins, in its own pixels.
    """
    height, width = ids.shape
    scale = 2.0 ** (level - stroke.level)
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
