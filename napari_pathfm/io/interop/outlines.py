"""Masks to polygons along the edges of their pixels, exactly and in strips.

The corners of a rectilinear shape determine it: within each row of corners, neighbours in pairs
are its horizontal edges, and within each column its vertical ones (O'Rourke 1988, "Uniqueness of
orthogonal connect-the-dots"). So only corners are kept, never a whole mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BAND = 64
"""Rows of edges that are searched together."""

UP_LEFT, UP_RIGHT, LOW_LEFT, LOW_RIGHT = 1, 2, 4, 8


@dataclass(frozen=True, eq=False)
class Polygon:
    """A shape without gaps: one outer ring, and rings around its holes.

    Attributes
    ----------
    exterior : ndarray
        ``(K, 2)`` int64 corners ``(y, x)``, the last one equal to the first.
    holes : tuple of ndarray
        The same for each hole.
    """

    exterior: NDArray[np.int64]
    holes: tuple[NDArray[np.int64], ...] = ()

    @property
    def area(self) -> int:
        """Pixels inside."""
        return abs(_area2(self.exterior)) // 2 - sum(abs(_area2(hole)) // 2 for hole in self.holes)


def strip_corners(
    mask: NDArray[np.bool_], y: int, x: int, first: bool = True, last: bool = True
) -> NDArray[np.int64]:
    """Corners of the outline of a mask, or of one strip of it.

    Parameters
    ----------
    mask : ndarray
        ``(h, w)`` bool. A strip that is not the first begins with the last row of the one before.
    y, x : int
        Position of its first pixel.
    first, last : bool
        Whether nothing lies above it and below it.

    Returns
    -------
    ndarray
        ``(N, 3)`` int64: y and x of the corner, and which of the four pixels around it belong
        to the mask (bits 1, 2, 4, 8: upper left, upper right, lower left, lower right).
    """
    padded = np.pad(mask, ((int(first), int(last)), (1, 1))).astype(np.uint8)
    around = (
        padded[:-1, :-1] * UP_LEFT
        + padded[:-1, 1:] * UP_RIGHT
        + padded[1:, :-1] * LOW_LEFT
        + padded[1:, 1:] * LOW_RIGHT
    ).astype(np.uint8)
    rows, cols = np.nonzero(_IS_CORNER[around])
    return np.stack([rows + y + (not first), cols + x, around[rows, cols]], 1).astype(np.int64)


def outline(strips: Sequence[NDArray[np.int64]]) -> tuple[Polygon, ...]:
    """Join the corners of all strips of a mask to polygons.

    Pixels that touch only at a corner are separate polygons; no ring touches itself, so every
    polygon is valid in the sense of the OGC's simple features.
    """
    corners = np.concatenate(strips) if strips else np.zeros((0, 3), np.int64)
    if not len(corners):
        return ()
    rings = _rings(*_partners(corners))
    return _nest(rings)


_TOUCHING = (UP_LEFT | LOW_RIGHT, UP_RIGHT | LOW_LEFT)
"""Two pixels that touch at a corner only."""

_IS_CORNER = np.array(
    [bin(bits).count("1") in (1, 3) or bits in _TOUCHING for bits in range(16)], bool
)


@dataclass(frozen=True, eq=False)
class _Ring:
    points: NDArray[np.int64]
    """``(K, 2)``, closed, beginning with its topmost, then leftmost corner."""
    is_hole: bool


def _partners(
    corners: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pair the corners along rows and columns.

    Where two pixels touch at a corner, it stands twice, once for each of them.
    """
    twice = np.isin(corners[:, 2], _TOUCHING)
    corners = np.repeat(corners, 1 + twice, axis=0)
    y, x, bits = corners.T
    copy = np.zeros(len(corners), np.int64)
    copy[1:] = (np.diff(y) == 0) & (np.diff(x) == 0)
    # Of the two copies, the first ends the edge from the left and the second begins the one to
    # the right. Upwards goes the copy whose pixel lies above.
    down = np.where(bits == (UP_RIGHT | LOW_LEFT), 1 - copy, copy)
    return corners, _pairs(np.lexsort((copy, x, y))), _pairs(np.lexsort((down, y, x)))


def _pairs(order: NDArray[np.int64]) -> NDArray[np.int64]:
    partner = np.empty_like(order)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner


