"""Filling outlines: pixel centres inside, the inverse of the outlines that we write."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_pathfm.io.interop.fill import count_pixels, spans
from napari_pathfm.io.interop.outline_table import OutlineBuilder, OutlineTable, join
from napari_pathfm.io.interop.outlines import outline, strip_corners

Mask = NDArray[np.bool_]
Rings = list[list[tuple[float, float]]]


def table_of(*objects: list[Rings]) -> OutlineTable:
    builder = OutlineBuilder()
    for number, polygons in enumerate(objects):
        builder.add(polygons, number)
    return builder.take()


def painted(table: OutlineTable, number: int, height: int, width: int, band: int = 1000) -> Mask:
    """Fill one object, band by band."""
    mask = np.zeros((height, width), bool)
    for top in range(0, height, band):
        found = spans(table, np.array([number]), top, min(top + band, height), width)
        for row, start, stop in zip(found.rows, found.starts, found.stops, strict=True):
            mask[row, start:stop] = True
    return mask


def rings_of(mask: Mask, y: int, x: int) -> list[Rings]:
    polygons = outline([strip_corners(mask, y, x)])
    return [[ring.tolist() for ring in (each.exterior, *each.holes)] for each in polygons]


@given(
    arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
    st.integers(1, 5),
)
@settings(max_examples=150)
def test_what_we_write_comes_in_again(mask: Mask, y: int, x: int, band: int) -> None:
    mask[0, 0] = True
    table = table_of(rings_of(mask, y, x))
    height, width = y + mask.shape[0], x + mask.shape[1]
    assert count_pixels(table, height, width).tolist() == [mask.sum()]
    again = np.zeros_like(mask)
    for top in range(y, height, band):
        found = spans(table, np.array([0]), top, min(top + band, height), width)
        for row, start, stop in zip(found.rows, found.starts, found.stops, strict=True):
            again[row - y, start - x : stop - x] = True
    assert (again == mask).all()


def inside(ring: list[tuple[float, float]], height: int, width: int) -> Mask:
    """Even-odd rule, pixel centre by pixel centre, in exact whole numbers (quarter pixels)."""
    ys, xs = np.mgrid[:height, :width]
    cy, cx = 4 * ys + 2, 4 * xs + 2
    result = np.zeros((height, width), bool)
    points = [(round(4 * y), round(4 * x)) for y, x in ring]
    for (ay, ax), (by, bx) in zip(points, points[1:] + points[:1], strict=True):
        if ay > by:
            ay, ax, by, bx = by, bx, ay, ax
        crossed = (ay <= cy) & (cy < by)
        # The cut lies at or before the centre.
        result ^= crossed & ((bx - ax) * (cy - ay) <= (cx - ax) * (by - ay))
    return result


quarter = st.integers(-20, 140).map(lambda value: value / 4)


@given(st.lists(st.tuples(quarter, quarter), min_size=3, max_size=9))
@settings(max_examples=200)
def test_pixel_centres_by_the_even_odd_rule(ring: list[tuple[float, float]]) -> None:
    table = table_of([[ring]])
    wanted = inside(ring, 30, 30)
    assert (painted(table, 0, 30, 30) == wanted).all()
    assert (painted(table, 0, 30, 30, band=7) == wanted).all()
    assert count_pixels(table, 30, 30)[0] == wanted.sum()


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=12), st.floats(-3, 3), st.floats(-3, 3))
def test_parts_that_share_edges_neither_overlap_nor_leave_a_gap(
    radii: list[float], dy: float, dx: float
) -> None:
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    rim = [
        (20 + dy + r * np.sin(a), 20 + dx + r * np.cos(a))
        for r, a in zip(radii, angles, strict=True)
    ]
    pieces = [[[[(20 + dy, 20 + dx), rim[n], rim[(n + 1) % len(rim)]]]] for n in range(len(rim))]
    table = table_of(*pieces)
    covered = sum(painted(table, n, 40, 40).astype(int) for n in range(len(table)))
    whole = painted(table_of([[rim]]), 0, 40, 40)
    assert (covered <= 1).all()
    assert ((covered == 1) == whole).all()


def test_alike_to_pillow_away_from_the_edge() -> None:
    angles = np.linspace(0, 2 * np.pi, 60)
    ring = [(100 + 70 * np.sin(a), 120 + 90 * np.cos(a)) for a in angles]
    ours = painted(table_of([[ring]]), 0, 200, 240)
    image = Image.new("1", (240, 200))
    ImageDraw.Draw(image).polygon([(x - 0.5, y - 0.5) for y, x in ring], fill=1)
    assert np.logical_xor(ours, np.asarray(image)).sum() < 2 * len(ring) * 4
    assert abs(ours.sum() - np.pi * 70 * 90) < 0.005 * np.pi * 70 * 90


def test_outside_and_thinner_than_a_pixel() -> None:
    sliver = [[[(5.6, 1.0), (5.9, 30.0), (5.6, 30.0)]]]
    beside = [[[(-9.0, -9.0), (-9.0, -2.0), (-2.0, -2.0)]]]
    across = [[[(-5.0, -5.0), (-5.0, 5.0), (5.0, 5.0), (5.0, -5.0)]]]
    assert count_pixels(table_of(sliver, beside, across), 40, 40).tolist() == [0, 0, 25]


def test_parts_that_overlap_stay_whole() -> None:
    square = [(0.0, 0.0), (0.0, 10.0), (10.0, 10.0), (10.0, 0.0)]
    moved = [(y + 5, x + 5) for y, x in square]
    assert painted(table_of([[square], [moved]]), 0, 20, 20).sum() == 175


def test_tables_are_joined_and_chosen_from() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((9, 9)) < 0.5 for _ in range(12)]
    places = [(int(y), int(x)) for y, x in rng.integers(0, 500, (12, 2))]
    objects = [rings_of(mask, *place) for mask, place in zip(masks, places, strict=True)]
    parts = [table_of(*objects[:5]), table_of(), table_of(*objects[5:])]
    joined = join(parts)
    assert parts == []
    assert joined.classes.tolist() == [*range(5), *range(7)]
    chosen = np.array([7, 2, 2, 11])
    some = joined.select(chosen)
    assert some.boxes().tolist() == joined.boxes()[chosen].tolist()
    for place, number in enumerate(chosen):
        assert (painted(some, place, 600, 600) == painted(joined, number, 600, 600)).all()
        y, x = places[number]
        assert (painted(some, place, 600, 600)[y : y + 9, x : x + 9] == masks[number]).all()


def test_broken_outlines_are_counted_and_keep_no_other_away() -> None:
    square = [(0.0, 0.0), (0.0, 3.0), (3.0, 3.0), (3.0, 0.0)]
    builder = OutlineBuilder()
    for polygons in (
        [[square]],
        [[[(0, 0), (1, 1)]]],
        [[[("a", 0), (1, 1), (2, 0)]]],
        [[[(float("nan"), 0), (1, 1), (2, 0)]]],
        [[[(1e300, 0), (1, 1), (2, 0)]]],
        [[[(None, 0), (1, 1), (2, 0)]]],
        [[[(1,), (1, 1), (2, 0)]]],
        [],
        [[]],
        [[5]],
        [[[(y, x, 7.0) for y, x in square]]],
    ):
        builder.add(polygons)  # type: ignore[arg-type]
    table = builder.take()
    assert count_pixels(table, 9, 9).tolist() == [9, 9]
    assert builder.broken == 9
    assert len(builder) == len(builder.take()) == 0
