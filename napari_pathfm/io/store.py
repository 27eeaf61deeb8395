"""Embeddings of a slide in its zarr store, appended in the order in which they are computed.

A group is named ``features/<encoder>-<FeatureKey.hash>@<grid hash>``, so that the same encoder
with other weights, another pooling or other preprocessing has a group of its own. It holds
``origins`` (the grid), ``tiles`` and ``vectors``; ``count`` says how many rows of them are valid
and is written last, so a killed run loses at most what was not flushed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings, FeatureKey
from ..core.tiles import TileGrid, TilePlan, TileSpec
from .errors import ProjectError, explained
from .locks import FileLock

__all__ = ["FeatureStore", "ProjectError", "StoredFeatures", "stored_features"]

CHUNK_ROWS = 64
"""Vectors in a chunk."""

FLUSH_ROWS = 64
FLUSH_SECONDS = 1.0
"""What was appended is written after so many rows or so long: this much a killed run loses."""

_FORMAT = 1


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
        stored = _stored(self.path, self.name)
        difference = stored.key.difference(key) if stored else None
        if difference:
            raise ValueError(f"the embeddings in {self.name} cannot be continued: {difference}")
        self._folder = self.path / "features" / self.name
        self._lock = FileLock(
            self.path.parent / f"{self.path.stem}.{self.name}.lock", f"The embedding {self.name}"
        )
        self._arrays: Any = None
        self._forget_unwritten()
        self._done = np.zeros(len(grid), bool)

    def _forget_unwritten(self) -> None:
        self._new_tiles: list[NDArray[np.int64]] = []
        self._new_vectors: list[NDArray[np.float32]] = []
        self._flushed_at = time.monotonic()

    @property
    def count(self) -> int:
        """Number of vectors, those not yet flushed included."""
        return self._written() + sum(map(len, self._new_tiles))

    def _written(self) -> int:
        return _read_count(self._folder)

    @contextmanager
    def lock(self) -> Iterator[FeatureStore]:
        """Be the one that appends; flushes at the end, also when an error ends it.

        Raises
        ------
        ProjectError
            Another process (or another job of this one) is computing the same embeddings, or
            the store cannot be written.
        """
        self._lock.acquire()
        try:
            self._forget_unwritten()
            self._done[:] = False
            self._done[self.read().tiles] = True
            yield self
            self.flush()
        except BaseException:
            # What was computed is kept, but the first error is the one to be told.
            try:
                self.flush()
            except (ProjectError, OSError):
                self._forget_unwritten()
            raise
        finally:
            self._lock.release()

    def append(self, tiles: NDArray[np.integer], vectors: NDArray[np.floating]) -> None:
        """Add vectors of tiles that have none yet, inside :meth:`lock`.

        Parameters
        ----------
        tiles : ndarray
            ``(B,)`` numbers in the grid.
        vectors : ndarray
            ``(B, D)``; kept as float32.

        Raises
        ------
        ValueError
            A tile is not in the grid or has a vector already, the shapes disagree, or a vector
            is not finite.
        ProjectError
            The disk is full, ...; what was appended before is kept.
        """
        if not self._lock.held:
            raise RuntimeError("append inside `with store.lock():` only")
        numbers: NDArray[np.int64] = np.array(tiles, np.int64)
        rows: NDArray[np.float32] = np.array(vectors, np.float32)
        self._check(numbers, rows)
        self._done[numbers] = True
        self._new_tiles.append(numbers)
        self._new_vectors.append(rows)
        late = time.monotonic() - self._flushed_at >= FLUSH_SECONDS
        if late or sum(map(len, self._new_tiles)) >= FLUSH_ROWS:
            self.flush()

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

    def flush(self) -> None:
        """Write what was appended.

        Raises
        ------
        ProjectError
            The disk is full, ...; what was written before is kept, and it can be tried again.
        """
        self._flushed_at = time.monotonic()
        if not self._new_tiles:
            return
        tiles, vectors = np.concatenate(self._new_tiles), np.concatenate(self._new_vectors)
        if not len(tiles):
            return
        with explained("The embeddings could not be saved"):
            arrays = self._opened(vectors.shape[1])
            start = self._written()
            rows = slice(start, start + len(tiles))
            arrays["tiles"][rows] = tiles
            arrays["vectors"][rows] = vectors
            arrays["count"][()] = rows.stop
        self._forget_unwritten()

    def read(self) -> Embeddings:
        """Return all vectors in the order in which they were computed."""
        key, tiles, vectors = self.key, *_read(self._folder, self._written())
        stored = _stored(self.path, self.name)
        if stored is not None:
            key = stored.key
        if self._new_tiles:
            tiles = np.concatenate([tiles, *self._new_tiles])
            fresh = np.concatenate(self._new_vectors)
            vectors = np.concatenate([vectors.reshape(-1, fresh.shape[1]), fresh])
        return Embeddings(key, self.grid.hash, tiles, vectors)

    def _opened(self, dim: int) -> Any:
        if self._arrays is None:
            if not (self._folder / "count" / "zarr.json").is_file():
                self._create(dim)
            import zarr

            self._arrays = zarr.open_group(self._folder, mode="r+")
        stored = self._arrays["vectors"].shape[1]
        if stored != dim:
            raise ValueError(f"the vectors have {dim} numbers, the stored ones {stored}")
        return self._arrays

    def _create(self, dim: int) -> None:
        import zarr

        facts = {
            "format": _FORMAT,
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
        tiles, rows = len(self.grid), CHUNK_ROWS
        plain: dict[str, Any] = {"compressors": None, "fill_value": 0}  # noise does not compress
        origins = group.create_array("origins", shape=(tiles, 2), dtype="int64", fill_value=0)
        origins[:] = self.grid.origins
        group.create_array(
            "tiles", shape=(tiles,), chunks=(_column_rows(tiles),), dtype="int64", **plain
        )
        group.create_array(
            "vectors", shape=(tiles, dim), chunks=(rows, dim), dtype="float32", **plain
        )
        # The last one: a group without it was not finished and is made again.
        group.create_array("count", shape=(), dtype="int64", **plain)


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

    def open(self) -> FeatureStore:
        """Return the store, to go on with it."""
        return FeatureStore(self.path, self.key, self.grid())


def stored_features(path: Path) -> list[StoredFeatures]:
    """List the embeddings in a slide's store, by name; empty if there is no store."""
    folder = Path(path) / "features"
    names = sorted(place.name for place in folder.iterdir()) if folder.is_dir() else []
    found = (_stored(Path(path), name) for name in names)
    return [features for features in found if features is not None]


