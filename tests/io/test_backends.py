from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
import tiffslide
from PIL import Image

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.backends import BACKENDS, open_backend
from napari_pathfm.io.backends.base import Backend, believable_mpp, make_levels
from napari_pathfm.io.backends.openslide import OpenSlideBackend
from napari_pathfm.io.backends.plain import PlainBackend
from napari_pathfm.io.backends.pyramid import PyramidBackend, halve
from napari_pathfm.io.backends.tifffile import TifffileBackend
from napari_pathfm.io.reader import open_slide

Draw = Callable[..., np.ndarray]
Write = Callable[..., list[np.ndarray]]

REAL = [
    "CMU-1-Small-Region.svs",
    "TCGA-CR-7395-01A-01-TS1.svs",
    "esophagus_37950x14201.tif",
]


def whole(backend: Backend, level: int) -> np.ndarray:
    facts = backend.levels[level]
    rows, cols = facts.segments
    lines = [np.hstack([backend.segment(level, r, c) for c in range(cols)]) for r in range(rows)]
    return np.vstack(lines)


def test_levels_have_the_mean_of_both_ratios_as_downsample() -> None:
    levels = make_levels([(1000, 1500), (499, 749)], [(128, 128)] * 2)
    assert levels[0].downsample == 1
    assert levels[1].downsample == (1000 / 499 + 1500 / 749) / 2
    assert levels[1].segments == (4, 6)


@pytest.mark.parametrize("compression", ["jpeg", None, "deflate", "jpeg2000"])
def test_tifffile_segments_are_the_pixels_of_the_file(
    write_slide: Write, tmp_path: Path, compression: str
) -> None:
    path = tmp_path / "slide.tif"
    drawn = write_slide(path, compression=compression)
    backend = TifffileBackend(path)
    assert [level.shape for level in backend.levels] == [level.shape[:2] for level in drawn]
    assert backend.mpp == pytest.approx(0.5)
    with tifffile.TiffFile(path) as file:
        stored = [level.asarray() for level in file.series[0].levels]
    for number, pixels in enumerate(stored):
        read = whole(backend, number)
        height, width = pixels.shape[:2]
        np.testing.assert_array_equal(read[:height, :width], pixels)
        assert (read[height:] == 255).all()
        assert (read[:, width:] == 255).all()
        assert np.abs(read[:height, :width].astype(int) - drawn[number]).mean() < 4


def test_openslide_reads_the_same_pixels(write_slide: Write, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((1000, 1500),), tile=256)
    ours, theirs = TifffileBackend(path), OpenSlideBackend(path)
    a, b = whole(ours, 0)[:1000, :1500], whole(theirs, 0)[:1000, :1500]
    # Two builds of libjpeg may round the colour conversion differently.
    assert np.abs(a.astype(int) - b).max() <= 2
    assert (whole(theirs, 0)[1000:] == 255).all()


def test_sparse_segments_are_white(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    tiles = [picture(128, 128), None, None, picture(128, 128)]
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter(tiles), shape=(256, 256, 3), dtype=np.uint8, tile=(128, 128), photometric="rgb",
            compression="deflate",
        )  # fmt: skip
    backend = TifffileBackend(path)
    assert (backend.segment(0, 0, 1) == 255).all()
    np.testing.assert_array_equal(backend.segment(0, 1, 1), tiles[3])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 0.5), 0.5),
        (("0.25", 0.27), 0.26),
        ((None, None), None),
        ((0.5, None), None),
        ((352.8, 352.8), None),  # 72 dpi
        ((264.6, 264.6), None),  # 96 dpi
        ((0.0, 0.0), None),
        ((float("nan"), 1), None),
        (("", ""), None),
        ((), None),
    ],
)
def test_nonsense_is_no_mpp(values: tuple[object, ...], expected: float | None) -> None:
    found = believable_mpp(*values)
    assert found == (None if expected is None else pytest.approx(expected))


