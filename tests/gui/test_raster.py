from __future__ import annotations

import numpy as np
import pytest

from napari_pathfm.gui.raster import CHOSEN_RIM, SYMBOLS, Marks, pack, rasterize, stamp_of

RED, BLUE = pack(np.array([[255, 0, 0], [0, 0, 255]]))


def marks(xy: np.ndarray, chosen: np.ndarray | None = None, symbol: int = 0) -> Marks:
    xy = np.asarray(xy, np.float32)
    none = np.zeros(len(xy), bool)
    return Marks(
        xy[:, 0].copy(),
        xy[:, 1].copy(),
        np.full(len(xy), RED),
        np.full(len(xy), symbol, np.uint8),
        none if chosen is None else chosen,
    )


def test_colours_are_packed_premultiplied() -> None:
    assert pack(np.array([[255, 128, 1]]))[0] == 0xFFFF8001
    assert pack(np.array([[255, 128, 0]]), 0.5)[0] == 0x807F4000


@pytest.mark.parametrize("symbol", range(len(SYMBOLS)))
def test_a_mark_is_centred_on_its_place(symbol: int) -> None:
    image = rasterize(marks([[5.5, 2.5]], symbol=symbol), (0, 0, 10, 10), (200, 100))
    rows, cols = np.nonzero(image)
    assert image[50, 55] == RED
    assert abs((rows.min() + rows.max()) / 2 - 50) <= 1
    assert abs((cols.min() + cols.max()) / 2 - 55) <= 1


def test_symbols_differ() -> None:
    shapes = {tuple(np.concatenate(stamp_of(s, 8)[:2])) for s in range(len(SYMBOLS))}
    assert len(shapes) == len(SYMBOLS)


def test_what_lies_outside_is_left_out_and_what_reaches_in_is_drawn() -> None:
    far = [[1e9, 0], [-1e9, 5], [0, 1e30], [np.nan, 1]]
    assert not rasterize(marks(far), (0, 0, 10, 10), (50, 50)).any()
    assert rasterize(marks([[-0.2, 5]]), (0, 0, 10, 10), (50, 50)).any()


@pytest.mark.parametrize("count", [10, 40_000])
def test_chosen_marks_lie_on_top_with_a_rim(count: int) -> None:
    xy = np.full((count, 2), 5.0)
    chosen = np.zeros(count, bool)
    chosen[0] = True
    shown = marks(xy, chosen)
    shown.colors[0] = BLUE
    image = rasterize(shown, (0, 0, 10, 10), (100, 100))
    assert image[50, 50] == BLUE
    assert (image == CHOSEN_RIM).any()


def test_many_points_are_dots_each_in_its_place() -> None:
    rng = np.random.default_rng(0)
    xy = rng.random((50_000, 2)) * (10, 5)  # the upper half stays empty
    image = rasterize(marks(xy), (0, 0, 10, 10), (100, 100))
    assert (image[:50] != 0).all()
    assert not image[52:].any()


def test_no_points() -> None:
    assert not rasterize(marks(np.zeros((0, 2))), (0, 0, 1, 1), (10, 10)).any()
