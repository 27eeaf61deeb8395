"""Ventana BIF: a BigTIFF of overlapping tiles, in areas that lie anywhere on the glass.

The layout is that of OpenSlide's description of the format
(https://openslide.org/formats/ventana/).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from .mirax import halved

Pixels = NDArray[np.uint8]

TILE = 128
OVERLAP = (6, 10)
"""``(y, x)`` in pixels that neighbouring tiles share."""

STEP = (TILE - OVERLAP[0], TILE - OVERLAP[1])
LEVELS = 3
MPP = 0.2325
XMP = 700

ISCAN = (
    '<?xml version="1.0"?><iScan AOIScanned="1" Magnification="40" ScanRes="{mpp}" '
    'UnitNumber="2000515" BuildVersion="3.3.1.1" SlideAnnotation="drawn"/>'
)
ENCODED = (
    '<?xml version="1.0"?><EncodeInfo Ver="2"><SlideInfo/><SlideStitchInfo>{areas}'
    "</SlideStitchInfo><AoiOrigin>{origins}</AoiOrigin></EncodeInfo>"
)
AREA = (
    '<ImageInfo AOIScanned="1" AOIIndex="{number}" NumRows="{rows}" NumCols="{cols}" '
    'Width="{tile}" Height="{tile}" Pos-X="{x}" Pos-Y="{y}">{joints}</ImageInfo>'
)
JOINT = (
    '<TileJointInfo FlagJoined="1" Confidence="98" Direction="{direction}" Tile1="{first}" '
    'Tile2="{second}" OverlapX="{x}" OverlapY="{y}"/>'
)


@dataclass(frozen=True)
class Area:
    """Tiles that were scanned together; ``(y, x)`` is their corner on the glass."""

    y: int
    x: int
    rows: int
    cols: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width on the glass."""
        return (self.rows - 1) * STEP[0] + TILE, (self.cols - 1) * STEP[1] + TILE


def write_bif(path: Path, glass: Pixels, areas: list[Area]) -> None:
    """Write what lies in `areas` of `glass`, ``(h, w, 3)`` uint8; one of them touches its top."""
    tiles = _tiles(glass, areas)
    encoded = _encoded(areas).encode()
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            np.ascontiguousarray(glass[::5, ::5]), rowsperstrip=16, photometric="rgb",
            description="Label_Image", metadata=None, software=False,
            extratags=[(XMP, 1, None, ISCAN.format(mpp=MPP).encode(), True)],
        )  # fmt: skip
        for level in range(LEVELS):
            file.write(
                tiles, tile=(TILE, TILE), photometric="rgb", compression="jpeg", software=False,
                compressionargs={"level": 95}, metadata=None, subfiletype=1 if level else 0,
                description=f"level={level} mag={40 / 2**level:g} quality=95",
                extratags=[] if level else [(XMP, 1, None, encoded, True)],
            )  # fmt: skip
            tiles = halved(tiles)


def _tiles(glass: Pixels, areas: list[Area]) -> Pixels:
    """Return all tiles side by side, the areas from left to right."""
    rows, cols = max(area.rows for area in areas), sum(area.cols for area in areas)
    tiles = np.full((rows * TILE, cols * TILE, 3), 255, np.uint8)
    for area, start in zip(areas, _starts(areas), strict=True):
        for row, col in np.ndindex(area.rows, area.cols):
            y, x = area.y + row * STEP[0], area.x + col * STEP[1]
            to = slice(row * TILE, (row + 1) * TILE), slice(start + col * TILE, None)
            tiles[to][:, :TILE] = glass[y : y + TILE, x : x + TILE]
    return tiles


def _starts(areas: list[Area]) -> list[int]:
    return [TILE * sum(area.cols for area in areas[:number]) for number in range(len(areas))]


def _encoded(areas: list[Area]) -> str:
    lowest = max(area.y + area.shape[0] for area in areas)
    infos, origins = [], []
    for number, (area, start) in enumerate(zip(areas, _starts(areas), strict=True)):
        above = lowest - area.y - area.shape[0]  # heights are counted from below
        infos.append(
            AREA.format(
                number=number, rows=area.rows, cols=area.cols, tile=TILE, x=area.x, y=above,
                joints="".join(_joints(area)),
            )
        )  # fmt: skip
        origins.append(f'<AOI{number} OriginX="{start}" OriginY="0"/>')
    return ENCODED.format(areas="".join(infos), origins="".join(origins))


def _joints(area: Area) -> Iterator[str]:
    for row, col in np.ndindex(area.rows, area.cols):
        here = _number(area, row, col)
        if col + 1 < area.cols:
            right = _number(area, row, col + 1)
            yield JOINT.format(direction="RIGHT", first=here, second=right, x=OVERLAP[1], y=0)
        if row:
            above = _number(area, row - 1, col)
            yield JOINT.format(direction="UP", first=here, second=above, x=0, y=OVERLAP[0])


def _number(area: Area, row: int, col: int) -> int:
    """Return a tile's number: from the lowest row up, every other row from right to left."""
    row = area.rows - 1 - row
    return row * area.cols + (area.cols - 1 - col if row % 2 else col) + 1
