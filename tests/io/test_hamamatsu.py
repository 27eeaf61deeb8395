"""VMS slides whose JPEGs do not fit together; OpenSlide would end the process over most of them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.reader import open_slide

from .vendors import hamamatsu

Draw = Callable[..., np.ndarray]
FRAME = b"\xff\xc0"


@pytest.fixture
def path(picture: Draw, tmp_path: Path) -> Path:
    """A slide of 2 x 2 JPEGs: 5 and 3 tiles across, 25 and 10 down."""
    whole = picture(280, 512)
    coarse = np.ascontiguousarray(whole[::10, ::12][:24, :40])
    hamamatsu.write_vms(tmp_path / "slide.vms", (whole, coarse), [200, 80], [320, 192])
    with open_slide(tmp_path / "slide.vms") as slide:
        assert slide.levels[0].shape == (280, 512)
    return tmp_path / "slide.vms"


def claim(path: Path, height: int, width: int, frame: bytes = FRAME) -> None:
    """Let a JPEG claim another size."""
    data = bytearray(path.read_bytes())
    at = data.index(FRAME)
    data[at : at + 2] = frame
    struct.pack_into(">HH", data, at + 5, height, width)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("slide(1,0).jpg", (200, 384), "row 0, column 1 claims to hold 25 x 6 tiles"),
        ("slide(1,1).jpg", (80, 128), "row 1, column 1 claims to hold 10 x 2 tiles"),
        ("slide(0,1).jpg", (208, 320), "row 1, column 0 claims to hold 26 x 5 tiles"),
        ("slide.jpg", (7, 320), "row 0, column 0 claims to hold 0 x 5 tiles"),
        ("slide.jpg", (65_528, 320), r"slide.jpg claims to hold 8191 x 5 tiles"),
        ("slide_map2.jpg", (65_528, 40), "slide_map2.jpg claims to hold 8191 x 1 tiles"),
    ],
)
def test_a_jpeg_of_another_size(path: Path, name: str, size: tuple[int, int], words: str) -> None:
    claim(path.with_name(name), *size)
    with pytest.raises(SlideError, match=words):
        open_slide(path)


def test_a_jpeg_that_is_stored_in_several_passes(path: Path) -> None:
    claim(path.with_name("slide.jpg"), 200, 320, frame=b"\xff\xc2")
    with pytest.raises(SlideError, match=r"slide.jpg cannot be decoded in tiles"):
        open_slide(path)


def test_more_jpegs_than_are_named(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("NoJpegColumns=2", "NoJpegColumns=99999999"))
    with pytest.raises(SlideError, match="cut into 199999998 images and names 4"):
        open_slide(path)


def test_other_focal_planes_are_not_compared(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace("MapFile=", "ImageFile(1,0,0)=slide_map2.jpg\nMapFile="))
    with open_slide(path) as slide:
        assert slide.levels[0].shape == (280, 512)
