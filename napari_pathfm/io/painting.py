"""What a painted region does to chunks, and to areas and boxes of the objects in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK, ChunkChange, ObjectChange, ObjectRow
from .chunks import Ids, PackedChange, chunks_in, pack, packed

Box = tuple[int, int, int, int]

_UNPACKED = 32
"""So many changed chunks of an edit stay as they are; the others are held compressed."""


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


@dataclass
class Tally:
    """Pixels that each object has lost and gained, and where it has gained them."""

    lost: dict[int, int] = field(default_factory=dict)
    gained: dict[int, int] = field(default_factory=dict)
    boxes: dict[int, Box] = field(default_factory=dict)

    def count(
        self,
        old: Ids,
        new: Ids,
        changed: NDArray[np.bool_],
        corner: tuple[int, int],
        factor: int = 1,
    ) -> None:
        """Count changed pixels.

        Parameters
        ----------
        old, new : ndarray
            ``(h, w)`` uint32 ids before and after.
        changed : ndarray
            ``(h, w)`` bool: which of them count.
        corner : tuple of int
            Where the upper left pixel is, ``(y, x)``.
        factor : int
            Level-0 pixels per pixel, of `corner` too.
        """
        before, after = old[changed], new[changed]
        for number, pixels in _counts(before):
            self.lost[number] = self.lost.get(number, 0) + pixels * factor**2
        for number, pixels in _counts(after):
            self.gained[number] = self.gained.get(number, 0) + pixels * factor**2
        for number, (y0, x0, y1, x1) in _boxes(after, changed):
            y, x = corner
            box = ((y + y0) * factor, (x + x0) * factor, (y + y1) * factor, (x + x1) * factor)
            self.boxes[number] = union(self.boxes.get(number), box)

    def objects(
        self,
        now: Mapping[int, ObjectRow],
        rows: Mapping[int, ObjectRow],
        author: str,
        by_hand: bool,
    ) -> tuple[ObjectChange, ...]:
        """What happens to the rows of all objects touched.

        Parameters
        ----------
        now : mapping
            The table before.
        rows : mapping
            Descriptions of new objects (or new ones of old objects).
        author : str
            Who made the objects that have no row yet.
        by_hand : bool
            Whether touching what a model has made corrects it.
        """
        touched = sorted((self.lost.keys() | self.gained.keys()) - {0})
        changes = (
            ObjectChange(now.get(number), self._row(number, now, rows, author, by_hand))
            for number in touched
        )
        return tuple(change for change in changes if change.before != change.after)

    def _row(
        self,
        number: int,
        now: Mapping[int, ObjectRow],
        rows: Mapping[int, ObjectRow],
        author: str,
        by_hand: bool,
    ) -> ObjectRow | None:
        old = now.get(number)
        area = (old.area if old else 0) + self.gained.get(number, 0) - self.lost.get(number, 0)
        if area <= 0:
            return None
        row = rows.get(number) or old or ObjectRow(number, how="brush", author=author)
        corrected = row.corrected or (by_hand and old is not None and old.how != "brush")
        box = old.box if old else None
        if number in self.boxes:
            box = union(box, self.boxes[number])
        return row.with_(
            id=number,
            area=area,
            box=box or row.box,
            corrected=corrected,
            author=row.author or author,
        )


def changes_of(
    paint: Paint,
    shape: tuple[int, int],
    chunk: Callable[[int, int], Ids | None],
    tally: Tally,
) -> Iterator[ChunkChange]:
    """Draw into the chunks of a layer, one after the other.

    Parameters
    ----------
    paint : Paint
    shape : tuple of int
        ``(height, width)`` of the layer.
    chunk : callable
        ``(row, column)`` to the chunk as it is.
    tally : Tally
        Is told of every changed pixel.

    Yields
    ------
    ChunkChange
        For chunks in which a pixel changes.
    """
    y0, x0, y1, x1 = paint.box(shape)
    drawn = 0
    for row, col in chunks_in(y0, x0, y1, x1):
        top, left = row * CHUNK, col * CHUNK
        box = (max(top, y0), max(left, x0), min(top + CHUNK, y1), min(left + CHUNK, x1))
        if not paint.pixels(box)[1].any():
            continue
        before = chunk(row, col)
        if before is None and paint.fits(box):
            change = _onto_nothing(paint, row, col, box, tally)
        else:
            change = _over(before, paint, row, col, box, tally)
        if change is not None:
            drawn += 1
            yield change if drawn <= _UNPACKED else packed(change)


def _over(
    before: Ids | None, paint: Paint, row: int, col: int, box: Box, tally: Tally
) -> ChunkChange | None:
    ids, mask = paint.window(box)
    after = np.zeros((CHUNK, CHUNK), np.uint32) if before is None else before.copy()
    window = _inside(after, row, col, box)
    changed = mask & (window != ids)
    if not changed.any():
        return None
    tally.count(window, ids, changed, box[:2])
    np.copyto(window, ids, where=changed)
    return ChunkChange(row, col, before, after if after.any() else None)


def _onto_nothing(paint: Paint, row: int, col: int, box: Box, tally: Tally) -> ChunkChange | None:
    # What is painted far out covers thousands of chunks, most of them empty: counted at the level
    # that was painted, and enlarged only where there is something to enlarge.
    ids, mask = paint.pixels(box)
    changed = mask & (ids != 0)
    if not changed.any():
        return None
    f = paint.factor
    tally.count(np.zeros_like(ids), ids, changed, (box[0] // f, box[1] // f), f)
    ids = np.where(changed, ids, np.uint32(0))
    whole = box[2] - box[0] == box[3] - box[1] == CHUNK
    if whole and ids.min() == ids.max():
        return PackedChange(row, col, None, _full(int(ids[0, 0])))
    after = np.zeros((CHUNK, CHUNK), np.uint32)
    _inside(after, row, col, box)[:] = ids.repeat(f, 0).repeat(f, 1)
    return ChunkChange(row, col, None, after)


def _inside(chunk: Ids, row: int, col: int, box: Box) -> Ids:
    """View of the part of a chunk that a level-0 box covers."""
    top, left = row * CHUNK, col * CHUNK
    return chunk[box[0] - top : box[2] - top, box[1] - left : box[3] - left]


@lru_cache(maxsize=8)
def _full(number: int) -> bytes | None:
    """Bytes of a chunk that is all of one object."""
    return pack(np.full((CHUNK, CHUNK), number, np.uint32))


def erasure(place: tuple[int, int], chunk: Ids | None, doomed: Ids) -> Paint:
    """Draw 0 over some objects in the chunk at ``(row, column)``."""
    found = np.zeros((CHUNK, CHUNK), bool) if chunk is None else np.isin(chunk, doomed)
    nothing = np.zeros(found.shape, np.uint32)
    return Paint(place[0] * CHUNK, place[1] * CHUNK, nothing, found, 1)


def union(one: Box | None, other: Box) -> Box:
    """Smallest box that holds both; `other` where there is no `one`."""
    if one is None:
        return other
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _counts(values: Ids) -> Iterator[tuple[int, int]]:
    low, high = int(values.min()), int(values.max())
    if low == high:
        yield low, len(values)
    elif high - low < 1 << 18:  # counting is much faster than sorting
        counts = np.bincount((values - np.uint32(low)).astype(np.intp))
        for offset in np.flatnonzero(counts):
            yield low + int(offset), int(counts[offset])
    else:
        numbers, counts = np.unique(values, return_counts=True)
        yield from zip(numbers.tolist(), counts.tolist(), strict=True)


def _boxes(values: Ids, changed: NDArray[np.bool_]) -> Iterator[tuple[int, Box]]:
    """Boxes of the ids ``(K,)`` of those pixels that are set in ``changed (h, w)``."""
    if values.min() == values.max():
        rows, cols = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        yield int(values[0]), (int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1)
        return
    ys, xs = np.nonzero(changed)
    order = np.argsort(values, kind="stable")
    values, ys, xs = values[order], ys[order], xs[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    corners = (
        np.minimum.reduceat(ys, starts),
        np.minimum.reduceat(xs, starts),
        np.maximum.reduceat(ys, starts) + 1,
        np.maximum.reduceat(xs, starts) + 1,
    )
    for number, *box in zip(values[starts].tolist(), *(c.tolist() for c in corners), strict=True):
        yield number, (box[0], box[1], box[2], box[3])


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
