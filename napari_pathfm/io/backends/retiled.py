"""TIFFs in strips, in tiles of odd sizes or in planes, offered in segments of about 512 px.

A segment is cut out of the strips or tiles that it touches. Those are decoded one by one and kept
for its neighbours, so that nothing larger than one of them is ever held for one segment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.slide import RGB, Level, SlideError
from ..cache import SegmentCache
from ..regions import assemble
from .base import FILE_ERRORS, believable_mpp, make_levels, on_white, white
from .chain import check_chain
from .ranges import LocalFile
from .tiff import Complaints, Decode, check_complete, page_decoder, tiff_mpp, tiff_profile

SEGMENT = 512
BAND = 64
"""Rows of an image without compression that are read at once, however it was cut into strips."""

LARGEST_CHUNK = 32 * 1024**2
"""Pixels of a strip or tile; random access in larger ones costs seconds a segment."""

KEPT_BYTES = 256 * 1024**2
"""Of decoded strips and tiles of all slides: a row of segments, up to 174,000 px wide."""

JPEG = 7
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB_COLOURS, YCBCR = 0, 1, 2, 6
BROKEN_CODECS = (6, 33003, 33004)
"""Old-style JPEG and JPEG 2000 in YCbCr: OpenSlide or Pillow may read them."""

AXES = ("YX", "YXS", "SYX", "CYX")

_numbers = count()


@cache
def _kept() -> SegmentCache:
    return SegmentCache(KEPT_BYTES)


@dataclass(frozen=True, eq=False)
class _Plane:
    """The strips or tiles of one level that hold one, some or all of its colours."""

    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    decode: Decode
    first: int = 0


@dataclass(frozen=True, eq=False)
class _Stored:
    """One level as it is in the file; `chunks.tile_shape` is that of its strips or tiles."""

    chunks: Level
    planes: tuple[_Plane, ...]
    to_rgb: Callable[[NDArray[np.uint8]], RGB]


class RetiledBackend:
    """A TIFF of 8-bit RGB, RGBA or grey, however it is cut into pieces.

    Parameters
    ----------
    path : Path

    Raises
    ------
    SlideError
        It is no such TIFF, belongs to a scanner that OpenSlide knows better, or its pieces are
        too large for random access; the message says which.
    """

    name = "retiled"

    def __init__(self, path: Path) -> None:
        import tifffile

        self._path = self.content = path
        self._number = next(_numbers)
        _leave_to_openslide(path)
        try:
            self._file: LocalFile | None = LocalFile(path)
            check_chain(self._file)
            with Complaints() as complaints, tifffile.TiffFile(path) as tiff:
                series = tiff.series[0]
                self._stored = [_describe(level) for level in series.levels]
                check_complete(tiff.pages, complaints, self._file.size)
                page: Any = series.keyframe
                self.mpp = believable_mpp(*tiff_mpp(page))
                self.icc_profile = tiff_profile(page)
                self.properties: dict[str, str] = {
                    "tiff.ImageDescription": page.description,
                    "tiff.Software": page.software,
                    "tiff.Compression": str(page.compression.name),
                }
        except FILE_ERRORS as error:
            raise SlideError(f"tifffile cannot read it ({error})") from error
        sides = [tuple(map(_side, stored.chunks.tile_shape)) for stored in self._stored]
        self.levels = make_levels(
            [stored.chunks.shape for stored in self._stored], [(h, w) for h, w in sides]
        )
        self.associated_images: tuple[str, ...] = ()

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """See :meth:`Backend.segment`."""
        file, where = self._file, self.levels[level]
        if file is None:
            raise SlideError(f"{self._path.name} is closed")
        segment = white(where) if out is None else out
        (height, width), stored = where.tile_shape, self._stored[level]
        chunk = partial(self._chunk, file, level)
        assemble(segment, stored.chunks, row * height, col * width, chunk)
        return segment

    def _chunk(self, file: LocalFile, level: int, row: int, col: int) -> RGB:
        decode = partial(_decode, file, self._stored[level], row, col)
        return _kept().get((self._number, level, row, col), decode)

    def associated(self, name: str) -> RGB:
        """Raise ``KeyError``: there are none."""
        raise KeyError(name)

    def close(self) -> None:
        """See :meth:`Backend.close`; a thread that is just reading finishes first."""
        self._file = None


def _decode(file: LocalFile, stored: _Stored, row: int, col: int) -> RGB:
    """Decode a strip or tile, ``(h, w, 3)`` uint8; at the level's edge it may be smaller."""
    index = row * stored.chunks.segments[1] + col
    (height, width), (rows, cols) = stored.chunks.tile_shape, stored.chunks.shape
    height, width = min(height, rows - row * height), min(width, cols - col * width)
    parts = []
    try:
        for plane in stored.planes:
            size = int(plane.counts[index])
            if not size:  # a sparse file: nothing was scanned there
                return np.full((height, width, 3), 255, np.uint8)
            data = file.read(int(plane.offsets[index]), size)
            parts.append(plane.decode(data, plane.first + index, None)[:height, :width])
        whole = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
        if whole.shape[:2] != (height, width):
            raise ValueError(f"it decodes to {whole.shape}")
        return stored.to_rgb(whole)
    except FILE_ERRORS as error:
        raise SlideError(f"the strip or tile is damaged ({error})") from error


