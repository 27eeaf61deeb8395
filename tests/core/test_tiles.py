from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely import Point, Polygon

from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import (
    SAME_MPP,
    TileGrid,
    TileSpec,
    area_fraction,
    coarser_pixels,
    given_grid,
    level_extent,
    level_for_downsample,
    level_mpp,
    make_grid,
    plan_tiles,
    points_in_polygon,
    segments_of,
    segments_of_squares,
    to_level,
    to_slide,
)

downsamples = st.floats(1, 512)
LEVELS = tuple(
    Level((int(14201 / d), int(37950 / d)), d, (256, 256)) for d in (1.0, 2.0001, 8.003, 32.02)
)


@settings(deadline=None)
@given(st.integers(0, 200_000), downsamples)
def test_from_a_level_to_the_slide_and_back(pixel: int, downsample: float) -> None:
    assert to_level(to_slide(pixel, downsample), downsample) == pixel


@settings(deadline=None)
@given(st.integers(-1000, 10**6), downsamples)
def test_a_level_pixel_holds_its_position(position: int, downsample: float) -> None:
    pixel = to_level(position, downsample)
    assert pixel * downsample <= position + 1e-6 * downsample
    assert position < (pixel + 1) * downsample


@settings(deadline=None)
@given(st.floats(0, 10**6), downsamples)
def test_extents_are_the_nearest_and_never_nothing(length: float, downsample: float) -> None:
    extent = level_extent(length, downsample)
    assert extent >= 1
    assert extent == 1 or abs(extent - length / downsample) <= 0.5


@settings(deadline=None)
@given(st.floats(0.1, 600))
def test_the_level_for_a_downsample(wanted: float) -> None:
    chosen = level_for_downsample(LEVELS, wanted)
    near = [n for n, level in enumerate(LEVELS) if abs(level.downsample / wanted - 1) <= SAME_MPP]
    if near:
        assert chosen == near[0]
    else:
        finer = [n for n, level in enumerate(LEVELS) if level.downsample <= wanted]
        assert chosen == max(finer, default=0)


@pytest.mark.parametrize(
    ("wanted", "level"), [(1.0, 0), (0.5, 0), (1.96, 0), (1.97, 1), (2.04, 1), (7.9, 2), (31.0, 2)]
)
def test_two_per_cent_are_the_same_level(wanted: float, level: int) -> None:
    assert level_for_downsample(LEVELS, wanted) == level


def test_mpp_of_a_level() -> None:
    assert level_mpp(LEVELS[3], 0.25) == 0.25 * 32.02


@settings(deadline=None)
@given(st.integers(0, 5000), st.integers(0, 300), st.floats(1, 4), st.floats(1.5, 4.5))
def test_pixels_under_finer_ones(start: int, count: int, finer: float, factor: float) -> None:
    coarser, length = finer * factor, 1500
    pixels = coarser_pixels(start, start + count, finer, coarser, length)
    for n, pixel in enumerate(pixels.tolist()):
        centre = (start + n + 0.5) * finer
        expected = min(math.floor(centre / coarser + 1e-12), length - 1)
        edge = abs(centre / coarser - round(centre / coarser)) < 1e-6
        assert abs(pixel - expected) <= (1 if edge else 0)


