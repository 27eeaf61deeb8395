"""Plain images (PNG, JPEG, palettes), held in memory."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ...core.slide import RGB, SlideError
from .base import FILE_ERRORS, make_levels, white

SEGMENT = 512
LARGEST = 64_000_000
"""Pixels; a larger image belongs into a tiled file (decoding takes up to 14 bytes a pixel)."""


class PlainBackend:
    """An ordinary image file as a slide of one level, without mpp.

    Parameters
    ----------
    path : Path

    Raises
    ------
    SlideError
        It is no image, no colour image of 8 bit, or too large to be held in memory.
    """

    name = "plain"

    def __init__(self, path: Path) -> None:
        from PIL import Image

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of bombs and damaged tags; errors are ours
                with Image.open(path) as image:
                    if image.width * image.height > LARGEST:
                        raise SlideError("it is too large for a plain image; save it in tiles")
                    if image.mode not in ("RGB", "RGBA", "P", "L", "CMYK"):
                        raise SlideError(f"its pixels are {image.mode}; only 8-bit colour is read")
                    self._pixels: RGB | None = np.asarray(image.convert("RGB"))
                    self.icc_profile: bytes | None = image.info.get("icc_profile")
                    self.properties = {"plain.format": str(image.format)}
        except (Image.DecompressionBombError, MemoryError, *FILE_ERRORS) as error:
            raise SlideError(f"it is no plain image either ({error})") from error
        height, width = self._pixels.shape[:2]
        self._name, self.content = path.name, path
        self.levels = make_levels([(height, width)], [(SEGMENT, SEGMENT)])
        self.mpp: float | None = None
        self.associated_images: tuple[str, ...] = ()

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """See :meth:`Backend.segment`."""
        pixels = self._pixels
        if pixels is None:
            raise SlideError(f"{self._name} is closed")
        y, x = row * SEGMENT, col * SEGMENT
        part = pixels[y : y + SEGMENT, x : x + SEGMENT]
        segment = white(self.levels[level])
        segment[: part.shape[0], : part.shape[1]] = part
        return segment

    def associated(self, name: str) -> RGB:
        """Raise ``KeyError``: there are none."""
        raise KeyError(name)

    def close(self) -> None:
        """See :meth:`Backend.close`."""
        self._pixels = None
