"""Leica files say which part of the glass was scanned; QuPath shows that part, and so do we."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.reader import open_slide

NANOMETRES = 500
"""Per pixel."""

SCANNED = {"x": 1000, "y": 3000, "width": 1536, "height": 1024}

IMAGE = """<image name="{name}" uuid="{name}"><device model="Leica SCN400" version="1"/>
<pixels sizeX="{width}" sizeY="{height}">{levels}</pixels>
<view sizeX="{view_width}" sizeY="{view_height}" offsetX="{x}" offsetY="{y}" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>{lens}</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.4</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"""

COLLECTION = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="drawn"
sizeX="{width}" sizeY="{height}"><barcode>eA==</barcode>{images}</collection></scn>"""


def write_leica(path: Path, levels: list[np.ndarray]) -> None:
    """Write a glass of 4096 x 8192 pixels, of which only :data:`SCANNED` was scanned."""
    height, width = 8192 * NANOMETRES, 4096 * NANOMETRES
    sizes = [(512, 256), *(level.shape[:2] for level in levels)]
    ifds = [
        f'<dimension sizeX="{w}" sizeY="{h}" r="{max(0, ifd - 1)}" ifd="{ifd}"/>'
        for ifd, (h, w) in enumerate(sizes)
    ]
    macro = IMAGE.format(
        name="macro", width=256, height=512, levels=ifds[0], view_width=width, view_height=height,
        x=0, y=0, lens=0.6,
    )  # fmt: skip
    scan = IMAGE.format(
        name="scan", width=SCANNED["width"], height=SCANNED["height"], levels="".join(ifds[1:]),
        view_width=SCANNED["width"] * NANOMETRES, view_height=SCANNED["height"] * NANOMETRES,
        x=SCANNED["x"] * NANOMETRES, y=SCANNED["y"] * NANOMETRES, lens=20,
    )  # fmt: skip
    about = COLLECTION.format(width=width, height=height, images=macro + scan)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for ifd, pixels in enumerate([np.full((512, 256, 3), 240, np.uint8), *levels]):
            file.write(
                pixels, tile=(256, 256), photometric="rgb", compression="jpeg", metadata=None,
                compressionargs={"level": 95}, description=None if ifd else about, software=False,
            )  # fmt: skip


def test_the_corner_of_what_was_scanned_is_the_origin(
    picture: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "slide.scn"
    levels = [picture(1024, 1536), picture(256, 384)]
    write_leica(path, levels)
    other = openslide.OpenSlide(path)
    assert other.dimensions == (4096, 8192)
    for key, value in SCANNED.items():
        assert other.properties[f"openslide.bounds-{key}"] == str(value)
    with open_slide(path) as slide:
        assert [level.shape for level in slide.levels[:2]] == [(1024, 1536), (256, 384)]
        assert slide.levels[1].downsample == pytest.approx(4)
        for number, pixels in enumerate(levels):
            read = slide.read(number, 0, 0, *pixels.shape[:2]).astype(int)
            assert np.abs(read - pixels).mean() < 3
        assert (slide.read(0, 1024, 0, 50, 50) == 255).all()
        theirs = other.read_region((1700, 3800), 0, (100, 80)).convert("RGB")
        np.testing.assert_array_equal(slide.read(0, 800, 700, 80, 100), np.asarray(theirs))


def test_tiles_that_nobody_has_memory_for_are_refused(
    picture: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "slide.scn"
    write_leica(path, [picture(1024, 1536)])
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag in ("TileWidth", "TileLength"):
            file.pages[1].tags[tag].overwrite(65_520)
    with pytest.raises(SlideError, match="65520 x 65520"):
        open_slide(path)
