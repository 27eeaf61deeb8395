"""Aperio SVS: a TIFF with a thumbnail after its first level, and label and macro at its end.

The layout is that of OpenSlide's description of the format
(https://openslide.org/formats/aperio/).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

TILE = 240
"""Pixels a side, as real files have it: no multiple of 16, nor what 512 can be divided by."""

MPP = 0.4991
JPEG, JPEG2000_YCBCR, JPEG2000_RGB = 7, 33003, 33005
ABOUT = "Aperio Image Library v11.2.1 \r\n"


def write_svs(path: Path, levels: list[Pixels], scans: dict[str, Pixels], compression: int) -> None:
    """Write a slide.

    Parameters
    ----------
    path : Path
    levels : list of ndarray
        ``(h, w, 3)`` uint8, from the finest to the coarsest.
    scans : dict of ndarray
        ``thumbnail``, ``label`` and ``macro``, ``(h, w, 3)`` uint8.
    compression : int
        Of the levels; one of this file's three.
    """
    height, width, _ = levels[0].shape
    whole = f"{ABOUT}{width}x{height} [0,0 {width}x{height}] ({TILE}x{TILE})"
    with tifffile.TiffWriter(path) as file:
        _write_level(file, levels[0], compression, f"{whole} Q=90|AppMag = 20|MPP = {MPP}")
        _write_scan(file, scans["thumbnail"], f"{ABOUT}{width}x{height} -> thumbnail", 0)
        for level in levels[1:]:
            h, w, _ = level.shape
            _write_level(file, level, compression, f"{whole} -> {w}x{h} Q=90")
        for kind, name in ((1, "label"), (9, "macro")):
            h, w, _ = scans[name].shape
            _write_scan(file, scans[name], f"{ABOUT}{name} {w}x{h}", kind)


def _write_level(file: Any, level: Pixels, compression: int, about: str) -> None:
    options: dict[str, Any] = {"compression": compression, "description": about}
    if compression == JPEG:
        file.write(level, **_common(), **options, compressionargs={"level": 92})
        return
    file.write(
        _tiles(level, compression), shape=level.shape, dtype=np.uint8, **_common(), **options
    )


def _common() -> dict[str, Any]:
    return {"tile": (TILE, TILE), "photometric": "rgb", "metadata": None, "software": False}


def _tiles(level: Pixels, compression: int) -> Iterator[bytes]:
    height, width, _ = level.shape
    padded = np.pad(level, ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            tile = np.ascontiguousarray(padded[y : y + TILE, x : x + TILE])
            if compression == JPEG2000_YCBCR:
                tile = np.asarray(Image.fromarray(tile).convert("YCbCr"))
            yield imagecodecs.jpeg2k_encode(tile, level=45, codecformat="j2k", mct=False)


def _write_scan(file: Any, image: Pixels, about: str, kind: int) -> None:
    file.write(
        image, photometric="rgb", rowsperstrip=16, compression="lzw", predictor=True,
        subfiletype=kind, description=about, metadata=None, software=False,
    )  # fmt: skip
