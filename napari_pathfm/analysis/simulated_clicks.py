"""Clicks as a person would make them: the first on the object, the next where the answer is wrong.

As in the training of Segment Anything (Kirillov et al., ICCV 2023) and, before it, RITM (Sofiiuk et
al., 2021, https://github.com/SamsungLabs/ritm_interactive_segmentation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def first_click(truth: Mask, draw: np.random.Generator | None = None) -> tuple[float, float]:
    """Return where an object is clicked at first, ``(y, x)`` in its pixels.

    Parameters
    ----------
    truth : ndarray
        ``(h, w)`` bool, not empty.
    draw : Generator, optional
        Without it that is the innermost point; with it any, those well inside more often.
    """
    return _inside(truth, draw)


def next_click(
    truth: Mask, answer: Mask, draw: np.random.Generator | None = None
) -> tuple[tuple[float, float], bool] | None:
    """Return where the answer is wrong most and whether that belongs to the object.

    The largest connected part of what is missing or too much.

    Returns
    -------
    tuple of ((float, float), bool) or None
        ``None`` where nothing is wrong.
    """
    from scipy.ndimage import label

    parts: list[tuple[int, bool, Mask]] = []
    for positive, wrong in ((True, truth & ~answer), (False, answer & ~truth)):
        numbered, count = label(wrong)
        if count:
            sizes = np.bincount(numbered.ravel())[1:]
            largest = int(sizes.argmax())
            parts.append((int(sizes[largest]), positive, numbered == largest + 1))
    if not parts:
        return None
    _, positive, where = max(parts, key=lambda part: part[0])
    return _inside(where, draw), positive


def box_around(truth: Mask, draw: np.random.Generator | None = None) -> NDArray[np.float64]:
    """Return ``(y0, x0, y1, x1)`` around an object; with `draw` as loosely as by hand."""
    rows, cols = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = np.array([rows[0], cols[0], rows[-1] + 1, cols[-1] + 1], float)
    if draw is not None:
        sides = np.tile(box[2:] - box[:2], 2)
        box += draw.normal(0, 0.06, 4).clip(-0.15, 0.15) * sides
    return box


def _inside(part: Mask, draw: np.random.Generator | None) -> tuple[float, float]:
    from scipy.ndimage import distance_transform_edt

    rows, cols = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    y, x = int(rows[0]), int(cols[0])
    near = np.pad(part[y : rows[-1] + 1, x : cols[-1] + 1], 1)
    depth = distance_transform_edt(near)[1:-1, 1:-1]
    chosen = depth.argmax()
    if draw is not None and draw.random() < 0.6:
        weights = depth.ravel() / depth.sum()
        chosen = draw.choice(depth.size, p=weights)
    row, col = np.unravel_index(chosen, depth.shape)
    return y + float(row) + 0.5, x + float(col) + 0.5
