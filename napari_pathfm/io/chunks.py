"""One chunk of an annotation layer: its bytes, and its change in an edit.

A chunk's file in the zarr array and its record in the journal are the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK, ChunkChange

Ids = NDArray[np.uint32]

DTYPE = np.dtype("<u4")
"""Of the files, on every machine."""

ZSTD_LEVEL = 1

_FEW = 128
"""A chunk of so few bytes is all of one object, or nearly: such chunks come by the thousand."""


class Chunk(NamedTuple):
    """A chunk as it is: its pixels, and the bytes of its file.

    Attributes
    ----------
    ids : ndarray or None
        ``(512, 512)`` uint32 object ids, read-only; ``None`` for an empty chunk.
    blob : bytes or None
        What :func:`unpack` gives `ids` for.
    """

    ids: Ids | None
    blob: bytes | None


def pack(chunk: Ids | None) -> bytes | None:
    """Compress a chunk to the bytes of its file; ``None`` if there is nothing in it.

    Parameters
    ----------
    chunk : ndarray or None
        ``(512, 512)`` uint32 object ids.

    Raises
    ------
    ValueError
        It has another shape.
    """
    if chunk is None or not chunk.any():
        return None
    if chunk.shape != (CHUNK, CHUNK):
        raise ValueError(f"a chunk must be ({CHUNK}, {CHUNK}), not {chunk.shape}")
    import imagecodecs

    return bytes(
        imagecodecs.zstd_encode(chunk.astype(DTYPE, copy=False).tobytes(), level=ZSTD_LEVEL)
    )


def unpack(blob: bytes | None) -> Ids | None:
    """Return the chunk of a file's bytes, ``(512, 512)`` uint32, read-only.

    Raises
    ------
    ValueError
        The bytes are torn.
    """
    if blob is None:
        return None
    return _unpack_often(blob) if len(blob) < _FEW else _unpack(blob)


def _unpack(blob: bytes) -> Ids:
    import imagecodecs

    try:
        raw = imagecodecs.zstd_decode(blob)
    except RuntimeError as error:
        raise ValueError(f"a chunk cannot be decompressed ({error})") from error
    if len(raw) != CHUNK * CHUNK * DTYPE.itemsize:
        raise ValueError(f"a chunk has {len(raw)} bytes")
    return np.frombuffer(raw, DTYPE).reshape(CHUNK, CHUNK)


_unpack_often = lru_cache(maxsize=4)(_unpack)


class PackedChange(ChunkChange):
    """A :class:`ChunkChange` that holds its sides compressed and unpacks them when asked.

    An edit of a thousand chunks then takes kilobytes instead of gigabytes.
    """

    def __init__(self, row: int, col: int, before: bytes | None, after: bytes | None) -> None:
        vars(self).update(row=row, col=col, before_blob=before, after_blob=after)

    before_blob: bytes | None
    after_blob: bytes | None

    @property
    def before(self) -> Ids | None:
        """``(512, 512)`` uint32, or ``None`` for an empty chunk."""
        return unpack(self.before_blob)

    @property
    def after(self) -> Ids | None:
        """``(512, 512)`` uint32, or ``None`` for an empty chunk."""
        return unpack(self.after_blob)

    def inverse(self) -> PackedChange:
        """Swap the sides."""
        return PackedChange(self.row, self.col, self.after_blob, self.before_blob)


def packed(change: ChunkChange) -> PackedChange:
    """Compress a change, unless it is already."""
    if isinstance(change, PackedChange):
        return change
    return PackedChange(change.row, change.col, pack(change.before), pack(change.after))


def chunks_in(y0: int, x0: int, y1: int, x1: int) -> Iterator[tuple[int, int]]:
    """Rows and columns of the chunks that a box touches, row by row; pixels of one level."""
    for row in range(y0 // CHUNK, -(-y1 // CHUNK)):
        for col in range(x0 // CHUNK, -(-x1 // CHUNK)):
            yield row, col


def chunks_of(boxes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Rows and columns of the chunks that any of many boxes touches.

    Parameters
    ----------
    boxes : ndarray
        ``(N, 4)``: ``y0, x0, y1, x1``, pixels of one level.

    Returns
    -------
    ndarray
        ``(M, 2)``, row by row, each chunk once.
    """
    boxes = np.asarray(boxes, np.int64)
    boxes = boxes[(boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])]
    first, last = boxes[:, :2] // CHUNK, (boxes[:, 2:] - 1) // CHUNK
    # Small objects touch the same few patterns of chunks: each pattern is laid out once.
    patterns = np.unique(np.concatenate([first, last], 1), axis=0)
    found: set[tuple[int, int]] = set()
    for row, col, end_row, end_col in patterns.tolist():
        found.update((r, c) for r in range(row, end_row + 1) for c in range(col, end_col + 1))
    return np.array(sorted(found), np.int64).reshape(-1, 2)