def _side(chunk: int) -> int:
    """Return the even side of segments, whole strips or tiles where those are small."""
    side = SEGMENT if chunk > SEGMENT else chunk * round(SEGMENT / chunk)
    return side + side % 2


def _leave_to_openslide(path: Path) -> None:
    import openslide

    try:
        vendor = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError as error:
        raise SlideError(f"OpenSlide finds it broken ({error})") from error
    if vendor not in (None, "generic-tiff"):
        raise SlideError(f"OpenSlide knows the slides of {vendor} better")


def _describe(level: Any) -> _Stored:
    page = level.keyframe
    samples = page.samplesperpixel * (len(level.pages) if level.axes == "CYX" else 1)
    if level.axes not in AXES or (level.axes == "CYX" and samples != 3):
        raise SlideError(f"its axes are {level.axes} of {level.shape}, not height, width, colour")
    if page.dtype != np.uint8 or page.bitspersample != 8:
        raise SlideError(f"its pixels are {page.dtype} of {page.bitspersample} bit, not 8-bit")
    if page.compression in BROKEN_CODECS:
        raise SlideError(f"its colours are compressed as {page.compression.name}")
    height, width = page.imagelength, page.imagewidth
    if not page.is_tiled and page.is_contiguous and page.predictor == 1 and page.fillorder == 1:
        chunk, planes = (BAND, width), tuple(_bands(level.pages, page))
    else:
        chunk = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
        planes = tuple(_planes(level.pages, page))
    chunk = min(chunk[0], height), chunk[1]
    if math.prod(chunk) > LARGEST_CHUNK:
        raise SlideError(
            f"it is stored in pieces of {chunk[0]} x {chunk[1]} pixels, and each has to be decoded "
            "as a whole: save it in tiles"
        )
    if not all(chunk) or any(len(plane.counts) != _count(height, width, chunk) for plane in planes):
        raise SlideError(f"its {height} x {width} pixels are not what its pieces hold")
    return _Stored(Level((height, width), 1.0, chunk), planes, _colours(page, samples))


def _count(height: int, width: int, chunk: tuple[int, int]) -> int:
    return -(-height // chunk[0]) * -(-width // chunk[1])


def _planes(pages: Any, page: Any) -> Iterator[_Plane]:
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    for each in pages:
        offsets, counts = (
            np.asarray(of, np.int64) for of in (each.dataoffsets, each.databytecounts)
        )
        size, decode = len(offsets) // planes, page_decoder(each)
        for first in range(0, size * planes, size):
            part = slice(first, first + size)
            yield _Plane(offsets[part], counts[part], decode, first)


def _bands(pages: Any, page: Any) -> Iterator[_Plane]:
    # Without compression any row can be read by itself.
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    samples = page.samplesperpixel // planes
    line = page.imagewidth * samples
    rows = np.arange(0, page.imagelength, BAND)
    heights = np.minimum(page.imagelength - rows, BAND)

    def decode(data: bytes, index: int, out: RGB | None) -> RGB:
        return np.frombuffer(data, np.uint8).reshape(-1, page.imagewidth, samples)

    for each in pages:
        for plane in range(planes):
            start = each.dataoffsets[0] + plane * line * page.imagelength
            yield _Plane(start + rows * line, heights * line, decode)


def _colours(page: Any, samples: int) -> Callable[[NDArray[np.uint8]], RGB]:
    """Return what turns ``(h, w, samples)`` into ``(h, w, 3)``."""
    colours, extra = page.photometric, page.extrasamples
    rgb = colours == RGB_COLOURS or (colours == YCBCR and page.compression == JPEG)
    grey = colours in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    if samples == 3 and not extra and (rgb or grey):
        return np.ascontiguousarray
    if samples == 4 and rgb and extra:
        return on_white
    if samples == 1 and grey:
        return _grey if colours == BLACK_IS_ZERO else _inverted
    raise SlideError(f"its colours are {samples} x {colours.name}, not RGB, RGBA or grey")


def _grey(pixels: NDArray[np.uint8]) -> RGB:
    return np.repeat(pixels, 3, axis=-1)


def _inverted(pixels: NDArray[np.uint8]) -> RGB:
    return np.repeat(255 - pixels, 3, axis=-1)
