from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm.analysis.heatmap import heatmap
from napari_pathfm.analysis.search import TileScores
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, given_grid, make_grid


def grid_of(shape: tuple[int, int], spec: TileSpec, tissue: np.ndarray | None = None) -> TileGrid:
    levels = (Level(shape, 1.0, (256, 256)), Level((shape[0] // 4, shape[1] // 4), 4.0, (256, 256)))
    return make_grid("slide", levels, 0.25, spec, tissue)


def scores_of(tiles: np.ndarray, values: np.ndarray) -> TileScores:
    return TileScores(tiles.astype(np.int64), values.astype(np.float32), "")


def test_each_tile_is_one_pixel_where_tiles_do_not_overlap() -> None:
    grid = grid_of((1000, 1500), TileSpec(100, 0.25))
    shown = heatmap(grid, scores_of(np.arange(len(grid)), np.arange(len(grid))))
    assert shown.image.shape == (10, 15)
    assert shown.image.dtype == np.float32
    assert shown.downsample == 100
    assert (shown.image.ravel() == np.arange(150)).all()


def test_tiles_without_a_value_are_nan_and_the_origin_moves_with_the_first_tile() -> None:
    tissue = np.zeros((10, 15), bool)
    tissue[3:6, 7:9] = True
    grid = grid_of((1000, 1500), TileSpec(100, 0.25), tissue)
    shown = heatmap(grid, scores_of(np.array([0, 5]), np.array([0.5, 0.25])))
    assert shown.origin == (300, 700)
    assert shown.image.shape == (3, 2)
    assert shown.image[0, 0] == 0.5
    assert shown.image[2, 1] == 0.25
    assert np.isnan(shown.image).sum() == 4


@settings(max_examples=40, deadline=None)
@given(
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75]),
    mpp=st.sampled_from([0.25, 0.31, 0.5, 1.7]),
    seed=st.integers(0, 99),
)
def test_a_pixel_is_the_mean_of_the_tiles_over_its_centre(
    overlap: float, mpp: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    grid = grid_of((900, 1100), TileSpec(64, mpp, overlap), rng.random((9, 11)) > 0.4)
    if not len(grid):
        return
    values = rng.random(len(grid))
    shown = heatmap(grid, scores_of(np.arange(len(grid)), values))
    for _ in range(20):
        row, col = rng.integers(shown.image.shape[0]), rng.integers(shown.image.shape[1])
        centre = np.array(shown.origin) + (np.array((row, col)) + 0.5) * shown.downsample
        # Origins are rounded up to whole pixels: a centre may lie half a pixel beyond an edge.
        inside = (grid.origins <= centre + 1) & (centre < grid.origins + grid.side)
        over = inside.all(1)
        got = shown.image[row, col]
        assert np.isnan(got) if not over.any() else np.isclose(got, values[over].mean())


def test_scores_of_another_grid_are_refused() -> None:
    grid = grid_of((300, 300), TileSpec(100, 0.25))
    with pytest.raises(ValueError, match="another grid"):
        heatmap(grid, scores_of(np.array([9]), np.array([1.0])))


def test_a_grid_without_tiles_gives_an_empty_image() -> None:
    grid = grid_of((50, 50), TileSpec(100, 0.25))
    assert heatmap(grid, scores_of(np.zeros(0), np.zeros(0))).image.shape == (0, 0)


def test_tiles_of_another_program_begin_anywhere() -> None:
    origins = np.array([[137, 61], [137, 161], [237, 61]])
    levels = [Level((1000, 1000), 1.0, (256, 256))]
    grid, numbers = given_grid("slide", levels, 0.5, origins, 100, 100)
    made = heatmap(grid, TileScores(numbers, np.array([1, 2, 3], np.float32), "score"))
    assert made.origin == (137, 61)
    np.testing.assert_array_equal(made.image, [[1, 2], [3, np.nan]])
