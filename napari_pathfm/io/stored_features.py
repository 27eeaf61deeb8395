"""What a slide's store has of embeddings, and reading them; written by :mod:`.store`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings, FeatureKey
from ..core.tiles import TileGrid, TilePlan, TileSpec
from .errors import ProjectError

FORMAT = 1


@dataclass(frozen=True)
class StoredFeatures:
    """Embeddings that are in a slide's store.

    Attributes
    ----------
    path : Path
        The slide's store.
    name : str
        Of the group.
    key : FeatureKey
        Its precision names each that there is, as ``"bfloat16; float32"``, if a run went on with
        what another one had begun.
    grid_hash : str
    slide_id : str
    count : int
        Vectors that are there.
    total : int
        Tiles of the grid.
    dim : int
        Numbers of a vector.
    """

    path: Path
    name: str
    key: FeatureKey
    grid_hash: str
    slide_id: str
    count: int
    total: int
    dim: int

    def grid(self) -> TileGrid:
        """Return the grid that was embedded."""
        import zarr

        group = zarr.open_group(self.path / "features" / self.name, mode="r")
        facts: Any = group.attrs["grid"]
        return TileGrid(
            facts["slide_id"],
            TileSpec(**facts["spec"]),
            np.asarray(group["origins"][:], np.int64),  # type: ignore[index]
            facts["side"],
            TilePlan(**facts["plan"]),
        )

    def read(self) -> Embeddings:
        """Return all vectors in the order in which they were computed."""
        tiles, vectors = _read(self.path / "features" / self.name, self.count)
        return Embeddings(self.key, self.grid_hash, tiles, vectors)


def stored_features(path: Path) -> list[StoredFeatures]:
    """List the embeddings in a slide's store, by name; empty if there is no store."""
    folder = Path(path) / "features"
    names = sorted(place.name for place in folder.iterdir()) if folder.is_dir() else []
    found = (stored_group(Path(path), name) for name in names)
    return [features for features in found if features is not None]


def stored_group(path: Path, name: str) -> StoredFeatures | None:
    """Return the embeddings of a group; ``None`` if it is not there or was not made to the end."""
    folder = path / "features" / name
    if not (folder / "count" / "zarr.json").is_file():
        return None  # no group, or one whose making was interrupted
    import zarr

    group = zarr.open_group(folder, mode="r")
    if group.attrs["format"] != FORMAT:
        raise ProjectError(
            f"The embeddings {name} were made by a newer napari-pathfm. Update: "
            "pip install --upgrade napari-pathfm"
        )
    grid: Any = group.attrs["grid"]
    facts: Any = group.attrs["key"]
    total, dim = group["vectors"].shape  # type: ignore[union-attr]
    key, count = FeatureKey(**facts), read_count(folder)
    names = dict.fromkeys(name for _, name in precisions_of(group, count))
    if names:
        key = replace(key, precision="; ".join(names))
    return StoredFeatures(path, name, key, grid["hash"], grid["slide_id"], count, total, dim)


def precisions_of(group: Any, count: int) -> list[tuple[int, str]]:
    """From which row on vectors were calculated how; what was begun after the last is left out."""
    kept = group.attrs.get("precisions")
    if kept is None:  # of a store of an earlier version, which took one for all
        kept = [(0, group.attrs["key"]["precision"])]
    return [(start, name) for start, name in kept if start < count]


def read_count(folder: Path) -> int:
    """Number of rows of a group that are valid."""
    # Read past zarr, which takes milliseconds: eight bytes, little-endian, absent for 0. They are
    # written in place, so they are read until they are the same twice.
    try:
        before, now = b"", (folder / "count" / "c").read_bytes()
        while now != before:
            before, now = now, (folder / "count" / "c").read_bytes()
    except FileNotFoundError:
        return 0
    return int.from_bytes(now, "little")


def nothing() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """No tiles and no vectors."""
    return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)


def read_tiles(folder: Path, count: int) -> NDArray[np.int64]:
    """Tile numbers of the first `count` rows of a group, ``(count,)``."""
    if not count:
        return nothing()[0]
    import zarr

    group: Any = zarr.open_group(folder, mode="r")
    return np.asarray(group["tiles"][:count], np.int64)


def _read(folder: Path, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if not count:
        return nothing()
    import zarr

    group: Any = zarr.open_group(folder, mode="r")
    return read_tiles(folder, count), np.asarray(group["vectors"][:count], np.float32)
