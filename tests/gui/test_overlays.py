from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.gui.overlays import polygon_edges, tile_edges


def grid_of(
    height: int, width: int, spec: TileSpec, tissue: np.ndarray | None = None, mpp: float = 0.5
) -> TileGrid:
    return make_grid("slide", [Level((height, width), 1.0, (256, 256))], mpp, spec, tissue)


def draw(lines: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    drawn = np.zeros(shape, bool)
    for (y, x), (dy, dx) in np.round(lines).astype(int):
        drawn[min(y, y + dy) : max(y, y + dy) + 1, min(x, x + dx) : max(x, x + dx) + 1] = True
    return drawn


@given(st.integers(0, 2**16 - 1))
def test_lines_are_exactly_the_edges_of_the_tiles(bits: int) -> None:
    tissue = np.array([bits >> i & 1 for i in range(16)], bool).reshape(4, 4)
    grid = grid_of(40, 40, TileSpec(10, min_tissue=0.99), tissue)
    expected = np.zeros((41, 41), bool)
    for y, x in grid.origins:
        expected[y : y + 11, [x, x + 10]] = True
        expected[[y, y + 10], x : x + 11] = True
    assert (draw(tile_edges(grid), (41, 41)) == expected).all()


def test_a_full_grid_is_a_few_long_lines() -> None:
    grid = grid_of(22400, 22400, TileSpec(224))
    assert len(grid) == 10_000
    assert len(tile_edges(grid)) == 2 * 101


def test_fractional_sides_join_too() -> None:
    grid = grid_of(22400, 22400, TileSpec(224, mpp=0.77))
    rows = len(np.unique(grid.origins[:, 0]))
    assert len(tile_edges(grid)) < 4 * (rows + 1)


def test_only_the_selected_tiles() -> None:
    grid = grid_of(40, 40, TileSpec(10))
    assert draw(tile_edges(grid, np.array([0])), (41, 41)).sum() == 40
    assert tile_edges(grid, np.array([], int)).shape == (0, 2, 2)


def test_polygons_are_closed() -> None:
    lines = polygon_edges([np.array([[0, 0], [0, 5], [5, 5.0]])])
    assert np.allclose(lines.sum(1)[-1], [0, 0])
    assert polygon_edges([]).shape == (0, 2, 2)
