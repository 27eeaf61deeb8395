"""Outlines: exact areas, holes, touching corners, and the same in strips."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import label

from napari_pathfm.io.interop.outlines import Polygon, outline, strip_corners

Mask = NDArray[np.bool_]


def polygons_of(mask: Mask, y: int = 0, x: int = 0) -> tuple[Polygon, ...]:
    return outline([strip_corners(mask, y, x)])


def fill(polygons: tuple[Polygon, ...], shape: tuple[int, int]) -> Mask:
    """Fill polygons again, by counting the vertical edges to the left of each pixel."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.holes):
            for (y0, x0), (y1, x1) in itertools.pairwise(ring.tolist()):
                if x0 == x1:
                    crossings[min(y0, y1) : max(y0, y1), x0] += 1
    return crossings.cumsum(1)[:, :-1] % 2 == 1


def test_one_pixel() -> None:
    (polygon,) = polygons_of(np.ones((1, 1), bool), 5, 7)
    assert {tuple(p) for p in polygon.exterior} == {(5, 7), (5, 8), (6, 8), (6, 7)}
    assert (polygon.exterior[0] == polygon.exterior[-1]).all()
    assert polygon.area == 1


def test_nothing() -> None:
    assert polygons_of(np.zeros((3, 3), bool)) == ()


def test_ring_inside_a_hole_belongs_to_itself() -> None:
    mask = np.zeros((11, 11), bool)
    mask[0:11, 0:11] = True
    mask[2:9, 2:9] = False
    mask[4:7, 4:7] = True
    mask[5, 5] = False
    outer, inner = polygons_of(mask)
    assert (outer.area, inner.area) == (121 - 49, 8)
    assert len(outer.holes) == len(inner.holes) == 1
    assert inner.holes[0].min(0).tolist() == [5, 5]


@pytest.mark.parametrize("flip", [False, True])
def test_pixels_that_touch_at_a_corner_are_two_polygons(flip: bool) -> None:
    mask = np.eye(2, dtype=bool)
    assert [p.area for p in polygons_of(mask[::-1] if flip else mask)] == [1, 1]


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=300, deadline=None)
def test_any_mask(mask: Mask) -> None:
    polygons = polygons_of(mask)
    assert sum(polygon.area for polygon in polygons) == mask.sum()
    assert len(polygons) == label(mask)[1]
    assert (fill(polygons, mask.shape) == mask).all()
    for polygon in polygons:
        for ring in (polygon.exterior, *polygon.holes):
            assert len({tuple(point) for point in ring[:-1].tolist()}) == len(ring) - 1


@given(arrays(bool, st.tuples(st.integers(2, 12), st.integers(1, 9))), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_strips_give_the_same(mask: Mask, rows: int) -> None:
    strips = []
    for y in range(0, len(mask), rows):
        begin = max(0, y - 1)
        strips.append(
            strip_corners(
                mask[begin : y + rows], begin, 0, first=y == 0, last=y + rows >= len(mask)
            )
        )
    whole = polygons_of(mask)
    for ours, theirs in zip(outline(strips), whole, strict=True):
        assert (ours.exterior == theirs.exterior).all()
        assert len(ours.holes) == len(theirs.holes)


def test_valid_for_shapely() -> None:
    shapely = pytest.importorskip("shapely")
    random = np.random.default_rng(0)
    mask = random.random((60, 60)) < 0.6
    for polygon in polygons_of(mask):
        shape = shapely.Polygon(polygon.exterior, polygon.holes)
        assert shape.is_valid
        assert shape.area == polygon.area
