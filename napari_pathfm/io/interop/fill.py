"""Outlines to pixels: those whose centre lies inside, the inverse of :mod:`.outlines`.

A pixel ``(r, c)`` covers ``[r, r + 1) x [c, c + 1)``. Each row of pixels is cut by the edges at the
height of its centres, and what lies between the first and the second cut, the third and the
fourth, ... is inside (even-odd rule; see Foley, van Dam et al., "Computer Graphics", scan
conversion). All rows of all objects of a band are done together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .outline_table import GRAIN, OutlineTable, first_rings, spread

CUTS_AT_ONCE = 1 << 22
"""Cuts of rows by edges that are worked on together."""


class Spans(NamedTuple):
    """Runs of pixels of objects, sorted by object, then by row.

    Attributes
    ----------
    objects : ndarray
        ``(K,)`` int64: place of its object among those that were asked for.
    rows, starts, stops : ndarray
        ``(K,)`` int64: row, first column and the one behind the last, level-0 pixels.
    """

    objects: NDArray[np.int64]
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def spans(
    table: OutlineTable, objects: NDArray[np.integer], top: int, bottom: int, width: int
) -> Spans:
    """Fill objects within a band of rows.

    Parameters
    ----------
    table : OutlineTable
    objects : ndarray
        ``(M,)`` which objects, in this order.
    top, bottom : int
        First row of the band and the one behind its last.
    width : int
        Columns from 0 on; what lies outside is cut off.
    """
    low, high, polygon, owner = _edges(table, objects)
    # Rows whose centre lies on the edge: its upper end counts, its lower end does not.
    first = _first_inside(low[:, 0]).clip(top, bottom).astype(np.int64)
    last = _first_inside(high[:, 0]).clip(top, bottom).astype(np.int64)
    edge, row = spread(first, last)
    (y, x), (dy, dx) = low[edge].T, (high - low)[edge].T
    # All are whole numbers, and so is the product: a cut through a centre is exactly there.
    x = x + (row * GRAIN + GRAIN // 2 - y) * dx / dy
    column = _first_inside(x).clip(0, width).astype(np.int64)
    return _paired(polygon[edge], row, column, owner, top, bottom, width)


def count_pixels(table: OutlineTable, height: int, width: int) -> NDArray[np.int64]:
    """Count the pixels of every object in a slide of ``(height, width)``: ``(N,)``."""
    pixels = np.zeros(len(table), np.int64)
    for objects, top, bottom in _portions(table, height):
        found = spans(table, objects, top, bottom, width)
        counts = np.bincount(found.objects, found.stops - found.starts, len(objects))
        pixels[objects] += counts.astype(np.int64)
    return pixels


def _portions(table: OutlineTable, height: int) -> Iterator[tuple[NDArray[np.int64], int, int]]:
    """Cut the work so that little is held at once: objects with a band of rows."""
    low, high, polygon, owner = _edges(table, np.arange(len(table)))
    top = _first_inside(low[:, 0]).clip(0, height)
    bottom = _first_inside(high[:, 0]).clip(0, height)
    cuts = np.bincount(owner[polygon], bottom - top, len(table))
    turn = (np.cumsum(cuts) // CUTS_AT_ONCE).astype(np.int64)
    for objects in np.split(np.arange(len(table)), np.flatnonzero(np.diff(turn)) + 1):
        bands = int(cuts[objects].sum() // (2 * CUTS_AT_ONCE)) + 1
        edges = np.linspace(0, height, bands + 1).astype(int).tolist()
        for start, stop in itertools.pairwise(edges):
            yield objects, start, stop


def _edges(
    table: OutlineTable, objects: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the edges of objects.

    Returns
    -------
    low, high : ndarray
        ``(E, 2)`` ends ``(y, x)`` in parts of a pixel, the upper one first: two objects that share
        an edge are cut at exactly the same places.
    polygon : ndarray
        ``(E,)`` its polygon, counted from 0 in the order of `objects`.
    owner : ndarray
        Of each polygon: place of its object in `objects`.
    """
    of_ring, rings = spread(table.objects[objects], table.objects[objects + 1])
    of_point, points = spread(table.rings[rings], table.rings[rings + 1])
    ends = np.cumsum(table.rings[rings + 1] - table.rings[rings])
    following = points + 1
    following[ends - 1] = table.rings[rings]
    begin, end = table.points[points].astype(float), table.points[following].astype(float)
    down = begin[:, :1] <= end[:, :1]
    new = first_rings(of_ring, table.polygons[rings])
    polygon, owner = np.cumsum(new) - 1, of_ring[new]
    return np.where(down, begin, end), np.where(down, end, begin), polygon[of_point], owner


def _first_inside(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """First pixel whose centre does not lie before a place in parts of a pixel."""
    return np.ceil((place - GRAIN // 2) / GRAIN)


def _paired(
    polygon: NDArray[np.int64],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    owner: NDArray[np.int64],
    top: int,
    bottom: int,
    width: int,
) -> Spans:
    # One sort of whole numbers instead of one by three keys.
    row_bits, column_bits = (bottom - top).bit_length(), (width + 1).bit_length()
    keys = ((polygon << row_bits | (row - top)) << column_bits) | column
    keys.sort()
    begin, stop = keys[::2], keys[1::2] & ((1 << column_bits) - 1)
    start = begin & ((1 << column_bits) - 1)
    rest = begin >> column_bits
    kept = start < stop
    rest = rest[kept]
    return Spans(
        owner[rest >> row_bits],
        (rest & ((1 << row_bits) - 1)) + top,
        start[kept],
        stop[kept],
    )