def group_name(key: FeatureKey, grid: TileGrid) -> str:
    """Name of the group of an encoder's vectors of a grid."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', key.encoder)}-{key.hash}@{grid.hash}"


def _stored(path: Path, name: str) -> StoredFeatures | None:
    folder = path / "features" / name
    if not (folder / "count" / "zarr.json").is_file():
        return None  # no group, or one whose making was interrupted
    import zarr

    group = zarr.open_group(folder, mode="r")
    if group.attrs["format"] != _FORMAT:
        raise ProjectError(
            f"The embeddings {name} were made by a newer napari-pathfm. Update: "
            "pip install --upgrade napari-pathfm"
        )
    grid: Any = group.attrs["grid"]
    key: Any = group.attrs["key"]
    total, dim = group["vectors"].shape  # type: ignore[union-attr]
    return StoredFeatures(
        path, name, FeatureKey(**key), grid["hash"], grid["slide_id"], _read_count(folder), total,
        dim,
    )  # fmt: skip


def _read_count(folder: Path) -> int:
    # Read past zarr, which takes milliseconds: eight bytes, little-endian, absent for 0.
    try:
        return int.from_bytes((folder / "count" / "c").read_bytes(), "little")
    except FileNotFoundError:
        return 0


def _read(folder: Path, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if not count:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    import zarr

    group: Any = zarr.open_group(folder, mode="r")
    tiles = np.asarray(group["tiles"][:count], np.int64)
    return tiles, np.asarray(group["vectors"][:count], np.float32)


def _column_rows(tiles: int) -> int:
    return max(1, min(tiles, 16 * CHUNK_ROWS))
