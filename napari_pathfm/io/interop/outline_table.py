"""Outlines of many objects in a few arrays: a million nuclei take megabytes and no Python loop."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Ring = Sequence[Sequence[float]]
"""Positions ``(y, x)`` one after the other; whether the first is repeated at the end is the same.

What a position has beyond two numbers is not looked at.
"""

Polygon = Sequence[Ring]
"""One outer ring, and rings around its holes."""

GRAIN = 1024
"""Positions are kept in whole parts of a pixel: this many. Objects that share a corner then share
it exactly, and whole and half pixels stay what they are."""

FARTHEST = float(1 << 20)
"""Pixels: no position on a slide is farther away than this."""

SMALLEST_RING = 3


@dataclass(frozen=True, eq=False)
class OutlineTable:
    """Outlines of N objects, each of one or more polygons, each of one or more rings.

    Attributes
    ----------
    points : ndarray
        ``(P, 2)`` int32 ``(y, x)`` in level-0 pixels times :data:`GRAIN`.
    rings : ndarray
        ``(R + 1,)`` int64: where the points of each ring begin, and the end of the last.
    polygons : ndarray
        ``(R,)`` int64: number of the polygon that each ring belongs to; grows.
    objects : ndarray
        ``(N + 1,)`` int64: where the rings of each object begin, and the end of the last.
    classes : ndarray
        ``(N,)`` int64: number of its class in a list beside the table; -1 for none.
    """

    points: NDArray[np.int32]
    rings: NDArray[np.int64]
    polygons: NDArray[np.int64]
    objects: NDArray[np.int64]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    def boxes(self) -> NDArray[np.float64]:
        """Return ``(N, 4)`` y0, x0, y1, x1 of every object, level-0 pixels."""
        if not len(self):
            return np.zeros((0, 4))
        starts = self.rings[self.objects[:-1]]
        low, high = (each.reduceat(self.points, starts) for each in (np.minimum, np.maximum))
        return np.concatenate([low, high], 1) / GRAIN

    def select(self, which: NDArray[np.integer]) -> OutlineTable:
        """Return the table of some objects, in the order that is given."""
        of_ring, rings = spread(self.objects[which], self.objects[which + 1])
        _, points = spread(self.rings[rings], self.rings[rings + 1])
        return OutlineTable(
            self.points[points],
            offsets(self.rings[rings + 1] - self.rings[rings]),
            np.cumsum(first_rings(of_ring, self.polygons[rings])) - 1,
            offsets(self.objects[which + 1] - self.objects[which]),
            self.classes[which],
        )


def offsets(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Turn ``(K,)`` sizes into the ``(K + 1,)`` places where each begins, and the end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def spread(
    starts: NDArray[np.integer], stops: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write out ranges: ``[3, 7], [5, 8]`` becomes ``[0, 0, 1], [3, 4, 7]``.

    Returns
    -------
    which, values : ndarray
        Number of the range, and what is in it, one after the other.
    """
    counts = np.asarray(stops - starts, np.int64)
    which = np.repeat(np.arange(len(counts)), counts)
    begin = np.asarray(starts, np.int64) - (np.cumsum(counts) - counts)
    return which, np.arange(len(which)) + np.repeat(begin, counts)