def _rings(
    corners: NDArray[np.int64], across: NDArray[np.int64], along: NDArray[np.int64]
) -> list[_Ring]:
    place, bits = corners[:, :2], corners[:, 2]
    touches = np.isin(bits, _TOUCHING)
    next_across, next_along = across.tolist(), along.tolist()
    seen = [False] * len(corners)
    rings = []
    for start in range(len(corners)):
        if seen[start]:
            continue
        loop, at = [], start
        while not seen[at]:
            other = next_across[at]
            seen[at] = seen[other] = True
            loop += [at, other]
            at = next_along[other]
        # Only where pixels touch at a corner can a ring meet itself.
        parts = _simple_loops(place, loop) if touches[loop].any() else [loop]
        rings += [_ring(place, bits, part) for part in parts]
    return rings


def _simple_loops(place: NDArray[np.int64], loop: list[int]) -> list[list[int]]:
    """Cut a loop where it touches itself."""
    parts: list[list[int]] = []
    walked: list[int] = []
    where: dict[tuple[int, int], int] = {}
    for corner, (y, x) in zip(loop, place[loop].tolist(), strict=True):
        if (y, x) in where:
            cut = where[y, x]
            parts.append(walked[cut:])
            for gone in walked[cut + 1 :]:
                del where[tuple(place[gone].tolist())]
            del walked[cut + 1 :]
        else:
            where[y, x] = len(walked)
            walked.append(corner)
    return [*parts, walked]


def _ring(place: NDArray[np.int64], bits: NDArray[np.int64], loop: list[int]) -> _Ring:
    points = place[loop]
    top = int(np.lexsort((points[:, 1], points[:, 0]))[0])
    points = np.roll(points, -top, axis=0)
    # From its topmost, then leftmost corner a ring runs right and down: the pixel at the lower
    # right is inside the ring, so it tells a shape from a hole.
    is_hole = not bits[loop[top]] & LOW_RIGHT
    return _Ring(np.concatenate([points, points[:1]]), is_hole)


def _nest(rings: list[_Ring]) -> tuple[Polygon, ...]:
    """Give each hole to the shape around it."""
    rings = sorted(rings, key=lambda ring: tuple(ring.points[0].tolist()))
    shape_of = [-1 if ring.is_hole else number for number, ring in enumerate(rings)]
    if -1 in shape_of:
        bands = _bands(_vertical_edges(rings))
        for number, ring in enumerate(rings):
            if ring.is_hole:
                y, x = ring.points[0]
                beside = _ring_left_of(bands[(y - 1) // BAND], int(y) - 1, int(x))
                shape_of[number] = shape_of[beside]
    holes: dict[int, list[NDArray[np.int64]]] = {}
    for number, ring in enumerate(rings):
        if ring.is_hole:
            holes.setdefault(shape_of[number], []).append(ring.points)
    return tuple(
        Polygon(ring.points, tuple(holes.get(number, ())))
        for number, ring in enumerate(rings)
        if not ring.is_hole
    )


def _vertical_edges(rings: list[_Ring]) -> NDArray[np.int64]:
    """``(N, 4)``: top, bottom, x and number of the ring of every vertical edge."""
    edges = []
    for number, ring in enumerate(rings):
        begin, end = ring.points[:-1], ring.points[1:]
        upright = begin[:, 1] == end[:, 1]
        low, high = np.sort(np.stack([begin[upright, 0], end[upright, 0]]), axis=0)
        x = begin[upright, 1]
        edges.append(np.stack([low, high, x, np.full_like(x, number)], 1))
    return np.concatenate(edges)


def _bands(edges: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Edges by the bands of :data:`BAND` rows that they cross."""
    first, last = edges[:, 0] // BAND, (edges[:, 1] - 1) // BAND
    times = last - first + 1
    edge = np.repeat(np.arange(len(edges)), times)
    band = first[edge] + np.arange(len(edge)) - np.repeat(times.cumsum() - times, times)
    order = np.argsort(band, kind="stable")
    names, starts = np.unique(band[order], return_index=True)
    parts = np.split(edges[edge[order]], starts[1:])
    return dict(zip(names.tolist(), parts, strict=True))


def _ring_left_of(edges: NDArray[np.int64], y: int, x: int) -> int:
    """Ring of the first edge that is met on the way left from a pixel."""
    top, bottom, at, ring = edges.T
    crossed = np.flatnonzero((top <= y) & (y < bottom) & (at <= x))
    return int(ring[crossed[at[crossed].argmax()]])


def _area2(ring: NDArray[np.int64]) -> int:
    y, x = ring[:-1].T
    y_next, x_next = ring[1:].T
    return int((x * y_next - x_next * y).sum())
