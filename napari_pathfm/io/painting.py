"""What a painted region does to chunks, and to areas and boxes of the objects in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK
from ..core.objects import BOX, WORDS, ObjectArray, RowChanges, Rows, Texts, distinct
from .chunks import Chunk, Ids, PackedChange, chunks_in, pack
from .objects import ObjectTable

Box = tuple[int, int, int, int]

_FAR = (1 << 31) - 1
_NO_BOX = (_FAR, _FAR, -1, -1)
"""Joined with any box it is that box."""

_EDGES = (np.minimum, np.minimum, np.maximum, np.maximum)
"""What joins each side of two boxes."""

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


@dataclass
class Tally:
    """Pixels that each object has lost and gained, and where it has gained them.

    Counts of each piece are only noted, and are put together once, at the end: an import has a
    million objects.
    """

    lost: list[tuple[Ids, NDArray[np.int64]]] = field(default_factory=list)
    gained: list[tuple[Ids, NDArray[np.int64]]] = field(default_factory=list)
    boxes: list[tuple[Ids, NDArray[np.int64]]] = field(default_factory=list)

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
        for noted, values in ((self.lost, before), (self.gained, after)):
            ids, pixels = _counts(values)
            noted.append((ids, pixels * factor**2))
        ids, boxes = _boxes(after, changed)
        self.boxes.append((ids, (boxes + np.array((*corner, *corner))) * factor))

    def cover(self, number: int, lost: tuple[Ids, NDArray[np.int64]], box: Box) -> None:
        """Count a box whose changed pixels become one object, on every side of the box."""
        ids = np.array([number], np.uint32)
        self.lost.append(lost)
        self.gained.append((ids, lost[1].sum(keepdims=True)))
        self.boxes.append((ids, np.array([box])))

    def changes(
        self, now: ObjectTable, described: ObjectArray, author: str, by_hand: bool
    ) -> RowChanges:
        """What happens to the rows of all objects touched.

        Parameters
        ----------
        now : ObjectTable
            The table before.
        described : ObjectArray
            Descriptions of new objects (or new ones of old objects).
        author : str
            Who made the objects that have no row yet.
        by_hand : bool
            Whether touching what a model has made corrects it.
        """
        ids, area, boxes = self.sums()
        old, known = now.find(ids)
        new = _described(old, known, ids, described, author)
        new["area"] = old["area"] + area
        new["corrected"] |= by_hand & known & (old["how"] != WORDS.code("brush"))
        for name, corner, edge in zip(BOX, boxes, _EDGES, strict=True):
            new[name] = np.where(known, edge(old[name], corner), corner)
        left = new["area"] > 0
        changed = ~(known & left) | (old != new)
        before, after = old[known & changed], new[left & changed]
        texts = _either(described.texts, now.texts)
        return RowChanges(ObjectArray(before, now.texts), ObjectArray(after, texts))

    def sums(self) -> tuple[Ids, NDArray[np.int64], NDArray[np.int64]]:
        """Ascending ids ``(K,)``, pixels more or less ``(K,)``, boxes of the new ``(4, K)``."""
        parts = [part[0] for part in (*self.lost, *self.gained)]
        ids = distinct(np.concatenate([np.zeros(0, np.uint32), *parts]))
        area = np.zeros(len(ids), np.int64)
        boxes = np.repeat(np.array(_NO_BOX, np.int64)[:, None], len(ids), 1)
        for numbers, pixels in _joined(self.lost):
            np.subtract.at(area, np.searchsorted(ids, numbers), pixels)
        for numbers, pixels in _joined(self.gained):
            np.add.at(area, np.searchsorted(ids, numbers), pixels)
        for numbers, corners in _joined(self.boxes):
            at = np.searchsorted(ids, numbers)
            for side, edge in enumerate(_EDGES):
                edge.at(boxes[side], at, corners[:, side])
        real = ids > 0  # 0 is no object
        return ids[real], area[real], boxes[:, real]


def _joined(parts: Sequence[tuple[NDArray[Any], ...]]) -> list[tuple[NDArray[Any], ...]]:
    return [tuple(np.concatenate(column) for column in zip(*parts, strict=True))] if parts else []


def _described(
    old: Rows, known: NDArray[np.bool_], ids: Ids, described: ObjectArray, author: str
) -> Rows:
    new = old.copy()
    new["id"] = ids
    new["how"][~known], new["score"][~known] = WORDS.code("brush"), -1
    at, given = described.find(ids)
    for name in ("class_id", "corrected", "how", "model", "author", "score", "prompts"):
        new[name][given] = described.rows[name][at[given]]
    new["author"][new["author"] == WORDS.code("")] = WORDS.code(author)
    return new


def _either(one: Texts, other: Texts) -> Texts:
    def text(key: int) -> str:
        try:
            return one(key)
        except KeyError:
            return other(key)

    return text


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
        (np.zeros(1, np.uint32), np.array([CHUNK**2]))
        if before is None
        else _counts(before.ravel())
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
    """

    def __init__(self, doomed: Ids) -> None:
        self._doomed = doomed
        largest = int(doomed[-1]) if len(doomed) else 0
        self._flags: NDArray[np.bool_] | None = None
        if largest < _FLAGS:
            self._flags = np.zeros(largest + 2, bool)
            self._flags[doomed] = True

    def paint(self, place: tuple[int, int], chunk: Ids | None) -> Paint:
        """Draw 0 over the objects in the chunk at ``(row, column)``."""
        found = np.zeros((CHUNK, CHUNK), bool) if chunk is None else self._find(chunk)
        nothing = np.zeros(found.shape, np.uint32)
        return Paint(place[0] * CHUNK, place[1] * CHUNK, nothing, found, 1)

    def _find(self, chunk: Ids) -> NDArray[np.bool_]:
        if self._flags is None:
            return np.isin(chunk, self._doomed)
        return self._flags[np.minimum(chunk, len(self._flags) - 1)]


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


