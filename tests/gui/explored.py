"""A session with an embedded slide that needs no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.session import Session

CLASSES = (AnnotationClass(1, "tumor", "#d55e00"), AnnotationClass(2, "stroma", "#0072b2"))


class PlainSlide:
    """Each tile has one grey value, its number."""

    id, name, path = "slide", "plain", Path("plain.tif")
    levels = (Level((1000, 1000), 1.0, (256, 256)),)
    mpp = 0.5

    def __init__(self) -> None:
        self.read: list[int] = []

    def tile(self, grid: TileGrid, number: int) -> NDArray[np.uint8]:
        self.read.append(number)
        return np.full((100, 100, 3), number, np.uint8)


def explored(k: int = 4, **changes: Any) -> tuple[Session, NDArray[np.int64]]:
    """A session with 100 tiles in `k` clear groups, and the group of each tile."""
    session = Session()
    session.show_slide(PlainSlide())  # type: ignore[arg-type]
    grid = make_grid("slide", PlainSlide.levels, 0.5, TileSpec(100, 0.5))
    session.set_grid(grid)
    session.classes = CLASSES
    group = np.arange(len(grid)) % k
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(k, 16))[group] * 3 + rng.normal(size=(len(grid), 16))
    key = FeatureKey("encoder", "avg", "0123", "224 px")
    session.set_embeddings(
        Embeddings(key, grid.hash, np.arange(len(grid)), vectors.astype(np.float32))
    )
    for name, value in changes.items():
        setattr(session, name, value)
    return session, group
