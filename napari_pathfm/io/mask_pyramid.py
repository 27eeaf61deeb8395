"""The pyramid of an annotation layer on disk: plain zarr, written a chunk file at a time.

The arrays are made by zarr and read by any zarr reader. Their chunk files are read and written
here directly, because zarr takes about 3 ms a chunk and a stroke touches one a level, and because
files can be prepared in a staging folder first, so that a full disk is noticed before anything
has changed.
"""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.edits import CHUNK
from ..core.jobs import Job, Progress
from .chunks import DTYPE, ZSTD_LEVEL, Chunk, Ids, PackedChange, pack, unpack

Place = tuple[int, int, int]
"""``(level, row, column)`` of a chunk."""

COARSEST = 1024
"""The pyramid ends at the first level with no side longer than this."""

CACHE_BYTES = 32 << 20
"""Decoded chunks that a layer keeps in memory."""

KEPT = 16
"""Edits of at most so many chunks leave what they have drawn in the cache."""

HALF = CHUNK // 2


def level_shapes(shape: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """``(height, width)`` of every level: halved, rounded up, down to :data:`COARSEST`."""
    shapes = [shape]
    while max(shapes[-1]) > COARSEST:
        height, width = shapes[-1]
        shapes.append(((height + 1) // 2, (width + 1) // 2))
    return tuple(shapes)


@dataclass
class Staged:
    """Chunks that are ready to take their places.

    Attributes
    ----------
    blobs : dict
        The new bytes of each chunk; ``None`` for one that becomes empty.
    arrays : dict
        The same decoded, as far as they are kept.
    """

    blobs: dict[Place, bytes | None] = field(default_factory=dict)
    arrays: dict[Place, Ids | None] = field(default_factory=dict)


class ChunkPyramid:
    """All levels of one annotation layer.

    Parameters
    ----------
    folder : Path
        The zarr group; its arrays are ``0``, ``1``, ...
    staging : Path
        A folder on the same disk for files that are not yet in place.
    shape : tuple of int
        ``(height, width)`` of level 0.
    rescue : callable
        ``(row, column) -> bytes``: a level-0 chunk from the journal, should its file be torn.
    read_only : bool
        What is published is then kept in memory.
    """

    def __init__(
        self,
        folder: Path,
        staging: Path,
        shape: tuple[int, int],
        rescue: Callable[[int, int], bytes | None],
        read_only: bool = False,
    ) -> None:
        self.shapes = level_shapes(shape)
        self._folder, self._staging, self._read_only = folder, staging, read_only
        self._rescue = rescue
        self._cache: OrderedDict[Place, Ids | None] = OrderedDict()
        self._cached_bytes = 0
        self._overlay: dict[Place, bytes | None] = {}
        self._torn: set[Place] = set()
        self._generation = 0
        self._lock = threading.Lock()

    def move(self, folder: Path, staging: Path) -> None:
        """Go on in another folder, as the group is called something else from now on.

        Raises
        ------
        OSError
            It cannot be moved; everything is as before.
        """
        with self._lock:
            self._folder.rename(folder)
            self._folder, self._staging = folder, staging
            self._generation += 1  # what is being read now may not have been found
        staging.mkdir(parents=True, exist_ok=True)

    @property
    def complete(self) -> bool:
        """Whether all arrays are there."""
        return not self._missing()

    def create(self) -> None:
        """Make what is missing of the zarr arrays and of the staging folder."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True, exist_ok=True)
        missing = self._missing()
        if not missing:
            return
        import zarr
        from zarr.codecs import ZstdCodec

        # Coarse to fine, so that level 0 is there only if all are.
        group = zarr.open_group(self._folder, mode="a", attributes=_ome(len(self.shapes)))
        for level in reversed(missing):
            group.create_array(
                str(level),
                shape=self.shapes[level],
                chunks=(CHUNK, CHUNK),
                dtype=DTYPE,
                compressors=ZstdCodec(level=ZSTD_LEVEL),
                fill_value=0,
                dimension_names=("y", "x"),
                overwrite=True,
            )

    def _missing(self) -> list[int]:
        levels = range(len(self.shapes))
        return [n for n in levels if not (self._folder / str(n) / "zarr.json").is_file()]

    def blob(self, level: int, row: int, col: int) -> bytes | None:
        """Return the bytes of a chunk's file; ``None`` for an empty chunk."""
        place = (level, row, col)
        try:
            return self._overlay[place]
        except KeyError:
            pass
        try:
            return self._file(place).read_bytes()
        except FileNotFoundError:
            return None

    def chunk(self, level: int, row: int, col: int) -> Ids | None:
        """Return a chunk, ``(512, 512)`` uint32, read-only; ``None`` for an empty one.

        One whose file is torn (a power cut) comes from the journal, or from the finer level.
        """
        place = (level, row, col)
        while True:
            with self._lock:
                if place in self._cache:
                    self._cache.move_to_end(place)
                    return self._cache[place]
                generation = self._generation
            try:
                array = unpack(self.blob(*place))
            except ValueError:
                self._torn.add(place)
                array = self._rescued(*place)
            with self._lock:
                # Else something was published while the file was read, maybe this chunk.
                if generation == self._generation:
                    self._keep(place, array)
                    return array

    def level0(self, row: int, col: int) -> Chunk:
        """Return a level-0 chunk with its bytes; only while nothing is being published."""
        place = (0, row, col)
        ids = self.chunk(*place)
        return Chunk(ids, pack(ids) if place in self._torn else self.blob(*place))

    def _rescued(self, level: int, row: int, col: int) -> Ids | None:
        if level == 0:
            return unpack(self._rescue(row, col))
        return self._halved(Staged(), level, _children(row, col), None)

    def _keep(self, place: Place, array: Ids | None) -> None:
        self._forget(place)
        self._cache[place] = array
        self._cached_bytes += _size(array)
        while self._cached_bytes > CACHE_BYTES:
            self._forget(next(iter(self._cache)))

    def _forget(self, place: Place) -> None:
        if place in self._cache:
            self._cached_bytes -= _size(self._cache.pop(place))

    def stage(
        self,
        changes: Iterable[PackedChange],
        total: int,
        thorough: bool = False,
    ) -> Job[Staged]:
        """Prepare new level-0 chunks and the coarser ones that follow from them.

        Nothing changes for readers. Closing the job takes away what it has prepared.

        Parameters
        ----------
        changes : iterable of PackedChange
            A chunk at most once.
        total : int
            How many there are.
        thorough : bool
            Draw coarser chunks anew from all their children, up to the coarsest level: after an
            interruption they may be missing or disagree.
        """
        staged = Staged()
        keep = total <= KEPT
        try:
            fresh = []
            for done, change in enumerate(changes):
                place = (0, change.row, change.col)
                self._put(staged, place, change.after_blob, change.after if keep else None, keep)
                fresh.append(place[1:])
                yield Progress(done, total, "saving the mask", "chunks")
            for level in range(1, len(self.shapes)):
                fresh = [
                    parent
                    for parent, children in _families(fresh, thorough).items()
                    if self._stage_parent(staged, (level, *parent), children, keep) or thorough
                ]
                yield Progress(total, total, "saving coarser levels", "chunks")
        except BaseException:
            self.discard(staged)
            raise
        return staged

    def _stage_parent(
        self, staged: Staged, place: Place, children: list[tuple[int, int]], keep: bool
    ) -> bool:
        """Halve changed chunks into the coarser one; ``False`` if that changes nothing there."""
        old = self.chunk(*place)
        new = self._halved(staged, place[0], children, old)
        if new is old and place not in self._torn:
            return False
        self._torn.discard(place)
        self._put(staged, place, pack(new), new, keep)
        return True

    def _halved(
        self, staged: Staged, level: int, children: list[tuple[int, int]], old: Ids | None
    ) -> Ids | None:
        """Draw children into a chunk; `old` itself if that changes nothing."""
        new = None
        for row, col in children:
            child = self._latest(staged, (level - 1, row, col))
            small = np.uint32(0) if child is None else child[::2, ::2]
            y, x = row % 2 * HALF, col % 2 * HALF
            quarter = slice(y, y + HALF), slice(x, x + HALF)
            if not np.any(small if old is None else small != old[quarter]):
                continue
            if new is None:
                new = np.zeros((CHUNK, CHUNK), np.uint32) if old is None else old.copy()
            new[quarter] = small
        return old if new is None else new

    def _latest(self, staged: Staged, place: Place) -> Ids | None:
        if place in staged.arrays:
            return staged.arrays[place]
        return unpack(staged.blobs[place]) if place in staged.blobs else self.chunk(*place)

    def _put(
        self, staged: Staged, place: Place, blob: bytes | None, array: Ids | None, keep: bool
    ) -> None:
        # Noted before it is written, so that half a file is discarded, too.
        staged.blobs[place] = blob
        if keep:
            staged.arrays[place] = None if blob is None else _frozen(array)
        if blob is not None and not self._read_only:
            self._waiting(place).write_bytes(blob)
            self._file(place).parent.mkdir(parents=True, exist_ok=True)

    def publish(self, staged: Staged) -> None:
        """Put staged chunks in their places: each is the old one or the new one at any moment.

        Takes no space on the disk. Should it fail all the same, readers of this process see the
        new chunks until it has been done again.
        """
        self._overlay.update(staged.blobs)
        with self._lock:
            self._generation += 1
            for place in staged.blobs:
                self._forget(place)
            for place, array in staged.arrays.items():
                self._keep(place, array)
        if self._read_only:
            return
        for place, blob in staged.blobs.items():
            self._settle(place, blob)
        for place in staged.blobs:
            del self._overlay[place]

    def _settle(self, place: Place, blob: bytes | None) -> None:
        file = self._file(place)
        # A file that replaces another is flushed to the disk by some file systems (ext4), which
        # takes a millisecond. Level 0 is worth it; a coarser chunk can be drawn again.
        if blob is None or place[0] > 0:
            file.unlink(missing_ok=True)
        if blob is not None:
            self._waiting(place).replace(file)

    def discard(self, staged: Staged) -> None:
        """Take staged chunks away again."""
        if not self._read_only:
            for place in staged.blobs:
                self._waiting(place).unlink(missing_ok=True)

    def _waiting(self, place: Place) -> Path:
        return self._staging / "{}.{}.{}".format(*place)

    def _file(self, place: Place) -> Path:
        level, row, col = place
        return self._folder / f"{level}/c/{row}/{col}"


def _families(
    chunks: Iterable[tuple[int, int]], whole: bool
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Group chunks by the chunk of the next coarser level; `whole`: with all their siblings."""
    families: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, col in chunks:
        families.setdefault((row // 2, col // 2), []).append((row, col))
    return {parent: _children(*parent) for parent in families} if whole else families


def _children(row: int, col: int) -> list[tuple[int, int]]:
    return [(2 * row + i, 2 * col + j) for i in (0, 1) for j in (0, 1)]


def _size(array: Ids | None) -> int:
    return 128 if array is None else array.nbytes


def _frozen(array: Ids | None) -> Ids | None:
    if array is not None and array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


def _ome(levels: int) -> dict[str, Any]:
    # OME-NGFF 0.5, so that other programs find the pyramid; a coarser pixel is every second one.
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [2.0**n] * 2}]}
        for n in range(levels)
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    image = {"axes": axes, "datasets": datasets, "type": "decimation"}
    return {"ome": {"version": "0.5", "multiscales": [image], "image-label": {}}}