def test_pyramid_adds_levels_of_exactly_twice_the_downsample(
    write_slide: Write, tmp_path: Path
) -> None:
    path = tmp_path / "flat.tif"
    write_slide(path, shapes=((2101, 3003),), compression="deflate")
    stored = TifffileBackend(path)
    asked: list[tuple[int, int, int]] = []

    def segment(level: int, row: int, col: int, stop: object) -> np.ndarray:
        asked.append((level, row, col))
        return pyramid.segment(level, row, col, stop=stop)

    pyramid = PyramidBackend(stored, segment)
    assert [level.shape for level in pyramid.levels] == [(2101, 3003), (1050, 1501), (525, 750)]
    assert [level.downsample for level in pyramid.levels] == [1, 2, 4]
    full = whole(pyramid, 0)[:2100, :3002]
    asked.clear()
    half = whole(pyramid, 1)[:1050, :1501]
    np.testing.assert_array_equal(half, halve(full))
    assert len(asked) == len(set(asked))  # nothing twice
    np.testing.assert_array_equal(whole(pyramid, 2)[:525, :750], halve(half[:, :1500]))


def test_a_small_slide_needs_no_levels(write_slide: Write, tmp_path: Path) -> None:
    path = tmp_path / "small.tif"
    write_slide(path, shapes=((500, 1024),))
    with open_slide(path) as slide:
        assert len(slide.levels) == 1


def test_halve_rounds_to_nearest() -> None:
    image = np.array([[0, 1, 255, 255], [1, 0, 255, 254]], np.uint8)
    halved = halve(np.repeat(image[..., None], 3, axis=2))
    assert halved[..., 0].tolist() == [[1, 255]]


def test_plain_images_are_held_in_memory(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    pixels = picture(700, 600)
    Image.fromarray(pixels).save(path)
    backend = open_backend(path)
    assert isinstance(backend, PlainBackend)
    np.testing.assert_array_equal(whole(backend, 0)[:700, :600], pixels)
    assert backend.mpp is None
    backend.close()
    with pytest.raises(SlideError, match="closed"):
        backend.segment(0, 0, 0)


@pytest.mark.parametrize(
    ("name", "options", "away"),
    [
        ("image.png", {}, 0),
        ("image.jpg", {"quality": 95, "subsampling": 0}, 16),
        ("image.tif", {}, 0),
        ("packed.tif", {"compression": "tiff_lzw"}, 0),
        ("image.bmp", {}, 0),
    ],
)
def test_ordinary_images_open(
    picture: Draw, tmp_path: Path, name: str, options: dict[str, object], away: int
) -> None:
    pixels = picture(300, 200)
    Image.fromarray(pixels).save(tmp_path / name, **options)
    with open_slide(tmp_path / name) as slide:
        assert [level.shape for level in slide.levels] == [(300, 200)]
        assert slide.mpp is None
        assert np.abs(slide.read(0, 0, 0, 300, 200).astype(int) - pixels).max() <= away


def test_palettes_and_grey_open(picture: Draw, tmp_path: Path) -> None:
    image = Image.fromarray(picture(300, 200))
    for mode in ("P", "L"):
        path = tmp_path / f"{mode}.png"
        image.convert(mode).save(path)
        with open_slide(path) as slide:
            shown = np.asarray(image.convert(mode).convert("RGB"))
            np.testing.assert_array_equal(slide.read(0, 0, 0, 300, 200), shown)


def test_files_that_are_no_slides(tmp_path: Path) -> None:
    text = tmp_path / "notes.svs"
    text.write_text("not a slide\n" * 100)
    with pytest.raises(SlideError, match=r"notes.svs is not a slide.*tifffile.*openslide.*plain"):
        open_backend(text)
    with pytest.raises(SlideError, match="folder"):
        open_backend(tmp_path)
    with pytest.raises(SlideError, match="no file"):
        open_backend(tmp_path / "absent.svs")
    (tmp_path / "empty.svs").touch()
    with pytest.raises(SlideError, match="empty"):
        open_backend(tmp_path / "empty.svs")
    with pytest.raises(SlideError, match="choose one of tifffile, dicom, retiled, openslide,"):
        open_backend(text, "bioformats")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kept", [0.0001, 0.02, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off(write_slide: Write, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "whole.tif"
    write_slide(path)
    data = path.read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SlideError, match=r"cut.tif .*again"):
        open_backend(cut)


