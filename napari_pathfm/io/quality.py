"""Measures of the tiles of a grid in the slide's store: ``quality/<grid hash>-<format>``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.quality import MEASURES, TileQuality
from .atomic import new_folder
from .errors import explained

_FORMAT = 1
"""Another one for measures that are not to be compared with these."""


def save_quality(store: Path, quality: TileQuality) -> None:
    """Keep measures in a slide's store; nothing happens if the grid has been measured before.

    Raises
    ------
    ProjectError
        The disk is full, ...
    """
    import zarr

    if load_quality(store, quality.grid_hash) is not None:
        return
    with explained("The quality of the tiles could not be saved"):
        zarr.open_group(store, mode="a").require_group("quality")
        with new_folder(_folder(store, quality.grid_hash)) as folder:
            group = zarr.open_group(folder, mode="w")
            for name in MEASURES:
                group.create_array(name, data=getattr(quality, name))


def load_quality(store: Path, grid_hash: str) -> TileQuality | None:
    """Return the measures of a grid, or ``None`` if it has not been measured."""
    folder = _folder(store, grid_hash)
    if not folder.is_dir():
        return None
    import zarr

    group: Any = zarr.open_group(folder, mode="r")
    return TileQuality(grid_hash, *(np.asarray(group[name][:], np.float32) for name in MEASURES))


def _folder(store: Path, grid_hash: str) -> Path:
    return Path(store) / "quality" / f"{grid_hash}-{_FORMAT}"
