"""Rows of the object table as bytes: columns one by one, compressed together.

A page of the table and the object side of an edit are both such a blob.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..core.objects import ROW, WORDS, Rows
from .chunks import ZSTD_LEVEL

_WORDS = ("how", "model", "author")


def pack(before: Rows, after: Rows) -> bytes:
    """Compress two sides of a change; a page has an empty first side.

    A header in JSON says how many rows each side has, what words they use, and which columns of
    the second side are those of the first; the columns follow, then all of it is compressed.
    """
    import imagecodecs

    words = sorted({int(code) for side in (before, after) for code in _codes(side)})
    alike = np.array_equal(before["id"], after["id"])
    same = [name for name in ROW.names or () if alike and _equal(before[name], after[name])]
    header = {
        "version": 1,
        "rows": [len(before), len(after)],
        "words": [WORDS.text(code) for code in words],
        "same": same,
    }
    parts = [json.dumps(header).encode(), b"\n", *_columns(before, words, ())]
    parts += _columns(after, words, same)
    return bytes(imagecodecs.zstd_encode(b"".join(parts), level=ZSTD_LEVEL))


def unpack(blob: bytes) -> tuple[Rows, Rows]:
    """Return both sides of what :func:`pack` has made."""
    import imagecodecs

    raw = bytes(imagecodecs.zstd_decode(blob))
    end = raw.index(b"\n")
    header = json.loads(raw[:end])
    words = np.array([WORDS.code(text) for text in header["words"]] or [0], np.int32)
    first, second = header["rows"]
    before, at = _read(raw, end + 1, first, words, None, ())
    after, _ = _read(raw, at, second, words, before, header["same"])
    return before, after


def _codes(rows: Rows) -> Iterator[int]:
    for name in _WORDS:
        column = rows[name]
        # Most often all of them are alike, which is seen more quickly than sorted.
        if len(column) and (column == column[0]).all():
            yield int(column[0])
        else:
            yield from np.unique(column).tolist()


def _equal(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    # As bytes: what is not a number is itself, too.
    return one.tobytes() == other.tobytes()


def _columns(rows: Rows, words: list[int], without: Iterable[str]) -> list[bytes]:
    columns = []
    for name in ROW.names or ():
        if name not in without:
            column = rows[name]
            if name in _WORDS:
                column = np.searchsorted(words, column).astype("<i4")
            columns.append(column.tobytes())
    return columns


def _read(
    raw: bytes,
    at: int,
    count: int,
    words: NDArray[np.int32],
    base: Rows | None,
    same: Iterable[str],
) -> tuple[Rows, int]:
    rows = np.empty(count, ROW)
    for name in ROW.names or ():
        if base is not None and name in same:
            rows[name] = base[name]
            continue
        dtype = ROW[name]
        column = np.frombuffer(raw, dtype, count, at)
        rows[name] = words[column] if name in _WORDS else column
        at += count * dtype.itemsize
    return rows, at
