"""Families of TIFF, written here as their programs do, against tifffile and OpenSlide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile

from napari_pathfm.io.reader import open_slide

from .vendors import aperio
from .vendors.hamamatsu import restart_places, with_restart_markers

Draw = Callable[..., np.ndarray]

OME: dict[str, tuple[str, dict[str, Any]]] = {
    "contiguous": ("YXS", {"photometric": "rgb"}),
    "planar": ("SYX", {"photometric": "rgb", "planarconfig": "separate"}),
    "a page a channel": ("CYX", {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("compression", ["deflate", "jpeg2000"])
@pytest.mark.parametrize("layout", OME)
@pytest.mark.parametrize("bigtiff", [False, True])
def test_ome_pyramids_in_sub_ifds(
    picture: Draw, tmp_path: Path, layout: str, bigtiff: bool, compression: str
) -> None:
    path = tmp_path / "slide.ome.tif"
    axes, how = OME[layout]
    size = {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}
    size |= {"PhysicalSizeY": 0.25, "PhysicalSizeYUnit": "µm"}
    levels = [picture(1000 // step, 1300 // step) for step in (1, 2, 4)]
    with tifffile.TiffWriter(path, ome=True, bigtiff=bigtiff) as file:
        for number, level in enumerate(levels):
            file.write(
                level if axes == "YXS" else np.moveaxis(level, -1, 0),
                tile=(256, 256), compression=compression, subfiletype=1 if number else 0,
                subifds=0 if number else 2, metadata={"axes": axes, **size}, **how,
            )  # fmt: skip
    with open_slide(path) as slide, tifffile.TiffFile(path) as file:
        assert [level.downsample for level in slide.levels] == pytest.approx([1, 2, 4], rel=0.01)
        assert slide.mpp == pytest.approx(0.25)
        for number, level in enumerate(file.series[0].levels):
            stored = level.asarray() if axes == "YXS" else np.moveaxis(level.asarray(), 0, -1)
            np.testing.assert_array_equal(slide.read(number, 0, 0, *stored.shape[:2]), stored)


PHILIPS = """<?xml version="1.0" encoding="UTF-8" ?>
<DataObject ObjectType="DPUfsImport">
  <Attribute Name="DICOM_MANUFACTURER" Group="0x0008" Element="0x0070" PMSVR="IString">PHILIPS</Attribute>
  <Attribute Name="PIM_DP_SCANNED_IMAGES" Group="0x301D" Element="0x1003" PMSVR="IDataObjectArray">
    <Array><DataObject ObjectType="DPScannedImage">
      <Attribute Name="PIM_DP_IMAGE_TYPE" Group="0x301D" Element="0x1004" PMSVR="IString">WSI</Attribute>
      <Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">"0.000226" "0.000226"</Attribute>
      <Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE" Group="0x1001" Element="0x8B01" PMSVR="IDataObjectArray">
        <Array>{levels}</Array>
      </Attribute>
    </DataObject></Array>
  </Attribute>
