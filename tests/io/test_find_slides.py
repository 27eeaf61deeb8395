"""Slides in a folder are found, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.find_slides import find_slides

from .test_dicom import write_dicom


def test_files_and_folders_below(tmp_path: Path) -> None:
    for name in ("b.SVS", "a/c.tif", "a/notes.txt", "thumbnail.png", ".hidden.tif", ".cache/d.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "image.zarr" / "deep").mkdir(parents=True)
    (tmp_path / "image.zarr" / "deep" / "e.tif").touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_slides(tmp_path)]
    assert found == ["a/c.tif", "b.SVS", "image.zarr"]


def test_projects_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "project" / "exports").mkdir(parents=True)
    (tmp_path / "project" / "project.sqlite").touch()
    (tmp_path / "project" / "exports" / "patch.tif").touch()
    (tmp_path / "slide.tif").touch()
    assert find_slides(tmp_path) == [tmp_path / "slide.tif"]


def test_one_file_of_a_dicom_series(tmp_path: Path) -> None:
    pixels = np.full((300, 300, 3), 200, np.uint8)
    first = write_dicom(tmp_path / "one", [pixels, pixels[:150, :150]])
    second = write_dicom(tmp_path / "two", [pixels])
    found = find_slides(tmp_path)
    assert len(found) == 2
    assert found[0] in first
    assert found[1] in second


def test_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="no slide in"):
        find_slides(tmp_path)
    with pytest.raises(SlideError, match="cannot be read"):
        find_slides(tmp_path / "missing")
