"""Directories of TIFFs that claim what ended the process in a library, or kept it for ever."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.backends.chain import TILE_BYTES, directories
from napari_pathfm.io.backends.ranges import LocalFile
from napari_pathfm.io.reader import open_slide

from .fuzz import entries_of
from .test_tiff_families import write_ndpi
from .vendors import aperio, ventana

Draw = Callable[..., np.ndarray]
WIDTH, LENGTH = 256, 257
SIGNED_BYTE, LONG = 6, 4


def write_strips(path: Path, draw: Draw) -> None:
    tifffile.imwrite(path, draw(700, 1100), rowsperstrip=16, photometric="rgb", compression="jpeg")


def write_bif(path: Path, draw: Draw) -> None:
    areas = [ventana.Area(0, 100, 5, 4), ventana.Area(250, 700, 4, 5)]
    ventana.write_bif(path, draw(900, 1300), areas)


def write_hamamatsu(path: Path, draw: Draw) -> None:
    write_ndpi(path, draw(1024, 1280))


def write_svs(path: Path, draw: Draw) -> None:
    scans = dict.fromkeys(("thumbnail", "label", "macro"), draw(70, 110))
    aperio.write_svs(path, [draw(700, 1100)], scans, aperio.JPEG)


@pytest.mark.parametrize(
    ("name", "write", "directory", "tag", "kind", "value", "words"),
    [
        ("a.tif", write_strips, 0, WIDTH, SIGNED_BYTE, 0x7FFFFFFF, "claims to be 700 x -1"),
        ("a.bif", write_bif, 1, LENGTH, LONG, 17, "as many tiles as their sizes need"),
        ("a.svs", write_svs, 0, WIDTH, LONG, 65_535, "fewer tiles than its size needs"),
        ("a.ndpi", write_hamamatsu, 1, LENGTH, LONG, 0x7FFFFFFF, "claims to be 2147483647 x"),
    ],
    ids=["a negative width", "more tiles", "fewer tiles", "thousands of millions of rows"],
)
def test_absurd_sizes_are_refused_before_a_library_believes_them(
    picture: Draw,
    tmp_path: Path,
    name: str,
    write: Callable[[Path, Draw], None],
    directory: int,
    tag: int,
    kind: int,
    value: int,
    words: str,
) -> None:
    write(tmp_path / name, picture)
    open_slide(tmp_path / name).close()
    data = bytearray((tmp_path / name).read_bytes())
    (entry,) = (e for e in entries_of(bytes(data)) if (e.directory, e.tag) == (directory, tag))
    entry.put(data, value, kind)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SlideError, match=words):
        open_slide(tmp_path / name)


def test_a_tile_longer_than_the_file_never_gets_to_openslide(picture: Draw, tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    write_svs(path, picture)
    open_slide(path, backend="openslide").close()
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags[TILE_BYTES]  # type: ignore[union-attr]
        at, counts = tag.valueoffset, tag.value
        sizes = {page.index: max(page.databytecounts) for page in file.pages}  # type: ignore[union-attr]
    longest = [image.longest for image in directories(LocalFile(path)) if image.tiles]
    assert longest == [sizes[0]]
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, at + 4 * (len(counts) // 2), 0xA0EE_DBE0)
    path.write_bytes(data)
    with pytest.raises(SlideError, match="one of its tiles claims to be longer than the file"):
        open_slide(path, backend="openslide")
    with pytest.raises(SlideError, match="the file is cut off"):
        open_slide(path)
