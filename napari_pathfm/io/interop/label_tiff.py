"""Label images as TIFF: strips, tiles, pyramids, BigTIFF, OME-TIFF."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.chain import check_chain
from ..backends.ranges import LocalFile
from ..backends.tiff import Complaints, check_complete, page_decoder
from .label_image import LabelFacts, Values, check_values, readable

CACHE_BYTES = 256 << 20
"""Decoded segments that are kept: a row of strips or tiles is needed by neighbours."""

LARGEST_SEGMENT = 1 << 30
"""Bytes of a piece that can only be decoded as a whole."""

LOSSY = (6, 7, 33007, 34892)
"""Compressions (JPEG) after which an id may be another one."""


class LabelTiff:
    """The first image of a TIFF, with all levels of its pyramid.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        It has colours or several planes, was compressed with loss, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        import tifffile

        self.name, self._path = path.name, path
        self.facts: dict[int, LabelFacts] = {}
        self._file: LocalFile | None = LocalFile(path)
        check_chain(self._file)
        with Complaints() as complaints, tifffile.TiffFile(path) as file:
            pages = [_only_page(level) for level in file.series[0].levels]
            check_complete(pages, complaints, self._file.size)
            self._levels = [_Level(page, path, file.byteorder) for page in pages]
        self.shapes = tuple(level.shape for level in self._levels)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Values:
        """See :meth:`LabelImage.read`."""
        if self._file is None:
            raise ValueError(f"{self.name} is closed")
        with readable(self._path):
            return self._levels[level].read(self._file, y, x, height, width)

    def close(self) -> None:
        """See :meth:`LabelImage.close`."""
        for level in self._levels:
            level.forget()
        self._file, self._levels = None, []


class _Level:
    """One page and how its segments are found and decoded."""

    def __init__(self, page: Any, path: Path, byteorder: str) -> None:
        page = page.keyframe if page.keyframe is not page and page.keyframe is not None else page
        self.shape = (int(page.imagelength), int(page.imagewidth))
        self._dtype = page.dtype
        self._side = tuple(int(side) for side in page.chunks[:2])
        self._offsets, self._counts = list(page.dataoffsets), list(page.databytecounts)
        self._mapped: NDArray[Any] | None = None
        if page.is_memmappable:
            kind = np.dtype(page.dtype).newbyteorder(byteorder)
            self._mapped = np.memmap(path, kind, "r", page.dataoffsets[0], self.shape)
            return
        size = self._side[0] * self._side[1] * self._dtype.itemsize
        if size > LARGEST_SEGMENT:
            raise ValueError(
                f"it is one piece of {size >> 20:,} MiB, which cannot be read in parts; save it "
                "in tiles"
            )
        self._decode = page_decoder(page)
        # Holds this object as well: only garbage collection would end it.
        self._segment = functools.lru_cache(max(1, CACHE_BYTES // size))(self._decoded)

    def read(self, file: LocalFile, y: int, x: int, height: int, width: int) -> Values:
        if self._mapped is not None:
            return np.asarray(self._mapped[y : y + height, x : x + width])
        rows, cols = self._side
        out = np.zeros((height, width), self._dtype)
        for row in range(y // rows, -(-(y + height) // rows)):
            for col in range(x // cols, -(-(x + width) // cols)):
                part = self._segment(file, row * -(-self.shape[1] // cols) + col)
                if part is None:
                    continue
                top, left = row * rows, col * cols
                a, b = max(top, y), max(left, x)
                piece = part[a - top : y + height - top, b - left : x + width - left]
                out[a - y : a - y + piece.shape[0], b - x : b - x + piece.shape[1]] = piece
        return out

    def forget(self) -> None:
        """Let go of what is decoded."""
        if self._mapped is None:
            self._segment.cache_clear()
        self._mapped = None

    def _decoded(self, file: LocalFile, index: int) -> NDArray[Any] | None:
        if not self._counts[index]:
            return None  # a sparse file
        data = file.read(self._offsets[index], self._counts[index])
        part = np.asarray(self._decode(data, index, None))
        return part.reshape(part.shape[:2])


def _only_page(level: Any) -> Any:
    page = level.keyframe
    if page.samplesperpixel != 1:
        raise ValueError("its pixels are colours; save ids as one channel of whole numbers")
    if len(level.pages) != 1 or page.imagedepth != 1:
        raise ValueError(f"it has the shape {tuple(level.shape)}; save one plane of one channel")
    if page.compression in LOSSY:
        raise ValueError("it was compressed as JPEG, which changes ids; save it without loss")
    check_values(page.dtype)
    return level.pages[0]