def _counts(values: Ids) -> tuple[Ids, NDArray[np.int64]]:
    low, high = int(values.min()), int(values.max())
    if low == high:
        return values[:1].copy(), np.array([len(values)])
    if high - low < 1 << 18:  # counting is much faster than sorting
        counts = np.bincount((values - np.uint32(low)).astype(np.intp))
        present = np.flatnonzero(counts)
        return (present + low).astype(np.uint32), counts[present]
    numbers, counts = np.unique(values, return_counts=True)
    return numbers, counts


def _boxes(values: Ids, changed: NDArray[np.bool_]) -> tuple[Ids, NDArray[np.int64]]:
    """Ids that occur among ``(K,)`` pixels, and the box of each, ``(N, 4)``.

    The pixels are those that are set in ``changed (h, w)``.
    """
    if values.min() == values.max():
        rows, cols = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        return values[:1].copy(), np.array([[rows[0], cols[0], rows[-1] + 1, cols[-1] + 1]])
    # Runs of an object along a row are sorted, not pixels: there are thirty times fewer.
    height, width = changed.shape
    place = np.flatnonzero(changed)
    fresh = np.ones(len(place), bool)
    fresh[1:] = (values[1:] != values[:-1]) | (place[1:] != place[:-1] + 1)
    rows = np.searchsorted(place, np.arange(height) * width)
    fresh[rows[rows < len(place)]] = True
    begin = np.flatnonzero(fresh)
    end = np.append(begin[1:], len(place)) - 1
    order = np.argsort(values[begin], kind="stable")
    numbers, (ys, first) = values[begin][order], np.divmod(place[begin[order]], width)
    starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    corners = (
        np.minimum.reduceat(ys, starts),
        np.minimum.reduceat(first, starts),
        np.maximum.reduceat(ys, starts) + 1,
        np.maximum.reduceat(place[end[order]] % width, starts) + 1,
    )
    return numbers[starts], np.stack(corners, 1)


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
