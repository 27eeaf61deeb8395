"""Hamamatsu VMS: an ini file beside JPEGs whose restart markers make tiles of them.

The layout is that of OpenSlide's description of the format
(https://openslide.org/formats/hamamatsu/).
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

MCUS = 8
"""Blocks of 8 x 8 pixels between two restart markers: a tile is 64 x 8 pixels."""

MAP = 16
"""How much coarser the map is than the slide."""

NANOMETRES = 460
"""A pixel."""

SPECIMEN = """[Virtual Microscope Specimen]
NoLayers=1
NoJpegColumns={columns}
NoJpegRows={rows}
{images}
MapFile={stem}_map2.jpg
OptimisationFile={stem}.opt
MacroImage={stem}_macro.jpg
PhysicalWidth={width}
PhysicalHeight={height}
LayerSpacing=0
SourceLens=20
AuthCode=
"""


def write_vms(path: Path, levels: tuple[Pixels, Pixels], rows: list[int], cols: list[int]) -> None:
    """Write `path` (.vms) and its files.

    Parameters
    ----------
    path : Path
    levels : tuple of ndarray
        The slide and its map, each ``(h, w, 3)`` uint8.
    rows, cols : list of int
        Heights and widths of the JPEGs that the slide is cut into: whole tiles, all but the last
        alike.
    """
    slide, coarse = levels
    names, starts = [], b""
    tops, lefts = np.cumsum([0, *rows]), np.cumsum([0, *cols])
    for row, col in np.ndindex(len(rows), len(cols)):
        part = slide[tops[row] : tops[row + 1], lefts[col] : lefts[col + 1]]
        where = f"({col},{row})" if row or col else ""
        names.append(f"ImageFile{where}={path.stem}{where}.jpg")
        jpeg = with_restart_markers(part, MCUS)
        (path.parent / f"{path.stem}{where}.jpg").write_bytes(jpeg)
        places = restart_places(jpeg)[:: part.shape[1] // (8 * MCUS)]
        starts += b"".join(struct.pack("<q32x", place) for place in places)
    path.with_suffix(".opt").write_bytes(starts)
    path.with_name(f"{path.stem}_map2.jpg").write_bytes(with_restart_markers(coarse, 5))
    path.with_name(f"{path.stem}_macro.jpg").write_bytes(with_restart_markers(coarse[::-1], 5))
    path.write_text(
        SPECIMEN.format(
            columns=len(cols), rows=len(rows), images="\n".join(names), stem=path.stem,
            width=slide.shape[1] * NANOMETRES, height=slide.shape[0] * NANOMETRES,
        )
    )  # fmt: skip


def with_restart_markers(pixels: Pixels, mcus: int = 10) -> bytes:
    """Return a JPEG with a restart marker after every `mcus` blocks of 8 x 8 pixels."""
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(file, "JPEG", quality=92, subsampling=0, restart_marker_blocks=mcus)
    return file.getvalue()


def restart_places(jpeg: bytes) -> list[int]:
    """Return where each run of blocks begins: after the header, and after each marker."""
    scan = jpeg.index(b"\xff\xda") + 2
    first = scan + int.from_bytes(jpeg[scan : scan + 2], "big")
    return [first] + [
        place + 2
        for place in range(first, len(jpeg) - 1)
        if jpeg[place] == 0xFF and 0xD0 <= jpeg[place + 1] <= 0xD7
    ]