</DataObject>"""  # noqa: E501

PHILIPS_LEVEL = (
    '<DataObject ObjectType="PixelDataRepresentation">'
    '<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" Element="0x0030" PMSVR="IDoubleArray">'
    "&quot;{mm}&quot; &quot;{mm}&quot;</Attribute>"
    '<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_NUMBER" Group="0x1001" Element="0x8B02" '
    'PMSVR="IUInt16">{number}</Attribute></DataObject>'
)


def test_philips_levels_without_their_padding(picture: Draw, tmp_path: Path) -> None:
    path, tile = tmp_path / "slide.tiff", 512
    levels = [PHILIPS_LEVEL.format(mm=0.000226 * 2**number, number=number) for number in range(3)]
    whole = picture(5 * tile, 7 * tile)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number in range(3):
            image = whole[:: 2**number, :: 2**number]
            padding = [(0, -side % tile) for side in image.shape[:2]]
            file.write(
                np.pad(image, [*padding, (0, 0)]),
                tile=(tile, tile), photometric="rgb", compression="jpeg", metadata=None,
                compressionargs={"level": 95}, subfiletype=1 if number else 0,
                description=f"level={number}" if number else PHILIPS.format(levels="".join(levels)),
                software="Philips DP v1.0",
            )  # fmt: skip
    other = openslide.OpenSlide(path)
    assert other.properties["openslide.vendor"] == "philips"
    with open_slide(path) as slide:
        stored = [(w, h) for h, w in (level.shape for level in slide.levels)]
        assert tuple(stored) == other.level_dimensions
        assert stored == [(3584, 2560), (1792, 1280), (896, 640)]
        assert slide.mpp == pytest.approx(0.226)
        assert slide.mpp == pytest.approx(float(other.properties["openslide.mpp-x"]))
        for level, (width, height) in enumerate(other.level_dimensions):
            theirs = np.asarray(other.read_region((0, 0), level, (width, height)).convert("RGB"))
            ours = slide.read(level, 0, 0, height, width).astype(int)
            assert np.abs(ours - theirs).max() <= 2


APERIO = {"JPEG": aperio.JPEG, "YCbCr": aperio.JPEG2000_YCBCR, "RGB": aperio.JPEG2000_RGB}


@pytest.mark.parametrize("compression", APERIO)
def test_aperio_as_jpeg_and_as_jpeg_2000(picture: Draw, tmp_path: Path, compression: str) -> None:
    path = tmp_path / "slide.svs"
    levels = [picture(1000, 1300), picture(250, 325)]
    scans = {
        "thumbnail": picture(200, 260, seed=1),
        "label": picture(100, 80, seed=2),
        "macro": picture(90, 240, seed=3),
    }
    aperio.write_svs(path, levels, scans, APERIO[compression])
    other = openslide.OpenSlide(path)
    assert other.properties["openslide.vendor"] == "aperio"
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(aperio.MPP)
        assert slide.properties["aperio.AppMag"] == "20"
        assert [level.shape for level in slide.levels] == [(1000, 1300), (250, 325)]
        for number, drawn in enumerate(levels):
            height, width, _ = drawn.shape
            theirs = other.read_region((0, 0), number, (width, height)).convert("RGB")
            ours = slide.read(number, 0, 0, height, width).astype(int)
            assert np.abs(ours - np.asarray(theirs)).max() <= 2
            assert np.abs(ours - drawn).mean() < 4
        assert set(slide.associated_images) == set(scans)
        for name, scan in scans.items():
            np.testing.assert_array_equal(slide.associated(name), scan)


@pytest.mark.real
def test_aperio_jpeg_2000_against_openslide(material: Path) -> None:
    (path,) = (material / "slides").glob("TCGA-*.svs")
    other = openslide.OpenSlide(path)
    with open_slide(path) as slide:
        width, height = other.level_dimensions[0]
        y, x = height // 2, width // 2
        theirs = np.asarray(other.read_region((x, y), 0, (700, 600)).convert("RGB"))
        assert np.abs(slide.read(0, y, x, 600, 700).astype(int) - theirs).max() <= 2


def test_hamamatsu_levels_of_one_jpeg_with_restart_markers(tmp_path: Path) -> None:
    path = tmp_path / "slide.ndpi"
    blocks = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    image = np.repeat(np.repeat(blocks, 16, axis=0), 16, axis=1)
    write_ndpi(path, image)
    other = openslide.OpenSlide(path)
    assert other.properties["openslide.vendor"] == "hamamatsu"
    with open_slide(path) as slide:
        assert tuple(level.shape[::-1] for level in slide.levels) == other.level_dimensions
        assert slide.mpp == pytest.approx(0.5)
        assert np.abs(slide.read(0, 0, 0, 1024, 1280).astype(int) - image).max() <= 2
        assert np.abs(slide.read(1, 0, 0, 512, 640).astype(int) - image[::2, ::2]).max() <= 2


def write_ndpi(path: Path, image: np.ndarray) -> None:
    """Write two levels as Hamamatsu does: each one JPEG, with the places of its restart markers."""
    with tifffile.TiffWriter(path) as file:
        for lens, pixels in ((20.0, image), (10.0, image[::2, ::2])):
            jpeg = with_restart_markers(pixels)
            places = restart_places(jpeg)
            tags = [
                (271, "s", 0, "Hamamatsu", True),
                (272, "s", 0, "NanoZoomer", True),
                (65420, "I", 1, 1, True),
                (65421, "f", 1, lens, True),
                (65424, "i", 1, 0, True),
                (65426, "I", len(places), places, True),
            ]
            file.write(
                iter([jpeg]), shape=pixels.shape, dtype=np.uint8, compression="jpeg",
                rowsperstrip=len(pixels), photometric="rgb", metadata=None, extratags=tags,
                resolution=(1000 * lens, 1000 * lens), resolutionunit="CENTIMETER",
            )  # fmt: skip
