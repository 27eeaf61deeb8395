"""Which tiles are good enough."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pathfm.core.quality import OFF, QualityLimits, TileQuality, named_limits, sift
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid

GRID = make_grid("s", [Level((200, 500), 1.0, (64, 64))], None, TileSpec(100, None))


def quality(grid: TileGrid = GRID, **columns: list[float]) -> TileQuality:
    good = {"tissue": 1.0, "blur": 1.0, "pen": 0.0}
    each = {
        name: np.array(columns.get(name, [value] * len(grid)), np.float32)
        for name, value in good.items()
    }
    return TileQuality(grid.hash, **each)


def test_each_measure_leaves_tiles_out_and_is_counted() -> None:
    measured = quality(
        tissue=[0.2, 0.2, *[1.0] * 8],
        blur=[3.0, 1.0, 3.0, float("nan"), *[1.0] * 6],
        pen=[*[0.0] * 9, 0.5],
    )
    found = sift(GRID, measured, QualityLimits())
    assert np.flatnonzero(~found.keep).tolist() == [0, 1, 2, 9]
    assert found.left_out == {"tissue": 2, "blur": 2, "pen": 1}
    assert (found.grid.origins == GRID.origins[found.keep]).all()
    assert found.summary() == (
        "6 of 10 tiles stay; left out: 2 too little tissue, 2 blurred, 1 pen"
    )
    part = measured.where(found.keep, found.grid)
    assert sift(found.grid, part, QualityLimits()).keep.all()


def test_limits_that_are_off_leave_the_grid_as_it_is() -> None:
    bad = quality(tissue=[0.0] * 10, blur=[1e9] * 10, pen=[1.0] * 10)
    found = sift(GRID, bad, OFF)
    assert found.grid is GRID
    assert found.summary() == "10 of 10 tiles stay"
    assert set(named_limits(OFF).values()) == {None}


def test_a_smaller_grid_has_a_hash_of_its_own_that_the_tiles_alone_decide() -> None:
    first = sift(GRID, quality(pen=[1.0] + [0.0] * 9), QualityLimits()).grid
    again = sift(GRID, quality(blur=[9.0] + [0.0] * 9), QualityLimits()).grid
    assert first.hash == again.hash != GRID.hash


def test_measures_of_another_grid_are_refused() -> None:
    other = make_grid("s", [Level((200, 400), 1.0, (64, 64))], None, TileSpec(100, None))
    with pytest.raises(ValueError, match="Measure the quality of this grid first"):
        sift(GRID, quality(other), OFF)


@pytest.mark.parametrize(
    "wrong", [{"min_tissue": 1.5}, {"max_pen": -0.1}, {"max_blur": 0}, {"max_blur": float("nan")}]
)
def test_limits_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        QualityLimits(**wrong)
