"""TIFFs in strips, odd tiles and planes: the same pixels, from few decoded pieces."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.backends import open_backend, retiled
from napari_pathfm.io.backends.retiled import RetiledBackend
from napari_pathfm.io.reader import open_slide

Draw = Callable[..., np.ndarray]

LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 8, "compression": "lzw"},
    "jpeg strips": {"rowsperstrip": 16, "compression": "jpeg"},
    "one row a strip": {"rowsperstrip": 1, "compression": "deflate"},
    "one strip": {},
    "uncompressed strips": {"rowsperstrip": 50},
    "differences": {"rowsperstrip": 37, "compression": "deflate", "predictor": True},
    "small tiles": {"tile": (32, 48), "compression": "deflate"},
    "large tiles": {"tile": (1040, 4112), "compression": "deflate"},
}


def check(path: Path, pixels: np.ndarray) -> RetiledBackend:
    backend = open_backend(path)
    assert isinstance(backend, RetiledBackend)
    (level,) = backend.levels
    assert level.shape == pixels.shape[:2]
    assert all(352 <= side <= 704 for side in level.tile_shape)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read(0, 0, 0, *pixels.shape[:2]), pixels)
        edge = slide.read(0, pixels.shape[0] - 5, 0, 30, 10)
        assert (edge[5:] == 255).all()
    return backend


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("planar", [False, True])
def test_every_layout_gives_its_pixels(
    picture: Draw, tmp_path: Path, layout: str, planar: bool
) -> None:
    how = {"planarconfig": "separate"} if planar else {}
    pixels = picture(1301, 903)
    stored = np.moveaxis(pixels, -1, 0) if planar else pixels
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, stored, photometric="rgb", **LAYOUTS[layout], **how)
    read = tifffile.imread(path)
    check(path, np.moveaxis(read, 0, -1) if planar else read)


def test_transparent_and_grey_pixels_are_shown_on_white(picture: Draw, tmp_path: Path) -> None:
    rgb = picture(600, 700)
    path = tmp_path / "slide.tif"
    holes = np.full(rgb.shape[:2], 255, np.uint8)
    holes[:200] = 0
    rgba = np.dstack([rgb, holes])
    how: dict[str, Any] = {"rowsperstrip": 16, "compression": "deflate"}
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"], **how)
    check(path, np.where(holes[..., None], rgb, 255))
    for photometric, grey in (("minisblack", rgb[..., 0]), ("miniswhite", 255 - rgb[..., 0])):
        tifffile.imwrite(path, rgb[..., 0], photometric=photometric, **how)
        check(path, np.repeat(grey[..., None], 3, axis=-1))


def test_holes_of_a_sparse_file_are_white(picture: Draw, tmp_path: Path) -> None:
    path, tile = tmp_path / "sparse.tif", picture(48, 48)
    tifffile.imwrite(
        path, iter([tile, None, None, tile]), shape=(96, 96, 3), dtype=np.uint8, tile=(48, 48),
        photometric="rgb", compression="deflate",
    )  # fmt: skip
    white = np.full_like(tile, 255)
    check(path, np.block([[[tile], [white]], [[white], [tile]]]))


def test_the_size_of_a_pixel(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    for unit, resolution, mpp in (
        ("CENTIMETER", 20_000, 0.5),
        ("INCH", 72, None),
        ("NONE", 1, None),
    ):
        tifffile.imwrite(
            path, picture(300, 300), rowsperstrip=8, resolution=(resolution, resolution),
            resolutionunit=unit, photometric="rgb",
        )  # fmt: skip
        found = open_backend(path).mpp
        assert found == (mpp if mpp is None else pytest.approx(mpp))


def test_each_strip_is_decoded_once_for_a_row_of_segments(
    picture: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, picture(700, 3000), rowsperstrip=16, compression="lzw")
    decoded: list[tuple[int, int]] = []
    real = retiled._decode

    def counted(file: Any, stored: Any, row: int, col: int) -> np.ndarray:
        decoded.append((row, col))
        return real(file, stored, row, col)

    monkeypatch.setattr(retiled, "_decode", counted)
    backend = RetiledBackend(path)
    rows, cols = backend.levels[0].segments
    backend.segment(0, 0, cols - 1)
    assert len(decoded) == 32, "only the strips of the segment"
    for row in range(rows):
        for col in range(cols):
            backend.segment(0, row, col)
    assert len(decoded) == len(set(decoded)) == 44


def test_a_large_image_in_strips_is_not_held_in_memory(tmp_path: Path) -> None:
    path, (height, width) = tmp_path / "large.tif", (16_000, 20_000)
    strip = zlib.compress(np.full((16, width, 3), 200, np.uint8), 1)
    with tifffile.TiffWriter(path) as file:
        file.write(
            (strip for _ in range(height // 16)), shape=(height, width, 3), dtype=np.uint8,
            rowsperstrip=16, compression="deflate", photometric="rgb",
        )  # fmt: skip
    tracemalloc.start()
    with open_slide(path) as slide:
        assert slide.levels[-1].downsample == 32
        read = slide.read(0, 15_000, 19_000, 1000, 1000)
        assert (read == 200).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6, "the image itself has 960 MB"


def test_an_uncompressed_image_in_one_piece_is_read_row_by_row(tmp_path: Path) -> None:
    path, shape = tmp_path / "piece.tif", (40_000, 30_000, 3)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(shape=shape, dtype=np.uint8, photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[0]
    with path.open("r+b") as raw:  # the rest is a hole of the file system
        raw.seek(offset + (31_000 * 30_000 + 7) * 3)
        raw.write(bytes([1, 2, 3]))
    with open_slide(path) as slide:
        read = slide.read(0, 30_900, 0, 200, 200)
        assert read[100, 7].tolist() == [1, 2, 3]
        assert read.sum() == 6


def test_what_cannot_be_read_here_and_there_is_refused(tmp_path: Path) -> None:
    path, shape = tmp_path / "piece.tif", (8000, 8000, 3)
    tifffile.imwrite(
        path, np.zeros(shape, np.uint8), rowsperstrip=8000, compression="deflate",
        photometric="rgb", metadata=None,
    )  # fmt: skip
    with pytest.raises(SlideError, match=r"pieces of 8000 x 8000 pixels.*save it in tiles"):
        RetiledBackend(path)


def test_palettes_are_left_to_pillow_and_depth_is_refused(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    Image.fromarray(picture(300, 300)).quantize(16).save(path)
    assert open_backend(path).name == "plain"
    tifffile.imwrite(path, np.zeros((300, 300, 3), np.uint16), rowsperstrip=8, photometric="rgb")
    with pytest.raises(SlideError, match="8-bit"):
        RetiledBackend(path)


def test_damage_is_told_of_the_place_only(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, picture(1100, 600), rowsperstrip=100, compression="deflate")
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="y 0, x 0: the strip or tile is damaged"):
            slide.read(0, 0, 0, 10, 10)
        assert slide.read(0, 1000, 0, 10, 10).shape == (10, 10, 3)
    with pytest.raises(SlideError, match="closed"):
        slide.read(0, 0, 0, 10, 10)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SlideError, match=r"cut off|not a slide"):
        open_backend(path)