def first_rings(objects: NDArray[np.integer], polygons: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Tell which rings are the outer one of a polygon, by their ``(R,)`` objects and polygons."""
    new = np.ones(len(objects), bool)
    new[1:] = (np.diff(objects) != 0) | (np.diff(polygons) != 0)
    return new


def join(tables: list[OutlineTable]) -> OutlineTable:
    """Join tables to one; the list is emptied on the way, so that little is held twice."""
    counts = [
        (len(t.points), len(t.polygons), len(t), int(t.polygons[-1]) + 1 if len(t) else 0)
        for t in tables
    ]
    points, rings, number = (sum(each[place] for each in counts) for place in range(3))
    out = OutlineTable(
        np.empty((points, 2), np.int32),
        np.zeros(rings + 1, np.int64),
        np.empty(rings, np.int64),
        np.zeros(number + 1, np.int64),
        np.empty(number, np.int64),
    )
    p = r = n = g = 0
    tables.reverse()
    for p_count, r_count, n_count, g_count in counts:
        table = tables.pop()
        out.points[p : p + p_count] = table.points
        out.rings[r + 1 : r + r_count + 1] = table.rings[1:] + p
        out.polygons[r : r + r_count] = table.polygons + g
        out.objects[n + 1 : n + n_count + 1] = table.objects[1:] + r
        out.classes[n : n + n_count] = table.classes
        p, r, n, g = p + p_count, r + r_count, n + n_count, g + g_count
    return out


class OutlineBuilder:
    """Collects outlines and makes tables of them.

    Attributes
    ----------
    broken : int
        Objects that were left out: a position is no number, or there is no ring of three.
    """

    def __init__(self) -> None:
        self.broken = 0
        self._clear()

    def __len__(self) -> int:
        return len(self._classes)

    @property
    def points(self) -> int:
        """Positions that have been added since the last table."""
        return len(self._numbers) // 2

    def add(self, polygons: Sequence[Polygon], class_number: int = -1, flip: bool = False) -> None:
        """Add one object.

        Parameters
        ----------
        polygons : sequence of Polygon
        class_number : int
            See :attr:`OutlineTable.classes`.
        flip : bool
            Whether its positions are ``(x, y)``.
        """
        rings = len(self._lengths)
        if not self._take(polygons) and not self._take(_mended(polygons)):
            self.broken += 1
            return
        self._rings.append(len(self._lengths) - rings)
        self._classes.append(class_number)
        self._flipped.append(flip)

    def take(self) -> OutlineTable:
        """Return what has been added as a table, and begin anew."""
        positions = np.array(self._numbers).reshape(-1, 2)
        lengths, rings = np.array(self._lengths), np.array(self._rings)
        flipped = np.repeat(np.repeat(np.array(self._flipped, bool), rings), lengths)
        positions[flipped] = positions[flipped, ::-1]
        possible = (np.abs(positions) < FARTHEST).all(1)  # not so for what is no number
        table = OutlineTable(
            np.rint(np.where(possible[:, None], positions, 0) * GRAIN).astype(np.int32),
            offsets(lengths),
            np.array(self._polygons, np.int64),
            offsets(rings),
            np.array(self._classes, np.int64),
        )
        self._clear()
        if possible.all():
            return table
        whole = np.logical_and.reduceat(possible, table.rings[table.objects[:-1]])
        self.broken += int((~whole).sum())
        return table.select(np.flatnonzero(whole))

    def _clear(self) -> None:
        # Flat and small: lists of lists would keep Python's garbage collector busy.
        self._numbers = array("d")
        self._lengths, self._polygons, self._rings = array("q"), array("q"), array("q")
        self._classes, self._flipped = array("q"), array("b")

    def _take(self, polygons: Sequence[Polygon]) -> bool:
        """Take the rings of an object, all or none; ``False`` if they are not as they should."""
        numbers, rings = len(self._numbers), len(self._lengths)
        first = self._polygons[-1] + 1 if self._polygons else 0
        try:
            for polygon, corners in enumerate(polygons, first):
                for ring in corners:
                    if len(ring) < SMALLEST_RING or set(map(len, ring)) != {2}:
                        raise ValueError("a ring is not as it should be")
                    self._numbers.extend(chain.from_iterable(ring))
                    self._lengths.append(len(ring))
                    self._polygons.append(polygon)
            return len(self._lengths) > rings
        except (TypeError, ValueError, OverflowError):
            del self._numbers[numbers:], self._lengths[rings:], self._polygons[rings:]
            return False


def _mended(polygons: Sequence[Polygon]) -> list[list[list[tuple[float, float]]]]:
    """Return an object with two numbers a position, without rings of no area; empty if broken.

    A polygon whose outer ring is too short is left out with its holes.
    """
    try:
        pairs = [
            [[(float(place[0]), float(place[1])) for place in ring] for ring in polygon]
            for polygon in polygons
        ]
    except (TypeError, ValueError, LookupError, OverflowError):
        return []
    return [
        [ring for ring in polygon if len(ring) >= SMALLEST_RING]
        for polygon in pairs
        if polygon and len(polygon[0]) >= SMALLEST_RING
    ]
