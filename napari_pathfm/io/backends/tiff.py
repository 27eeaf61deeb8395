"""What every backend that reads TIFF needs: is the file whole, and how is a segment decoded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...core.slide import RGB
from .base import BrokenSlideError
from .codecs import check_claim

Decode = Callable[[bytes, int, RGB | None], RGB]
"""``decode(data, index, out)`` of a segment."""

DECODED = {
    1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate",
    33005: "JPEG 2000", 34712: "JPEG 2000", 50000: "Zstandard", 50001: "WebP",
}  # fmt: skip
"""Compressions whose result cannot be larger than was asked for, or is checked before."""

ICC_PROFILE = 34675

BROKEN_CHAIN = ("corrupted tag list", "invalid offset to page", "invalid page offset")

MICROMETRES = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6}
SIZES = ("PhysicalSizeY", "PhysicalSizeX")

_log = logging.getLogger("tifffile")
_log.addHandler(logging.NullHandler())  # or it writes to stderr


class Complaints(logging.Handler):
    """Hears that tifffile leaves out pages that it cannot read: it only says so in its log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.broken = False
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of one line of the log."""
        if record.thread == self._thread:
            self.broken |= any(words in record.getMessage() for words in BROKEN_CHAIN)

    def __enter__(self) -> Complaints:
        _log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _log.removeHandler(self)


def check_complete(pages: Iterable[Any], complaints: Complaints, size: int) -> None:
    """Make sure that a file holds all that its pages say.

    Raises
    ------
    BrokenSlideError
        Pages, or segments of pages, lie beyond the end of its `size` bytes.
    """
    ends = [np.asarray(page.dataoffsets) + np.asarray(page.databytecounts) for page in pages]
    if complaints.broken:
        raise BrokenSlideError("its list of levels is cut off. Copy or download it again.")
    total = sum(len(each) for each in ends)
    missing = sum(int((each > size).sum()) for each in ends)
    if missing:
        raise BrokenSlideError(
            f"{missing} of {total} segments lie beyond its end: the file is cut off. "
            "Copy or download it again."
        )


def page_decoder(page: Any) -> Decode:
    """Return what decodes a segment of a tifffile page, ``(h, w, samples)``.

    Raises
    ------
    ValueError
        A codec that can be made to take any amount of memory would be needed.
    """
    if page.compression not in DECODED:
        raise ValueError(f"its pixels are compressed as {page.compression.name}")
    tables = {"jpegtables": page.jpegtables, "jpegheader": getattr(page, "jpegheader", None)}
    of_page = page.keyframe.decode  # now: it may look into the file, which is closed later

    def decode(data: bytes, index: int, out: RGB | None) -> RGB:
        check_claim(data)
        segment: RGB = of_page(data, index, **tables)[0][0]
        return segment

    return decode


def tiff_profile(page: Any) -> bytes | None:
    """Return the ICC profile of a tifffile page."""
    value = page.tags.valueof(ICC_PROFILE)
    return bytes(value) if isinstance(value, bytes | np.ndarray) else None


def tiff_mpp(page: Any) -> tuple[float | None, float | None]:
    """Return micrometres per pixel along y and x, ``None`` where neither OME nor tags say it."""
    if page.is_ome:
        return ome_mpp(page.description)
    if page.resolutionunit == 1:  # a ratio, not a size
        return None, None
    x, y = page.get_resolution("MICROMETER")
    return (1 / y, 1 / x) if x > 0 and y > 0 else (None, None)


def ome_mpp(xml: str) -> tuple[float | None, float | None]:
    """Return what the first image of an OME-XML says of the size of its pixels along y and x."""
    from xml.etree import ElementTree

    try:
        pixels = ElementTree.fromstring(xml).find(".//{*}Image/{*}Pixels")
    except ElementTree.ParseError:
        return None, None
    if pixels is None:
        return None, None
    y, x = (_micrometres(pixels.get(key), pixels.get(f"{key}Unit", "µm")) for key in SIZES)
    return y, x


def _micrometres(size: str | None, unit: str) -> float | None:
    try:
        return float(size or "") * MICROMETRES[unit]
    except (ValueError, KeyError):
        return None
