"""Embeddings of a slide in its zarr store, appended in the order in which they are computed.

A group is named ``features/<encoder>-<FeatureKey.hash>@<grid hash>``, so that the same encoder
with other weights, another pooling or other preprocessing has a group of its own. It holds
``origins`` (the grid), ``tiles`` and ``vectors``; ``count`` says how many rows of them are valid.
Rows are written as they come, and ``count`` after them, so a killed run loses nothing that was
appended, and a row that is not whole does not count. Its attribute ``precisions`` says from which
row on vectors were calculated how.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings, FeatureKey
from ..core.tiles import TileGrid
from .columns import Column
from .errors import ProjectError, explained
from .locks import FileLock
from .stored_features import (
    FORMAT,
    StoredFeatures,
    nothing,
    precisions_of,
    read_count,
    read_tiles,
    stored_features,
    stored_group,
)

__all__ = ["FeatureStore", "ProjectError", "StoredFeatures", "stored_features"]

CHUNK_ROWS = 512
"""Vectors in a chunk; of tile numbers there are 16 times as many."""


class FeatureStore:
    """Embeddings of one grid by one encoder; a new one is made by the first append.

    Any number of processes may read; one appends, inside :meth:`lock`.

    Parameters
    ----------
    path : Path
        The slide's store, ``slides/<id>.zarr``.
    key : FeatureKey
        How the vectors are made.
    grid : TileGrid

    Raises
    ------
    ValueError
        What is stored there was made in another way; the message names the difference.
    """

    def __init__(self, path: Path, key: FeatureKey, grid: TileGrid) -> None:
        self.path, self.key, self.grid = Path(path), key, grid
        self.name = group_name(key, grid)
        stored = stored_group(self.path, self.name)
        difference = stored.key.difference(key) if stored else None
        if difference:
            raise ValueError(f"the embeddings in {self.name} cannot be continued: {difference}")
        self._folder = self.path / "features" / self.name
        self._lock = FileLock(
            self.path.parent / f"{self.path.stem}.{self.name}.lock", f"The embedding {self.name}"
        )
        self._columns: _Columns | None = None
        self._done = np.zeros(len(grid), bool)

    @property
    def count(self) -> int:
        """Number of vectors."""
        return read_count(self._folder)

    @property
    def tiles(self) -> NDArray[np.int64]:
        """``(M,)``: numbers of the tiles that have a vector, in the order of the vectors."""
        return read_tiles(self._folder, self.count)

    @contextmanager
    def lock(self) -> Iterator[FeatureStore]:
        """Be the one that appends.

        Raises
        ------
        ProjectError
            Another process (or another job of this one) is computing the same embeddings, or
            the store cannot be written.
        """
        with self._lock:
            self._done[:] = False
            self._done[self.tiles] = True
            try:
                yield self
            finally:
                if self._columns is not None:
                    self._columns.close()
                self._columns = None

    def append(
        self,
        tiles: NDArray[np.integer],
        vectors: NDArray[np.floating],
        precision: str | None = None,
    ) -> None:
        """Add vectors of tiles that have none yet, inside :meth:`lock`; then they are there.

        One thread at a time may do so, and any.

        Parameters
        ----------
        tiles : ndarray
            ``(B,)`` numbers in the grid.
        vectors : ndarray
            ``(B, D)``; kept as float32.
        precision : str, optional
            How they were calculated; as the key says if absent.

        Raises
        ------
        ValueError
            A tile is not in the grid or has a vector already, the shapes disagree, or a vector
            is not finite.
        ProjectError
            The disk is full, ...; what was appended before is kept, and it can be tried again.
        """
        if not self._lock.held:
            raise RuntimeError("append inside `with store.lock():` only")
        numbers: NDArray[np.int64] = np.array(tiles, np.int64)
        rows = np.asarray(vectors, np.float32)
        self._check(numbers, rows)
        if not len(numbers):
            return
        with explained("The embeddings could not be saved"):
            self._opened(rows.shape[1]).append(numbers, rows, precision or self.key.precision)
        self._done[numbers] = True

    def _check(self, tiles: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        if vectors.ndim != 2 or tiles.shape != vectors.shape[:1]:
            raise ValueError(
                f"tiles (B,) and vectors (B, D) disagree: {tiles.shape}, {vectors.shape}"
            )
        if len(tiles) and not 0 <= tiles.min() <= tiles.max() < len(self.grid):
            raise ValueError(f"a tile is not in this grid of {len(self.grid)} tiles")
        if self._done[tiles].any() or len(np.unique(tiles)) < len(tiles):
            raise ValueError("a tile has a vector already")
        if not np.isfinite(vectors).all():
            raise ValueError(
                "the network gave vectors that are not finite numbers: try another precision "
                "(float32) or other weights"
            )

    def read(self) -> Embeddings:
        """Return all vectors in the order in which they were computed."""
        stored = stored_group(self.path, self.name)
        if stored is None:
            return Embeddings(self.key, self.grid.hash, *nothing())
        return stored.read()

    def _opened(self, dim: int) -> _Columns:
        if self._columns is None:
            if not (self._folder / "count" / "zarr.json").is_file():
                self._create(dim)
            self._columns = _Columns(self._folder)
        if self._columns.dim != dim:
            raise ValueError(f"the vectors have {dim} numbers, the stored ones {self._columns.dim}")
        return self._columns

    def _create(self, dim: int) -> None:
        import zarr

        facts = {
            "format": FORMAT,
            "key": asdict(self.key),
            "grid": {
                "hash": self.grid.hash,
                "slide_id": self.grid.slide_id,
                "spec": asdict(self.grid.spec),
                "plan": asdict(self.grid.plan),
                "side": self.grid.side,
            },
        }
        root = zarr.open_group(self.path, mode="a")
        group = root.require_group("features").create_group(
            self.name, attributes=facts, overwrite=True
        )
        tiles = len(self.grid)
        rows = min(tiles, CHUNK_ROWS)
        plain: dict[str, Any] = {"compressors": None, "fill_value": 0}  # noise does not compress
        origins = group.create_array("origins", shape=(tiles, 2), dtype="int64", fill_value=0)
        origins[:] = self.grid.origins
        group.create_array(
            "tiles", shape=(tiles,), chunks=(min(tiles, 16 * CHUNK_ROWS),), dtype="int64", **plain
        )
        group.create_array(
            "vectors", shape=(tiles, dim), chunks=(rows, dim), dtype="float32", **plain
        )
        # The last one: a group without it was not finished and is made again.
        group.create_array("count", shape=(), dtype="int64", **plain)


class _Columns:
    """The arrays of a group that grow."""

    def __init__(self, folder: Path) -> None:
        import zarr

        group: Any = zarr.open_group(folder, mode="r+")
        self._tiles, self._vectors, self._count = (
            Column(folder / name, group[name]) for name in ("tiles", "vectors", "count")
        )
        self.dim = int(group["vectors"].shape[1])
        self._written = read_count(folder)
        self._attributes, self._precisions = group.attrs, precisions_of(group, self._written)

    def append(
        self, tiles: NDArray[np.int64], vectors: NDArray[np.float32], precision: str
    ) -> None:
        start = self._written
        if not self._precisions or self._precisions[-1][1] != precision:
            self._precisions.append((start, precision))
            self._attributes["precisions"] = self._precisions
        self._vectors.write(start, vectors)
        self._tiles.write(start, tiles)
        self._count.write(0, np.array([start + len(tiles)]))
        self._written = start + len(tiles)

    def close(self) -> None:
        for column in (self._tiles, self._vectors, self._count):
            column.close()


def group_name(key: FeatureKey, grid: TileGrid) -> str:
    """Name of the group of an encoder's vectors of a grid."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', key.encoder)}-{key.hash}@{grid.hash}"
