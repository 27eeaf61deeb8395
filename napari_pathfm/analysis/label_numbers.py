"""Which objects a label image holds, found tile by tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..io.interop.label_image import LabelFacts, LabelImage, Values
from .drawing import ClassFacts, DrawnObjects

Place = tuple[int, int]

LARGEST_ID = (1 << 32) - 1
TABLE = 1 << 26
"""Values below this are looked up in a table; larger ones are searched for."""

MOST_CLASSES = 254


class ObjectValues:
    """Each value is an object, wherever its pixels lie."""

    def __init__(self) -> None:
        self._found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._values = np.zeros(0, np.int64)
        self._table: NDArray[np.uint32] | None = None

    def take(self, place: Place, y: int, x: int, values: Values) -> bool:
        """See :meth:`Numbering.take`."""
        unique, counts = np.unique(values, return_counts=True)
        found = unique.astype(np.int64)
        if found[0] < 0 or found[-1] > LARGEST_ID:
            raise ValueError(
                f"The labels hold the value {found[0] if found[0] < 0 else found[-1]}: ids lie "
                f"between 1 and {LARGEST_ID:,}."
            )
        self._found.append((found[found > 0], counts[found > 0]))
        return bool(found[-1] > 0)

    def finish(self, image: LabelImage, downsample: float) -> DrawnObjects:
        """See :meth:`Numbering.finish`."""
        values = np.concatenate([np.zeros(0, np.int64), *(found for found, _ in self._found)])
        counts = np.concatenate([np.zeros(0, np.int64), *(count for _, count in self._found)])
        self._found.clear()
        self._values, at = np.unique(values, return_inverse=True)
        pixels = np.bincount(at, counts, len(self._values))
        if len(self._values) and self._values[-1] < TABLE:
            self._table = np.zeros(int(self._values[-1]) + 1, np.uint32)
            self._table[self._values] = np.arange(1, len(self._values) + 1)
        names: dict[str, ClassFacts] = {}
        for facts in image.facts.values():
            if facts.class_name:
                names.setdefault(facts.class_name, (facts.class_name, facts.color))
        place = {name: number for number, name in enumerate(names)}
        classes = np.full(len(self._values), -1, np.int64)
        for value, facts in image.facts.items():
            number = int(np.searchsorted(self._values, value))
            if facts.class_name and number < len(classes) and self._values[number] == value:
                classes[number] = place[facts.class_name]
        return DrawnObjects(_enlarged(pixels, downsample), classes, list(names.values()))

    def number(self, place: Place, values: Values) -> NDArray[np.uint32]:
        """See :meth:`Numbering.number`."""
        if self._table is not None:
            return self._table[values.astype(np.intp)]
        found = np.searchsorted(self._values, values).astype(np.uint32) + np.uint32(1)
        found[values == 0] = 0
        return found


class ClassRegions:
    """Each value is a class; pixels of one that touch, also at a corner, are an object.

    Parts are found within each tile, and those that touch across the edges of tiles are joined.

    Parameters
    ----------
    width : int
        Of the image.
    """

    def __init__(self, width: int) -> None:
        self._offsets: dict[Place, int] = {}
        self._total = 0
        self._counts: list[NDArray[np.int64]] = []
        self._values: list[NDArray[np.int64]] = []
        self._pairs: list[NDArray[np.int64]] = []
        self._above, self._below = np.zeros((2, width), np.int64), np.zeros((2, width), np.int64)
        self._beside = np.zeros((2, 0), np.int64)
        self._row = 0
        self._numbers = np.zeros(1, np.uint32)

    def take(self, place: Place, y: int, x: int, values: Values) -> bool:
        """See :meth:`Numbering.take`."""
        local = _parts(values)
        count = int(local.max())
        self._offsets[place] = self._total
        parts = np.where(local > 0, local + self._total, 0)
        of_part = np.zeros(count + 1, np.int64)
        of_part[local] = values
        self._counts.append(np.bincount(local.ravel(), minlength=count + 1)[1:])
        self._values.append(of_part[1:])
        self._total += count
        self._join(place, x, np.stack([parts, values.astype(np.int64)]))
        return count > 0

    def _join(self, place: Place, x: int, tile: NDArray[np.int64]) -> None:
        """Note what touches the tiles above and on the left; ``(2, h, w)`` parts and values."""
        if place[0] != self._row:
            self._row, self._above, self._below = place[0], self._below, np.zeros_like(self._below)
        if place[1] > 0:
            self._touch(self._beside, tile[:, :, 0], 0)
        if place[0] > 0:
            self._touch(self._above, tile[:, 0], x)
        self._beside = tile[:, :, -1].copy()
        self._below[:, x : x + tile.shape[2]] = tile[:, -1]

    def _touch(self, edge: NDArray[np.int64], own: NDArray[np.int64], start: int) -> None:
        for shift in (-1, 0, 1):
            low = max(0, start + shift)
            high = min(edge.shape[1], start + own.shape[1] + shift)
            theirs, ours = edge[:, low:high], own[:, low - shift - start : high - shift - start]
            same = (theirs[1] == ours[1]) & (ours[0] > 0)
            if same.any():
                self._pairs.append(np.unique(np.stack([theirs[0, same], ours[0, same]]), axis=1))

    def finish(self, image: LabelImage, downsample: float) -> DrawnObjects:
        """See :meth:`Numbering.finish`."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        one, other = np.concatenate([np.zeros((2, 0), np.int64), *self._pairs], 1)
        size = self._total + 1
        touching = coo_array((np.ones(len(one), bool), (one, other)), (size, size))
        _, roots = connected_components(touching, directed=False)
        _, first, at = np.unique(roots[1:], return_index=True, return_inverse=True)
        self._numbers = np.concatenate([[0], at + 1]).astype(np.uint32)
        counts = np.concatenate([np.zeros(0, np.int64), *self._counts])
        values = np.concatenate([np.zeros(0, np.int64), *self._values])
        pixels = np.bincount(at, counts, len(first)) if len(first) else np.zeros(0)
        known, classes = np.unique(values[first], return_inverse=True)
        if len(known) > MOST_CLASSES:
            raise ValueError(
                f"The labels have {len(known):,} different values, and there can be at most "
                f"{MOST_CLASSES} classes: are the values objects rather than classes?"
            )
        names = [_class_facts(int(value), image.facts.get(int(value))) for value in known]
        return DrawnObjects(_enlarged(pixels, downsample), classes.astype(np.int64), names)

    def number(self, place: Place, values: Values) -> NDArray[np.uint32]:
        """See :meth:`Numbering.number`."""
        local = _parts(values)
        return self._numbers[np.where(local > 0, local + self._offsets[place], 0)]


def _parts(values: Values) -> NDArray[np.int64]:
    from skimage.measure import label

    whole = values.astype(np.uint8) if values.dtype == bool else values
    return np.asarray(label(whole, background=0, connectivity=2), np.int64)


def _class_facts(value: int, facts: LabelFacts | None) -> ClassFacts:
    if facts is None:
        return f"class {value}", ""
    return facts.class_name or facts.name or f"class {value}", facts.color


def _enlarged(pixels: NDArray[Any], downsample: float) -> NDArray[np.int64]:
    return np.rint(pixels * downsample**2).astype(np.int64)
