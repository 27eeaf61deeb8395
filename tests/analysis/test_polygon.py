"""Objects as polygons: the same pixels back, holes and parts too, one edit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_pathfm.analysis.polygon import reshape_to, rings_of
from napari_pathfm.io.masks import AnnotationLayer

from .test_again import layer
from .test_reshape import SHAPE, disc, draw, rectangle, undone, whole

__all__ = ["layer"]  # the fixture


def test_an_outline_has_few_corners_and_is_near(layer: AnnotationLayer) -> None:
    shape = disc(300, 400, 90) & ~disc(300, 400, 40)
    number = draw(layer, shape)
    rings = rings_of(layer, number)
    assert len(rings) == 2, "one around it, one around its hole"
    assert all(8 < len(ring) < 80 for ring in rings)
    layer.commit(reshape_to(layer, number, rings))
    wrong = (whole(layer) == number) ^ shape
    assert wrong.sum() < 0.02 * shape.sum()


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 2**32 - 1))
def test_every_corner_gives_the_same_pixels_back(layer: AnnotationLayer, seed: int) -> None:
    draws = np.random.default_rng(seed)
    shape = np.zeros(SHAPE, bool)
    for _ in range(6):
        y, x = draws.integers(100, 700, 2)
        piece = disc(y, x, draws.uniform(3, 80))
        shape = shape & ~piece if draws.random() < 0.3 else shape | piece
    shape |= disc(400, 400, 10)
    number = draw(layer, shape)
    rings = rings_of(layer, number, 0.0)
    assert not reshape_to(layer, number, rings), "no pixel changes"
    layer.commit(layer.delete_edit([number]))


def test_a_moved_corner_is_one_edit(layer: AnnotationLayer) -> None:
    number, neighbour = draw(layer, rectangle(100, 100, 200, 200)), draw(layer, disc(300, 150, 40))
    (ring,) = rings_of(layer, number)
    assert len(ring) == 4
    before, rows = whole(layer), dict(layer.objects.items())
    lower = np.where(ring == [200, 200], [320, 200], ring)
    layer.commit(reshape_to(layer, number, [lower]))
    expected = before.copy()
    part = expected[100:320, 100:200]
    row, col = np.mgrid[100:320, 100:200] + 0.5
    inside = (row - 100) / (col - 100) < 220 / 100
    left = (ring[ring[:, 1] == 100][:, 0]).max()
    if (lower[:, 0] == 320).sum() == 2:
        inside[:] = True
    part[inside & (part == 0)] = number
    assert left == 200
    np.testing.assert_array_equal(whole(layer), expected)
    assert layer.objects[number].corrected
    assert layer.objects[neighbour] == rows[neighbour]
    undone(layer, before, rows)


def test_no_polygon_or_an_empty_one_is_refused(layer: AnnotationLayer) -> None:
    number = draw(layer, disc(300, 400, 40))
    with pytest.raises(ValueError, match="no polygon left"):
        reshape_to(layer, number, [])
    with pytest.raises(ValueError, match="Nothing would be left"):
        reshape_to(layer, number, [np.array([[10.0, 10], [10, 10.1], [10.1, 10]])])
    with pytest.raises(ValueError, match="no object 77"):
        rings_of(layer, 77)