@settings(deadline=None)
@given(
    st.integers(80, 400),
    st.floats(0.3, 4),
    st.sampled_from([0.0, 0.25, 0.5]),
    st.integers(200, 3000),
    st.integers(200, 3000),
)
def test_tiles_lie_inside_the_slide(
    tile_px: int, mpp: float, overlap: float, height: int, width: int
) -> None:
    levels = [
        Level((height, width), 1.0, (256, 256)),
        Level((height // 4, width // 4), 4.003, (256, 256)),
    ]
    grid = make_grid("x", levels, 0.5, TileSpec(tile_px, mpp, overlap))
    assert (grid.origins >= 0).all()
    assert (grid.origins + grid.side <= (height + 1, width + 1)).all()
    assert len(np.unique(grid.origins, axis=0)) == len(grid)
    assert (np.lexsort(grid.origins.T[::-1]) == np.arange(len(grid))).all()  # in file order
    if height >= grid.side and width >= grid.side:
        assert len(grid)
        rows = np.unique(grid.origins[:, 0])
        assert height - (rows[-1] + grid.side) <= grid.side * (1 - overlap) + 1
    else:
        assert not len(grid)


@settings(deadline=None)
@given(st.floats(0.1, 40))
def test_what_is_read_has_the_size_that_was_asked_for(mpp: float) -> None:
    plan = plan_tiles(LEVELS, TileSpec(224, mpp), 0.25)
    read_mpp = plan.size * LEVELS[plan.level].downsample * 0.25 / plan.tile_px
    assume(mpp > 0.3)
    assert read_mpp == pytest.approx(mpp, rel=2 * SAME_MPP + 1 / plan.size)
    if plan.size == plan.tile_px:
        assert LEVELS[plan.level].downsample * 0.25 == pytest.approx(mpp, rel=2 * SAME_MPP)


def test_a_slide_without_mpp_has_tiles_in_pixels() -> None:
    assert plan_tiles(LEVELS, TileSpec(224, None), None).size == 224
    with pytest.raises(ValueError, match="Enter its micrometres"):
        plan_tiles(LEVELS, TileSpec(224, 0.5), None)


@pytest.mark.parametrize(
    "values", [{"tile_px": 0}, {"mpp": 0.0}, {"mpp": 500.0}, {"overlap": 1.0}, {"min_tissue": 1.1}]
)
def test_specs_that_make_no_sense(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        TileSpec(**values)  # type: ignore[arg-type]


def test_the_hash_names_the_grid() -> None:
    grid = make_grid("x", LEVELS, 0.5, TileSpec(512, 1.0))
    same = make_grid("y", LEVELS, 0.5, TileSpec(512, 1.0))
    other = make_grid("x", LEVELS, 0.5, TileSpec(512, 1.0, overlap=0.1))
    part = TileGrid("x", grid.spec, grid.origins[1:], grid.side, grid.plan)
    assert grid.hash == same.hash
    assert len({grid.hash, other.hash, part.hash}) == 3


def test_the_tile_at_a_position() -> None:
    grid = make_grid("x", LEVELS, 0.5, TileSpec(256, 0.5, overlap=0.5))
    for number in (0, 7, len(grid) - 1):
        assert grid.at(*grid.centers[number]) == number
    assert grid.at(-1, -1) is None
    assert TileGrid("x", grid.spec, grid.origins[:0], grid.side, grid.plan).at(1, 1) is None


@settings(deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 30), st.floats(1, 300), st.integers(0, 2**31), st.booleans()
)
def test_area_fraction_is_the_mean_of_the_mask_under_the_square(
    rows: int, cols: int, side: float, seed: int, full: bool
) -> None:
    rng = np.random.default_rng(seed)
    mask = np.ones((rows, cols), bool) if full else rng.random((rows, cols)) < 0.5
    shape = rows * 10, cols * 10
    origins = rng.integers(0, shape, (20, 2))
    fraction = area_fraction(mask, origins, side, shape)
    for (y, x), found in zip(origins, fraction, strict=True):
        part = mask[y // 10 : math.ceil((y + side) / 10), x // 10 : math.ceil((x + side) / 10)]
        assert found == pytest.approx(part.mean(), abs=1e-9 if side % 10 > 1e-6 else 1)
    if full:
        assert (fraction == 1).all()


def test_little_tissue_leaves_the_grid() -> None:
    tissue = np.zeros((14, 37), bool)
    tissue[5:9, 10:20] = True
    whole = make_grid("x", LEVELS, 0.5, TileSpec(256, 0.5))
    kept = make_grid("x", LEVELS, 0.5, TileSpec(256, 0.5, min_tissue=1.0), tissue)
    assert 0 < len(kept) < len(whole)
    assert (kept.origins >= (14201 * 5 / 14 - 1, 37950 * 10 / 37 - 1)).all()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=8, unique=True)
)
def test_points_in_a_polygon_as_shapely_has_it(corners: list[tuple[int, int]]) -> None:
    polygon = Polygon(corners)
    assume(polygon.is_valid and polygon.area > 0)
    ys, xs = np.mgrid[0.29:40:2.17, 0.31:40:2.13]
    points = np.stack([ys.ravel(), xs.ravel()], 1)
    inside = points_in_polygon(points, np.array(corners, float))
    for point, found in zip(points, inside, strict=True):
        if polygon.boundary.distance(Point(point)) > 1e-9:
            assert found == polygon.contains(Point(point))


def test_tiles_inside_a_polygon() -> None:
    grid = make_grid("x", LEVELS, 0.5, TileSpec(512, 0.5))
    corners = np.array([(0, 0), (0, 1100), (1100, 1100), (1100, 0)], float)
    assert grid.inside(corners).tolist() == [
        n for n, centre in enumerate(grid.centers) if (centre < 1100).all()
    ]


@settings(deadline=None)
@given(st.integers(-200, 700), st.integers(-200, 900), st.integers(-5, 400), st.integers(-5, 400))
def test_segments_of_a_region(y: int, x: int, height: int, width: int) -> None:
    level = Level((500, 700), 1.0, (64, 96))
    found = list(segments_of(level, y, x, height, width))
    expected = [
        (row, col)
        for row in range(8)
        for col in range(8)
        if height > 0
        and width > 0
        and row * 64 < y + height
        and y < (row + 1) * 64
        and col * 96 < x + width
        and x < (col + 1) * 96
    ]
    assert found == expected


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-200, 700), st.integers(-200, 900)), max_size=9),
    st.integers(1, 400),
)
def test_segments_of_many_squares(corners: list[tuple[int, int]], size: int) -> None:
    level = Level((500, 700), 1.0, (64, 96))
    squares, segments = segments_of_squares(level, np.array(corners, np.int64).reshape(-1, 2), size)
    expected = [
        (number, row * 8 + col)
        for number, (y, x) in enumerate(corners)
        for row, col in segments_of(level, y, x, size, size)
    ]
    assert list(zip(squares.tolist(), segments.tolist(), strict=True)) == expected


