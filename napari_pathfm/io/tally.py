"""What painted regions do to the areas and boxes of the objects in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.objects import BOX, WORDS, ObjectArray, RowChanges, Rows, Texts, distinct
from .chunks import Ids
from .objects import ObjectTable

Box = tuple[int, int, int, int]
"""``(y0, x0, y1, x1)`` in level-0 pixels."""

_FAR = (1 << 31) - 1
_NO_BOX = (_FAR, _FAR, -1, -1)
"""Joined with any box it is that box."""

_EDGES = (np.minimum, np.minimum, np.maximum, np.maximum)
"""What joins each side of two boxes."""


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
            ids, pixels = counts(values)
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


def counts(values: Ids) -> tuple[Ids, NDArray[np.int64]]:
    """Ids that occur among ``(K,)`` pixels, ascending, and how often each does."""
    low, high = int(values.min()), int(values.max())
    if low == high:
        return values[:1].copy(), np.array([len(values)])
    if high - low < 1 << 18:  # counting is much faster than sorting
        found = np.bincount((values - np.uint32(low)).astype(np.intp))
        present = np.flatnonzero(found)
        return (present + low).astype(np.uint32), found[present]
    numbers, found = np.unique(values, return_counts=True)
    return numbers, found


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
