"""What a painted region does to chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK
from .chunks import Chunk, Ids, PackedChange, chunks_in, pack
from .tally import Box, Tally, counts

_FLAGS = 1 << 27
"""Ids up to here are looked up in a table of a byte each."""


@dataclass(frozen=True, eq=False)
class Paint:
    """Ids to be drawn into a layer.

    Attributes
    ----------
    y, x : int
        Upper left corner, in pixels of the level that is painted.
    ids : ndarray
        ``(h, w)`` uint32, pixels of that level.
    mask : ndarray
        ``(h, w)`` bool: where to draw.
    factor : int
        Level-0 pixels per pixel.
    """

    y: int
    x: int
    ids: Ids
    mask: NDArray[np.bool_]
    factor: int

    @classmethod
    def of(
        cls,
        y: int,
        x: int,
        ids: NDArray[np.integer],
        mask: NDArray[np.bool_] | None,
        factor: int,
    ) -> Paint:
        """Check what a user gave; no mask means everywhere.

        Raises
        ------
        ValueError
            The shapes disagree, or an id is out of range.
        """
        numbers = _checked_ids(ids)
        return cls(int(y), int(x), numbers, _checked_mask(mask, numbers.shape), factor)

    def box(self, shape: tuple[int, int]) -> Box:
        """Part of a layer that it can change, level-0 pixels; empty (all 0) for no part."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return 0, 0, 0, 0
        y0, x0 = max(0, self.y + int(rows[0])), max(0, self.x + int(cols[0]))
        y1, x1 = self.y + int(rows[-1]) + 1, self.x + int(cols[-1]) + 1
        box = (
            y0 * self.factor,
            x0 * self.factor,
            min(y1 * self.factor, shape[0]),
            min(x1 * self.factor, shape[1]),
        )
        return box if box[0] < box[2] and box[1] < box[3] else (0, 0, 0, 0)

    def window(self, box: Box) -> tuple[Ids, NDArray[np.bool_]]:
        """Ids and mask of a level-0 box, enlarged (the nearest pixel)."""
        ids, mask = self.pixels(box)
        f = self.factor
        if f == 1:
            return ids, mask
        y0, x0, y1, x1 = box
        crop = slice(y0 % f, y0 % f + y1 - y0), slice(x0 % f, x0 % f + x1 - x0)
        return ids.repeat(f, 0).repeat(f, 1)[crop], mask.repeat(f, 0).repeat(f, 1)[crop]

    def pixels(self, box: Box) -> tuple[Ids, NDArray[np.bool_]]:
        """Ids and mask of the pixels that a level-0 box touches, at the level that is painted."""
        y0, x0, y1, x1 = box
        f = self.factor
        inner = (
            slice(y0 // f - self.y, (y1 - 1) // f - self.y + 1),
            slice(x0 // f - self.x, (x1 - 1) // f - self.x + 1),
        )
        return self.ids[inner], self.mask[inner]

    def fits(self, box: Box) -> bool:
        """Whether a level-0 box has its sides where pixels of the painted level have theirs."""
        return not any(side % self.factor for side in box)


def changes_of(
    paint: Paint,
    shape: tuple[int, int],
    now: Callable[[int, int], Chunk],
    tally: Tally,
) -> Iterator[PackedChange]:
    """Draw into the chunks of a layer, one after the other.

    Parameters
    ----------
    paint : Paint
    shape : tuple of int
        ``(height, width)`` of the layer.
    now : callable
        ``(row, column)`` to the chunk as it is.
    tally : Tally
        Is told of every changed pixel.

    Yields
    ------
    PackedChange
        For chunks in which a pixel changes.
    """
    y0, x0, y1, x1 = paint.box(shape)
    for row, col in chunks_in(y0, x0, y1, x1):
        top, left = row * CHUNK, col * CHUNK
        box = (max(top, y0), max(left, x0), min(top + CHUNK, y1), min(left + CHUNK, x1))
        if not paint.pixels(box)[1].any():
            continue
        before, blob = now(row, col)
        if before is None and paint.fits(box):
            after = _onto_nothing(paint, row, col, box, tally)
        else:
            number = _only_number(paint, box)
            after = None if number is None else _covered(before, number, box, tally)
            if after is None:
                after = _over(before, paint, row, col, box, tally)
        if after is not None:
            yield PackedChange(row, col, blob, after or None)


# What each of these gives is the chunk afterwards, packed: no bytes at all for an empty one, and
# ``None`` if nothing changes.


def _over(
    before: Ids | None, paint: Paint, row: int, col: int, box: Box, tally: Tally
) -> bytes | None:
    ids, mask = paint.window(box)
    after = np.zeros((CHUNK, CHUNK), np.uint32) if before is None else before.copy()
    window = _inside(after, row, col, box)
    changed = mask & (window != ids)
    if not changed.any():
        return None
    tally.count(window, ids, changed, box[:2])
    np.copyto(window, ids, where=changed)
    return pack(after) or b""


def _onto_nothing(paint: Paint, row: int, col: int, box: Box, tally: Tally) -> bytes | None:
    # What is painted far out covers thousands of chunks, most of them empty: counted at the level
    # that was painted, and enlarged only where there is something to enlarge.
    ids, mask = paint.pixels(box)
    changed = mask & (ids != 0)
    if not changed.any():
        return None
    f = paint.factor
    tally.count(np.zeros_like(ids), ids, changed, (box[0] // f, box[1] // f), f)
    ids = np.where(changed, ids, np.uint32(0))
    if _is_whole(box) and ids.min() == ids.max():
        return _full(int(ids[0, 0]))
    after = np.zeros((CHUNK, CHUNK), np.uint32)
    _inside(after, row, col, box)[:] = ids if f == 1 else ids.repeat(f, 0).repeat(f, 1)
    return pack(after)


def _covered(before: Ids | None, number: int, box: Box, tally: Tally) -> bytes | None:
    # Most chunks under a stroke made far out, whatever has been painted there before.
    lost, pixels = (
        (np.zeros(1, np.uint32), np.array([CHUNK**2])) if before is None else counts(before.ravel())
    )
    others = lost != number
    if not others.any() or (number and not others.all()):
        return None  # nothing to do, or a box to be looked for pixel by pixel
    tally.cover(number, (lost[others], pixels[others]), box)
    return _full(number)


def _only_number(paint: Paint, box: Box) -> int | None:
    """What a whole chunk becomes, if all of it becomes the same."""
    if not _is_whole(box) or not paint.fits(box):
        return None
    ids, mask = paint.pixels(box)
    return int(ids[0, 0]) if mask.all() and ids.min() == ids.max() else None


def _is_whole(box: Box) -> bool:
    return box[2] - box[0] == box[3] - box[1] == CHUNK


def _inside(chunk: Ids, row: int, col: int, box: Box) -> Ids:
    """View of the part of a chunk that a level-0 box covers."""
    top, left = row * CHUNK, col * CHUNK
    return chunk[box[0] - top : box[2] - top, box[1] - left : box[3] - left]


@lru_cache(maxsize=8)
def _full(number: int) -> bytes:
    """Bytes of a chunk that is all of one object; none for nothing."""
    return pack(np.full((CHUNK, CHUNK), number, np.uint32)) or b""


class Eraser:
    """Finds the pixels of some objects in chunks.

    Parameters
    ----------
    doomed : ndarray
        ``(K,)`` uint32, ascending.
    heir : int
        Whose pixels they become; 0: nobody's.
    """

    def __init__(self, doomed: Ids, heir: int = 0) -> None:
        self._doomed, self._heir = doomed, heir
        largest = int(doomed[-1]) if len(doomed) else 0
        self._flags: NDArray[np.bool_] | None = None
        if largest < _FLAGS:
            self._flags = np.zeros(largest + 2, bool)
            self._flags[doomed] = True

    def paint(self, place: tuple[int, int], chunk: Ids | None) -> Paint:
        """Draw the heir over the objects in the chunk at ``(row, column)``."""
        found = np.zeros((CHUNK, CHUNK), bool) if chunk is None else self._find(chunk)
        ids = np.full(found.shape, self._heir, np.uint32)
        return Paint(place[0] * CHUNK, place[1] * CHUNK, ids, found, 1)

    def _find(self, chunk: Ids) -> NDArray[np.bool_]:
        if self._flags is None:
            return np.isin(chunk, self._doomed)
        return self._flags[np.minimum(chunk, len(self._flags) - 1)]


def _checked_ids(ids: NDArray[np.integer]) -> Ids:
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iub":
        raise ValueError(f"ids must be (h, w) whole numbers, not {ids.shape} {ids.dtype}")
    if ids.dtype != np.uint32 and ids.size and (ids.min() < 0 or ids.max() >= 1 << 32):
        raise ValueError("ids must lie between 0 and 2**32 - 1")
    return ids.astype(np.uint32, copy=False)


def _checked_mask(mask: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask is None:
        return np.ones(shape, bool)
    mask = np.asarray(mask, bool)
    if mask.shape != shape:
        raise ValueError(f"mask must be {shape} as the ids, not {mask.shape}")
    return mask