@given(
    st.lists(st.tuples(st.integers(-300, 900), st.integers(-300, 900)), min_size=1, max_size=30),
    st.integers(20, 900),
    st.integers(16, 300),
)
def test_tiles_that_others_laid_out_keep_their_places(
    corners: list[tuple[int, int]], side: int, tile_px: int
) -> None:
    origins = np.array(corners)
    grid, numbers = given_grid("slide", LEVELS, 0.25, origins, side, tile_px, overlap=0.25)
    np.testing.assert_array_equal(grid.origins[numbers], origins)
    assert sorted(numbers.tolist()) == list(range(len(origins)))
    assert grid.origins.tolist() == sorted(grid.origins.tolist())
    assert grid.side == side
    assert grid.plan.tile_px == grid.spec.tile_px == tile_px
    assert grid.spec.mpp == pytest.approx(0.25 * side / tile_px)
    downsample = LEVELS[grid.plan.level].downsample
    assert abs(grid.plan.size * downsample - side) <= max(downsample, 1) / 2 + 1e-9
    assert downsample <= max(1.0, side / tile_px * 1.021)


def test_two_per_cent_keep_the_name_of_the_mpp() -> None:
    origins = np.zeros((1, 2), int)
    near, _ = given_grid("slide", LEVELS, 0.2527, origins, 512, 256, mpp=0.5)
    far, _ = given_grid("slide", LEVELS, 0.3, origins, 512, 256, mpp=0.5)
    unknown, _ = given_grid("slide", LEVELS, None, origins, 512, 256, mpp=0.5)
    assert near.spec.mpp == 0.5
    assert far.spec.mpp == pytest.approx(0.6)
    assert (unknown.spec.mpp, unknown.spec.tile_px, unknown.plan.tile_px) == (None, 512, 256)


@pytest.mark.parametrize(("side", "tile_px"), [(0, 224), (224, 0), (float("nan"), 224)])
def test_tiles_without_a_size_are_refused(side: float, tile_px: int) -> None:
    with pytest.raises(ValueError, match="a tile has a side"):
        given_grid("slide", LEVELS, 0.5, np.zeros((1, 2), int), side, tile_px)


def test_whole_numbers_make_the_same_grid() -> None:
    level = [Level((256, 256), 1.0, (64, 64))]
    one, other = TileSpec(16, 1, 0, 0), TileSpec(16, 1.0, 0.0, 0.0)
    assert make_grid("s", level, 0.5, one).hash == make_grid("s", level, 0.5, other).hash