def test_sixteen_bit_and_grey_are_refused_with_the_reason(tmp_path: Path) -> None:
    deep, grey = tmp_path / "deep.tif", tmp_path / "grey.tif"
    tifffile.imwrite(deep, np.zeros((300, 300, 3), np.uint16), photometric="rgb", tile=(128, 128))
    tifffile.imwrite(grey, np.zeros((300, 300), np.uint8), tile=(128, 128))
    with pytest.raises(SlideError, match="8-bit"):
        TifffileBackend(deep)
    with pytest.raises(SlideError, match=r"axes|8-bit"):
        TifffileBackend(grey)


def test_a_damaged_segment_is_an_error_of_that_place_only(
    write_slide: Write, tmp_path: Path
) -> None:
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((512, 512),))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[5], page.databytecounts[5]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    backend = TifffileBackend(path)
    with pytest.raises(SlideError, match="damaged"):
        backend.segment(0, 1, 1)
    assert backend.segment(0, 1, 2).shape == (128, 128, 3)


def test_openslide_reads_on_after_an_error(write_slide: Write, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((2048, 2048),), tile=256)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    backend = OpenSlideBackend(path)
    with pytest.raises(SlideError, match="OpenSlide cannot read there"):
        backend.segment(0, 0, 0)
    assert backend.segment(0, 2, 2).shape == (512, 512, 3)


@pytest.mark.parametrize("name", ["tifffile", "openslide"])
def test_reading_from_a_closed_backend(write_slide: Write, tmp_path: Path, name: str) -> None:
    path = tmp_path / "slide.tif"
    write_slide(path)
    backend = BACKENDS[name](path)
    backend.close()
    backend.close()
    with pytest.raises(SlideError, match="closed"):
        backend.segment(0, 0, 0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_nothing_is_written_to_stderr(
    write_slide: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.tif"
    write_slide(path)
    data = bytearray(path.read_bytes())
    data[4:8] = (len(data) - 3).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(SlideError):
        open_backend(path)
    assert capfd.readouterr().err == ""
    assert any(
        isinstance(handler, logging.NullHandler)
        for handler in logging.getLogger("tifffile").handlers
    )


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_slides_give_the_pixels_of_tiffslide_and_openslide(material: Path, name: str) -> None:
    path = material / "slides" / name
    rng = np.random.default_rng(1)
    with open_slide(path) as slide, tiffslide.TiffSlide(path) as reference:
        other = openslide.OpenSlide(path)
        for level, (width, height) in enumerate(reference.level_dimensions):
            facts = slide.levels[level]
            assert facts.shape == (height, width)
            assert facts.downsample == pytest.approx(other.level_downsamples[level])
            h, w = min(height, 300), min(width, 300)
            for _ in range(4):
                y = int(rng.integers(0, height - h + 1))
                x = int(rng.integers(0, width - w + 1))
                ours = slide.read(level, y, x, h, w)
                series = reference.ts_tifffile.series[0].levels[level]
                stored = reference.zarr_group[str(level)][y : y + h, x : x + w]
                assert series.shape == (height, width, 3)
                np.testing.assert_array_equal(ours, stored)
                if level == 0:
                    theirs = np.asarray(other.read_region((x, y), 0, (w, h)).convert("RGB"))
                    assert np.abs(ours.astype(int) - theirs).max() <= 2


@pytest.mark.real
def test_facts_of_the_real_slides(material: Path) -> None:
    small, tcga, large = (material / "slides" / name for name in REAL)
    with open_slide(small) as slide:
        assert slide.mpp == pytest.approx(0.499)
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        assert set(slide.associated_images) == {"thumbnail", "label", "macro"}
        assert slide.associated("thumbnail").shape == (768, 574, 3)
        with pytest.raises(KeyError):
            slide.associated("nothing")
    with open_slide(tcga) as slide:
        assert slide.mpp is None
        # Eosin is pink: red above green. A wrong colour space would turn it green.
        assert np.subtract(*slide.thumbnail(400).reshape(-1, 3).mean(0)[:2]) > 10
    with open_slide(large) as slide:
        assert slide.mpp == pytest.approx(0.5)
        assert len(slide.levels) == 9
