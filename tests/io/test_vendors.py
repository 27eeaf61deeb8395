"""Slides that OpenSlide alone reads, written here as the scanners' programs do."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from napari_pathfm.core.slide import SlideError
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.reader import SlideReader, open_slide

from .vendors import hamamatsu, mirax, ventana
from .vendors.mirax import halved

Draw = Callable[..., np.ndarray]

PHOTOS = mirax.Photos(
    missing=((0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (2, 0), (3, 0), (3, 4))
)
"""The camera left out the top, the left and the lower right corner."""

AREAS = [ventana.Area(0, 100, 5, 4), ventana.Area(250, 700, 4, 5)]
BUFFER = "VIMSLIDE_POSITION_BUFFER"


@pytest.fixture(scope="module")
def glass(picture: Draw) -> np.ndarray:
    """What lies on the glass of the MIRAX slide."""
    return picture(*PHOTOS.size)


def scanned(glass: np.ndarray, photos: mirax.Photos) -> np.ndarray:
    """Return what a MIRAX slide shows: the scanned part, white where the camera was not."""
    shown = np.where(photos.scanned()[..., None], glass, 255)
    y, x, height, width = photos.bounds
    return shown[y : y + height, x : x + width]


def on_glass(glass: np.ndarray, areas: list[ventana.Area]) -> np.ndarray:
    """Return what a Ventana slide shows: its areas, white between them."""
    shown = np.full_like(glass, 255)
    for area in areas:
        part = slice(area.y, area.y + area.shape[0]), slice(area.x, area.x + area.shape[1])
        shown[part] = glass[part]
    return shown[: max(area.y + area.shape[0] for area in areas)]


def pyramid(image: np.ndarray, levels: int) -> Iterator[np.ndarray]:
    for _ in range(levels):
        yield image
        image = halved(image)


def loss(slide: SlideReader, level: int, expected: np.ndarray) -> np.ndarray:
    """Return how far the pixels of a level are from `expected`, ``(h, w)``."""
    height, width = slide.levels[level].shape
    assert abs(height - expected.shape[0]) <= 1
    assert abs(width - expected.shape[1]) <= 1
    expected = expected[:height, :width]
    read = slide.read(level, 0, 0, *expected.shape[:2]).astype(int)
    return np.abs(read - expected).max(-1)


def check_places(slide: SlideReader, expected: np.ndarray) -> None:
    """Compare random regions of level 0, of which many lie over an edge or a joint."""
    height, width, _ = expected.shape
    around = np.pad(expected, ((50, 50), (50, 50), (0, 0)), constant_values=255).astype(int)
    rng = np.random.default_rng(3)
    for y, x in zip(rng.integers(-50, height, 30), rng.integers(-50, width, 30), strict=True):
        read = slide.read(0, int(y), int(x), 50, 50)
        assert np.abs(read - around[y + 50 : y + 100, x + 50 : x + 100]).max() < 25


def check_walk(slide: SlideReader) -> None:
    """Walk over a grid and read each of its tiles, which are to be the same."""
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(96, None, overlap=0.25))
    walked = 0
    for numbers, tiles in slide.tiles(grid, batch=16):
        for number, tile in zip(numbers, tiles, strict=True):
            np.testing.assert_array_equal(tile, slide.tile(grid, int(number)))
            walked += 1
    assert walked == len(grid) > 50


@pytest.mark.parametrize("positions", [BUFFER, "StitchingIntensityLayer", None])
def test_mirax(glass: np.ndarray, tmp_path: Path, positions: str | None) -> None:
    path = tmp_path / "slide.mrxs"
    photos = PHOTOS if positions else replace(PHOTOS, shake=0)
    mirax.write_mirax(path, glass, photos, positions)
    with open_slide(path) as slide:
        assert slide.mpp == mirax.MPP
        assert slide.properties["openslide.vendor"] == "mirax"
        assert slide.properties["mirax.GENERAL.SLIDE_ID"] == mirax.SLIDE_ID
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        expected = scanned(glass, photos)
        for number, image in enumerate(pyramid(expected, mirax.LEVELS)):
            away = loss(slide, number, image)
            assert away.mean() < 4
            assert (away > 25).mean() < 1e-4  # half a pixel at the edge of what was scanned
        check_places(slide, expected)
        check_walk(slide)
        for name, image in mirax.scans(glass).items():
            assert np.abs(slide.associated(name).astype(int) - image).max() < 25


def test_coordinates_of_mirax_are_those_of_qupath(glass: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "slide.mrxs"
    mirax.write_mirax(path, glass, PHOTOS, BUFFER)
    other = openslide.OpenSlide(path)
    bounds = [int(other.properties[f"openslide.bounds-{k}"]) for k in ("y", "x", "height", "width")]
    assert tuple(bounds) == PHOTOS.bounds
    assert other.dimensions == PHOTOS.size[::-1]
    y, x, height, width = bounds
    with open_slide(path) as slide:
        assert slide.levels[0].shape == (height, width)
        theirs = other.read_region((x + 300, y + 200), 0, (100, 80)).convert("RGB")
        np.testing.assert_array_equal(slide.read(0, 200, 300, 80, 100), np.asarray(theirs))


def test_vms(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "slide.vms"
    whole = picture(1000, 1472)
    coarse = np.ascontiguousarray(whole[8 :: hamamatsu.MAP, 8 :: hamamatsu.MAP][:56, :80])
    hamamatsu.write_vms(path, (whole, coarse), [400, 400, 200], [832, 640])
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(hamamatsu.NANOMETRES / 1000)
        assert slide.properties["openslide.vendor"] == "hamamatsu"
        assert slide.properties["hamamatsu.NoJpegRows"] == "3"
        shapes = [level.shape for level in slide.levels]
        assert shapes[:5] == [(1000, 1472), (500, 736), (250, 368), (125, 184), (56, 80)]
        for number, image in enumerate(pyramid(whole, 4)):
            assert loss(slide, number, image).mean() < 6
        assert loss(slide, 4, coarse).mean() < 6
        check_places(slide, whole)
        check_walk(slide)
        macro = slide.associated("macro").astype(int)
        assert np.abs(macro - coarse[::-1]).mean() < 6


def test_bif(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "slide.bif"
    glass = picture(900, 1300)
    ventana.write_bif(path, glass, AREAS)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(ventana.MPP)
        assert slide.properties["openslide.vendor"] == "ventana"
        assert slide.properties["ventana.Magnification"] == "40"
        assert slide.associated_images == ("macro",)
        np.testing.assert_array_equal(slide.associated("macro"), glass[::5, ::5])
        expected = on_glass(glass, AREAS)
        for number, image in enumerate(pyramid(expected, ventana.LEVELS)):
            away = loss(slide, number, image)
            assert away.mean() < 4
            assert (away > 25).mean() < 0.01  # parts of a pixel where areas begin and end
        check_places(slide, expected)
        check_walk(slide)


def test_slides_are_told_apart_by_more_than_the_file_that_is_opened(
    picture: Draw, tmp_path: Path
) -> None:
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        whole = picture(400, 640, seed=number)
        coarse = np.ascontiguousarray(whole[::10, ::16])
        hamamatsu.write_vms(folder / "slide.vms", (whole, coarse), [400], [640])
        glass = picture(*PHOTOS.size, seed=number)
        mirax.write_mirax(folder / "slide.mrxs", glass, PHOTOS, BUFFER)
        shutil.copy(tmp_path / "0" / "slide.mrxs", folder / "slide.mrxs.copy")
        (folder / "slide.mrxs.copy").replace(folder / "slide.mrxs")
    for name in ("slide.vms", "slide.mrxs"):
        one, other = (tmp_path / number / name for number in "01")
        assert one.read_bytes() == other.read_bytes()
        with open_slide(one) as first, open_slide(other) as second:
            assert first.id != second.id
            assert (first.read(0, 0, 0, 200, 200) != second.read(0, 0, 0, 200, 200)).any()


@pytest.mark.parametrize("lost", ["Slidedat.ini", "Index.dat", "Data0001.dat"])
def test_mirax_without_one_of_its_files(glass: np.ndarray, tmp_path: Path, lost: str) -> None:
    path = tmp_path / "slide.mrxs"
    mirax.write_mirax(path, glass, PHOTOS, BUFFER)
    (tmp_path / "slide" / lost).unlink()
    words = {"Slidedat.ini": "no folder slide with a file Slidedat.ini beside it"}
    with pytest.raises(SlideError, match=words.get(lost, "kind mirax: copy it again, with all")):
        open_slide(path)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("DIGITIZER_HEIGHT = 96", "images claim to be 99999999 x 128 pixels large"),
        ("IMAGENUMBER_X = 10", "made of 799999992 images"),
        ("FILE_COUNT = 3", "its FILE_COUNT claims 99999999, of which not all are named"),
        ("HIER_0_COUNT = 3", "its HIER_0_COUNT claims 99999999, of which not all are named"),
        ("CameraImageDivisionsPerSide = 2", "its 8 x 10 images claim to be photos cut 99999999x"),
    ],
)
def test_mirax_that_claims_more_than_there_is_memory_for(
    glass: np.ndarray, tmp_path: Path, key: str, words: str
) -> None:
    path, facts = tmp_path / "slide.mrxs", tmp_path / "slide" / "Slidedat.ini"
    mirax.write_mirax(path, glass, PHOTOS, BUFFER)
    text = facts.read_text("utf-8")
    assert key in text
    facts.write_text(text.replace(key, f"{key.split()[0]} = 99999999"), "utf-8")
    with pytest.raises(SlideError, match=words):
        open_slide(path)


def test_mirax_whose_index_claims_a_record_of_no_size(glass: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "slide.mrxs"
    mirax.write_mirax(path, glass, PHOTOS, BUFFER)
    index = bytearray((tmp_path / "slide" / "Index.dat").read_bytes())
    record = index.rindex(struct.pack("<4i", 1, 0, 0, 0))
    struct.pack_into("<i", index, record + 20, -2)
    (tmp_path / "slide" / "Index.dat").write_bytes(index)
    with pytest.raises(SlideError, match="a record of its index claims -2 bytes"):
        open_slide(path)


@pytest.mark.parametrize("name", ["Index.dat", "Data0001.dat"])
def test_mirax_whose_files_have_names_that_no_file_has(
    glass: np.ndarray, tmp_path: Path, name: str
) -> None:
    path, facts = tmp_path / "slide.mrxs", tmp_path / "slide" / "Slidedat.ini"
    mirax.write_mirax(path, glass, PHOTOS, BUFFER)
    data = facts.read_bytes()
    assert name.encode() in data
    facts.write_bytes(data.replace(name.encode(), b"D\0\0"))
    with pytest.raises(SlideError, match="kind mirax: copy it again"):
        open_slide(path)


@pytest.mark.parametrize("positions", [BUFFER, "StitchingIntensityLayer"])
def test_mirax_whose_photos_claim_to_lie_far_away(
    glass: np.ndarray, tmp_path: Path, positions: str
) -> None:
    path = tmp_path / "slide.mrxs"
    claimed = {**PHOTOS.places, (1, 3): (200, -(2**31))}
    mirax.write_mirax(path, glass, PHOTOS, positions, claimed.values())
    with pytest.raises(SlideError, match="photos claim to lie far from the glass"):
        open_slide(path)


def test_a_damaged_image_of_mirax_is_an_error_there_only(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "slide.mrxs"
    glass = picture(*PHOTOS.size, seed=9)  # or the cache has it
    mirax.write_mirax(path, glass, PHOTOS, BUFFER)
    data = bytearray((tmp_path / "slide" / "Data0002.dat").read_bytes())
    first = data.index(b"\xff\xd8")
    data[first : first + 100] = bytes(100)
    (tmp_path / "slide" / "Data0002.dat").write_bytes(data)
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="level 0, y 0, x 0: OpenSlide cannot read there"):
            slide.read(0, 0, 0, 400, 400)
        assert slide.damage == {(0, 0, 0): slide.damage[0, 0, 0]}
        expected = scanned(glass, PHOTOS)[:400, 550:950]
        assert np.abs(slide.read(0, 0, 550, 400, 400).astype(int) - expected).max() < 25


def test_vms_without_one_of_its_files(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "slide.vms"
    whole = picture(200, 640)
    hamamatsu.write_vms(path, (whole, np.ascontiguousarray(whole[::5, ::8])), [200], [320, 320])
    (tmp_path / "slide(1,0).jpg").unlink()
    with pytest.raises(SlideError, match="kind hamamatsu: copy it again, with all files"):
        open_slide(path)


def test_a_bif_with_damaged_joints_is_not_shown_unjoined_nor_as_its_label(
    picture: Draw, tmp_path: Path
) -> None:
    path = tmp_path / "slide.bif"
    ventana.write_bif(path, picture(900, 1300), AREAS)
    data = path.read_bytes()
    assert b'Direction="RIGHT"' in data
    path.write_bytes(data.replace(b'Direction="RIGHT"', b'Direction="WRONG"', 1))
    with tifffile.TiffFile(path) as file:
        assert file.is_bif
    with pytest.raises(SlideError, match="kind ventana: copy it again"):
        open_slide(path)
