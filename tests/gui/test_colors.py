from __future__ import annotations

import numpy as np

from napari_pathfm.analysis.search import TileScores
from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.gui.colors import PALETTE, UNKNOWN, by_class, by_cluster, by_score, rgb
from napari_pathfm.gui.raster import SYMBOLS, pack


def packed(color: str) -> int:
    return int(pack(np.array([rgb(color)]))[0])


def test_classes_have_their_own_colours_and_names() -> None:
    labels = np.array([0, 2, 0, 9], np.uint8)
    paint = by_class(np.array([3, 1, 0]), labels, (AnnotationClass(2, "a <b>", "#123456"),))
    assert paint.colors.tolist() == [packed(UNKNOWN), packed("#123456"), packed(UNKNOWN)]
    assert "a&nbsp;&lt;b&gt;&nbsp;(1)" in paint.legend
    assert "class&nbsp;9" in paint.legend


def test_clusters_are_looked_up_by_tile() -> None:
    paint = by_cluster(np.array([7, 5, 6, 8]), np.array([5, 6, 7]), np.array([0, 1, 0], np.int32))
    first, second = packed(PALETTE[0]), packed(PALETTE[1])
    assert paint.colors.tolist() == [first, first, second, packed(UNKNOWN)]
    assert paint.symbols.tolist() == [0, 0, 1, 0]


def test_thirty_clusters_differ_in_colour_or_symbol() -> None:
    tiles = np.arange(30)
    paint = by_cluster(tiles, tiles, tiles.astype(np.int32))
    assert len(set(zip(paint.colors.tolist(), paint.symbols.tolist(), strict=True))) == 30
    assert all(symbol in paint.legend for symbol in SYMBOLS)


def test_scores_grow_brighter() -> None:
    scores = TileScores(np.arange(50), np.linspace(-1, 1, 50).astype(np.float32), "similar")
    paint = by_score(np.arange(51), scores)
    light = paint.colors.view(np.uint8).reshape(-1, 4)[:, :3].astype(int).sum(1)
    assert light[49] > light[25] > light[5]
    assert paint.colors[50] == packed(UNKNOWN)
    assert "1.00" in paint.legend
