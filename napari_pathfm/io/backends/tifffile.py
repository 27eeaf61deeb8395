"""Tiled TIFF families (Aperio, generic pyramids, ...): tiffslide's facts, tifffile's decoders.

tiffslide says what the levels are; the compressed segments are then read by offset and decoded
one by one, which releases the GIL and needs neither its zarr store nor its locks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.slide import RGB, SlideError
from .base import (
    FILE_ERRORS,
    believable_mpp,
    check_associated,
    make_levels,
    white,
    white_outside,
)
from .chain import check_chain
from .codecs import check_claim
from .ranges import LocalFile, open_ranges
from .remote import RemoteFile, network_errors, storage_options
from .tiff import Complaints, Decode, check_complete, ome_mpp, page_decoder, tiff_profile

RGB_PHOTOMETRIC, YCBCR_PHOTOMETRIC = 2, 6
JPEG = 7
UNSUPPORTED = {6: "old-style JPEG", 33003: "JPEG 2000 in YCbCr", 33004: "JPEG 2000 of Aperio"}
"""Compressions that tifffile decodes wrongly or not at all; OpenSlide reads some of them."""

SEGMENT_SIDES = range(64, 4097, 2)
"""Segments of other sides (strips, one-piece levels) would make random access slow."""


@dataclass(frozen=True, eq=False)
class _Page:
    """What is needed to find and decode the segments of one level."""

    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    decode: Decode


class TifffileBackend:
    """A tiled 8-bit RGB TIFF whose segments are decoded by tifffile and imagecodecs.

    Parameters
    ----------
    path : Path

    Raises
    ------
    SlideError
        The file is no such TIFF; the message says why.
    """

    name = "tifffile"

    def __init__(self, path: Path) -> None:
        self._path = self.content = path
        try:
            self._file: LocalFile | RemoteFile | None = open_ranges(path)
            check_chain(self._file)
            with network_errors(path), Complaints() as complaints, self._tiffslide() as slide:
                _check_joints(slide.ts_tifffile)
                facts = dict(slide.properties)
                pages = _level_pages(slide, facts)
                self._pages = [_describe(page) for page in pages]
                self.icc_profile = tiff_profile(pages[0].keyframe)
                check_complete(slide.ts_tifffile.pages, complaints, self._file.size)
                self.associated_images = tuple(slide.associated_images)
        except FILE_ERRORS as error:
            raise SlideError(f"tiffslide cannot read it ({error})") from error
        self.levels = make_levels(
            [page.shape[:2] for page in pages],
            [(page.tilelength, page.tilewidth) for page in pages],
        )
        self.mpp = believable_mpp(
            facts.get("tiffslide.mpp-y"), facts.get("tiffslide.mpp-x")
        ) or believable_mpp(*ome_mpp(str(facts.get("tiff.ImageDescription"))))
        self.properties = {k: str(v) for k, v in facts.items() if v is not None}

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """See :meth:`Backend.segment`."""
        file, page, where = self._file, self._pages[level], self.levels[level]
        if file is None:
            raise SlideError(f"{self._path.name} is closed")
        index = row * where.segments[1] + col
        count = int(page.counts[index])
        if not count:  # a sparse file: nothing was scanned there
            return white(where)
        try:
            data = file.read(int(page.offsets[index]), count)
            decoded = page.decode(data, index, out)
            if decoded.shape != (*where.tile_shape, 3):
                raise ValueError(f"it decodes to {decoded.shape}")
        except FILE_ERRORS as error:
            raise SlideError(f"the segment is damaged ({error})") from error
        return white_outside(decoded, where, row, col)

    def associated(self, name: str) -> RGB:
        """See :meth:`Backend.associated`."""
        try:
            with network_errors(self._path), self._tiffslide() as slide:
                if name not in self.associated_images:  # asking tiffslide would decode it
                    raise KeyError(name)
                return self._associated(slide.associated_images, name)
        except KeyError:
            raise
        except FILE_ERRORS as error:
            raise SlideError(f"{self._path.name}: its {name} image is damaged ({error})") from error

    def _associated(self, images: Any, name: str) -> RGB:
        # tifffile decodes whatever its pieces claim to be.
        series = images.series_map[name]
        check_associated(name, *series.shape)
        for page in series.pages:
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                if self._file is not None:
                    check_claim(self._file.read(offset, count))
        return np.asarray(images[name].convert("RGB"))

    def close(self) -> None:
        """See :meth:`Backend.close`; a thread that is just reading finishes first."""
        self._file = None

    def _tiffslide(self) -> Any:
        import tiffslide

        return tiffslide.TiffSlide(self._path, storage_options=storage_options(self._path))


def _check_joints(tiff: Any) -> None:
    if tiff.is_bif or tiff.pages[0].software.startswith("MedScan"):
        raise SlideError("its tiles overlap (Ventana, Trestle), and only OpenSlide joins them")


def _level_pages(slide: Any, facts: dict[str, Any]) -> list[Any]:
    if facts.pop("tiffslide.series-composition", None) is not None:
        raise SlideError("it is composed of several scans")
    if facts["tiffslide.series-axes"] != "YXS":
        raise SlideError(f"its axes are {facts['tiffslide.series-axes']}, not height, width, RGB")
    pages = [
        level.pages[0] for level in slide.ts_tifffile.series[facts["tiffslide.series-index"]].levels
    ]
    for page in pages:
        _check(page.keyframe)
    return pages


def _check(page: Any) -> None:
    if not page.is_tiled:
        raise SlideError("it is stored in strips, not in tiles")
    if page.dtype != np.uint8 or page.samplesperpixel != 3 or page.planarconfig != 1:
        raise SlideError(
            f"its pixels are {page.samplesperpixel} x {page.dtype}; only 8-bit RGB is read"
        )
    if page.tilelength not in SEGMENT_SIDES or page.tilewidth not in SEGMENT_SIDES:
        raise SlideError(f"its tiles of {page.tilelength} x {page.tilewidth} are of an odd size")
    rows, cols = -(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth)
    if rows * cols > min(len(page.dataoffsets), len(page.databytecounts)):
        raise SlideError(f"it lacks some of its {rows} x {cols} tiles")
    known = page.photometric == RGB_PHOTOMETRIC or (
        page.photometric == YCBCR_PHOTOMETRIC and page.compression == JPEG
    )
    if not known or page.compression in UNSUPPORTED:
        how = UNSUPPORTED.get(page.compression, page.compression.name)
        raise SlideError(f"its colours are {page.photometric.name} compressed as {how}")


def _describe(page: Any) -> _Page:
    offsets = np.asarray(page.dataoffsets, np.int64)
    plain_jpeg = page.compression == JPEG and page.jpegheader is None
    decode = _jpeg_decoder(page) if plain_jpeg else page_decoder(page)
    return _Page(offsets, np.asarray(page.databytecounts, np.int64), decode)


def _jpeg_decoder(page: Any) -> Decode:
    # As tifffile does it, but into memory that is there: fresh memory costs as much as decoding.
    import imagecodecs

    tables = page.jpegtables
    colours = "RGB" if page.photometric == RGB_PHOTOMETRIC else "YCBCR"

    def decode(data: bytes, index: int, out: RGB | None) -> RGB:
        check_claim(data)
        segment: RGB = imagecodecs.jpeg8_decode(
            data, tables=tables, colorspace=colours, outcolorspace="RGB", out=out
        )
        return segment

    return decode
