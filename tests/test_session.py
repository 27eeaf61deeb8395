"""What stays when embeddings grow, and what goes when others come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_pathfm.analysis.map import MapCoordinates
from napari_pathfm.analysis.search import TileScores
from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.session import Session

KEY = FeatureKey("encoder", "avg", "0123", "224 px")
TILES = np.array([7, 3, 5, 1, 0])


def some(count: int, key: FeatureKey = KEY, tiles: np.ndarray = TILES) -> Embeddings:
    return Embeddings(key, "grid", tiles[:count], np.ones((count, 4), np.float32))


def test_embeddings_grow_and_others_replace_them() -> None:
    session, heard = Session(), list[str]()
    session.events.embeddings.connect(lambda: heard.append("others"))
    session.events.embedded.connect(lambda count: heard.append(str(count)))
    few = some(2)
    session.set_embeddings(few)
    session.coordinates = shown = MapCoordinates(TILES[:2], np.zeros((2, 2), np.float32), "PCA")
    session.scores = TileScores(TILES[:2], np.zeros(2, np.float32), "alike")
    session.set_embeddings(some(4, replace(KEY, precision="bfloat16")))
    assert session.still(few)
    assert session.coordinates is shown
    assert session.scores is not None
    for other in (some(5, replace(KEY, weights="4567")), some(5, tiles=TILES[::-1]), some(3), None):
        session.coordinates = shown
        session.set_embeddings(other)
        assert session.coordinates is None
        assert session.scores is None
        assert session.still(few) == (other is not None and len(other) == 3)
    assert heard == ["others", "2", "4", "others", "5", "others", "others", "3", "others", "0"]
