"""Embeddings on their way out, and files as other programs write them, for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.core.slide import Slide
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.interop.tile_features import Outgoing

KEY = FeatureKey("uni", "cls", "ab12", "224 px bicubic", "bfloat16")
DIM = 24


def vectors_of(count: int, dim: int = DIM) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, dim)).astype(np.float32)


def outgoing(slide: Slide, spec: TileSpec, dim: int = DIM, leave_out: int = 0) -> Outgoing:
    """Vectors of all tiles of a slide but the first few."""
    grid = make_grid(slide.id, slide.levels, slide.mpp, spec)
    tiles = np.arange(leave_out, len(grid))
    embeddings = Embeddings(KEY, grid.hash, tiles, vectors_of(len(tiles), dim))
    return Outgoing(slide, grid, embeddings, "uni_v1")


def write_h5(path: Path, **datasets: tuple[NDArray[Any], dict[str, Any]]) -> Path:
    """Write arrays with attributes, a row a chunk as TRIDENT does."""
    with h5py.File(path, "w") as file:
        for name, (values, attributes) in datasets.items():
            chunks = (1, *values.shape[1:]) if len(values) else None
            shape = (None, *values.shape[1:]) if len(values) else None
            made = file.create_dataset(name, data=values, chunks=chunks, maxshape=shape)
            made.attrs.update(attributes)
    return path


def trident_attributes(slide: Slide, **changed: Any) -> dict[str, Any]:
    """Attributes of coordinates as TRIDENT writes them: 256 px at 10x of a slide at 20x."""
    height, width = slide.levels[0].shape
    return {
        "patch_size": 256,
        "patch_size_level0": 512,
        "level0_magnification": 20,
        "target_magnification": 10,
        "overlap": 64,
        "name": slide.name,
        "savetodir": "/somewhere",
        "level0_width": width,
        "level0_height": height,
        **changed,
    }
