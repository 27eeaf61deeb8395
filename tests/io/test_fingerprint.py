from __future__ import annotations

from pathlib import Path

import pytest

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.fingerprint import BLOCK, BLOCKS, fingerprint


def test_a_moved_file_keeps_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.svs").write_bytes(b"slide" * 1000)
    before = fingerprint(tmp_path / "a.svs")
    (tmp_path / "a.svs").rename(tmp_path / "b.tif")
    assert fingerprint(str(tmp_path / "b.tif")) == before
    assert len(before) == 16
    int(before, 16)


@pytest.mark.parametrize("place", [0, 70_000, -1])
def test_every_byte_of_a_small_file_counts(tmp_path: Path, place: int) -> None:
    data = bytearray(150_000)
    path = tmp_path / "slide"
    path.write_bytes(data)
    before = fingerprint(path)
    data[place] = 1
    path.write_bytes(data)
    assert fingerprint(path) != before


@pytest.mark.parametrize("place", [0, -1])
def test_head_tail_and_size_of_a_large_file_count(tmp_path: Path, place: int) -> None:
    data = bytearray(BLOCK * BLOCKS * 3 + 11)
    path = tmp_path / "slide"
    path.write_bytes(data)
    before = fingerprint(path)
    path.write_bytes(data + b"\0")
    assert fingerprint(path) != before
    data[place] = 1
    path.write_bytes(data)
    assert fingerprint(path) != before


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="cannot be read"):
        fingerprint(tmp_path / "absent")
