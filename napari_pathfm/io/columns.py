"""Rows written in place into the uncompressed chunks of a zarr array, as they come.

zarr writes a chunk anew for every row in it and takes milliseconds for it. Where nothing is
compressed, a row has its place in a file, and writing it is one call of the system.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .atomic import replacing
from .errors import ProjectError


class Column:
    """Writes rows of one array; the files stay open between them, until :meth:`close`.

    Only whole rows can be written, and what a reader may take of them is said elsewhere, after
    they are there.

    Parameters
    ----------
    folder : Path
        Of the array.
    array : zarr.Array
        No axis but the first is cut into chunks; without axes it is a single number.

    Raises
    ------
    ProjectError
        Another program has compressed it.
    """

    def __init__(self, folder: Path, array: Any) -> None:
        if array.compressors or array.filters or array.shards:
            raise ProjectError(
                f"{folder} was compressed by another program and cannot be continued. Rename the "
                f"folder {folder.parent}, and its embeddings are computed anew."
            )
        self._folder, self._axes = folder / "c", len(array.shape)
        self._rows = array.chunks[0] if self._axes else 1
        self._dtype = np.dtype(array.dtype).newbyteorder("<")
        self._width = self._dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        self._chunk, self._file = -1, None

    _file: IO[bytes] | None

    def write(self, start: int, rows: NDArray[Any]) -> None:
        """Write rows from number `start` on, ``(B, ...)``.

        Raises
        ------
        OSError
            The disk is full, ...; some of the rows may be there.
        """
        data = np.ascontiguousarray(rows, self._dtype)
        while len(data):
            chunk, row = divmod(start, self._rows)
            part = data[: self._rows - row]
            _write(self._opened(chunk), row * self._width, part)
            start, data = start + len(part), data[len(part) :]

    def close(self) -> None:
        """Close the file that is open."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _opened(self, chunk: int) -> IO[bytes]:
        if self._file is None or chunk != self._chunk:
            self.close()
            path = self._path(chunk)
            if not path.exists():
                # zarr takes no chunk that is too short, so it is there in full or not at all.
                with replacing(path) as whole, whole.open("r+b") as file:
                    file.truncate(self._rows * self._width)
            self._file, self._chunk = path.open("r+b", buffering=0), chunk
        return self._file

    def _path(self, chunk: int) -> Path:
        """Where zarr looks for a chunk."""
        if not self._axes:
            return self._folder
        return self._folder.joinpath(str(chunk), *["0"] * (self._axes - 1))


def _write(file: IO[bytes], place: int, data: NDArray[Any]) -> None:
    file.seek(place)
    left = data.data.cast("B")
    while left:
        # Without a buffer, less may be written than was asked for: so on a disk that gets full.
        left = left[file.write(left) :]
