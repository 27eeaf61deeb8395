"""What is looked at comes first, then what lies around it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.analysis.tile_order import RINGS, GivenOrder, TileOrder
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileSpec, make_grid

GRID = make_grid("slide", [Level((640, 960), 1.0, (64, 64))], 0.5, TileSpec(32, 0.5))
"""20 rows of 30 tiles."""


def test_file_order_while_nobody_looks() -> None:
    order = TileOrder(GRID)
    assert order.sort(np.array([7, 2, 5])).tolist() == [2, 5, 7]
    assert not order.visible(np.arange(len(GRID)))
    assert order.turn == 0


def test_view_then_neighbours_then_file_order() -> None:
    order = TileOrder(GRID)
    order.look(321, 321, 350, 382)  # rows 10, columns 10 and 11
    wanted = order.sort(np.arange(len(GRID)))
    rows, cols = np.divmod(wanted, 30)
    assert sorted(wanted[:2].tolist()) == [310, 311]
    ring = np.maximum(abs(rows - 10), np.maximum(10 - cols, cols - 11).clip(0))
    assert (np.diff(np.minimum(ring, RINGS)) >= 0).all()
    far = wanted[ring >= RINGS]
    assert (np.diff(far) > 0).all()
    assert order.visible(np.array([0, 311]))
    assert not order.visible(np.array([0, 312]))


def test_only_a_move_begins_another_turn() -> None:
    order = TileOrder(GRID)
    order.look(0, 0, 10, 10)
    order.look(0, 0, 10, 10)
    assert order.turn == 1
    order.look(0, 0, 10, 11)
    assert order.turn == 2


@given(
    view=st.tuples(*[st.floats(-2000, 2000)] * 4),
    tiles=st.sets(st.integers(0, len(GRID) - 1)),
)
def test_no_tile_is_lost_or_doubled(view: tuple[float, ...], tiles: set[int]) -> None:
    order = TileOrder(GRID)
    order.look(*view)
    assert sorted(order.sort(np.array(sorted(tiles), np.int64)).tolist()) == sorted(tiles)


def test_given_order_keeps_its_own() -> None:
    order = GivenOrder(np.array([9, 1, 5]))
    assert order.sort(np.array([1, 9, 30])).tolist() == [9, 1]
