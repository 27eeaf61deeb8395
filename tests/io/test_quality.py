"""Measures of tiles in a slide's store."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_pathfm.core.quality import MEASURES, TileQuality
from napari_pathfm.io.errors import ProjectError
from napari_pathfm.io.quality import load_quality, save_quality
from napari_pathfm.io.store import stored_features

QUALITY = TileQuality(
    "0123456789ab",
    np.array([0.5, 1.0], np.float32),
    np.array([1.25, np.nan], np.float32),
    np.array([0.0, 0.125], np.float32),
)


def test_what_was_measured_is_found_again(tmp_path: Path) -> None:
    store = tmp_path / "slide.zarr"
    assert load_quality(store, QUALITY.grid_hash) is None
    save_quality(store, QUALITY)
    save_quality(store, QUALITY)
    found = load_quality(store, QUALITY.grid_hash)
    assert found is not None
    for name in MEASURES:
        np.testing.assert_array_equal(getattr(found, name), getattr(QUALITY, name))
    assert load_quality(store, "another") is None
    assert stored_features(store) == []


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zarr.Group, "create_array", full)
    with pytest.raises(ProjectError, match="could not be saved"):
        save_quality(tmp_path / "slide.zarr", QUALITY)
    monkeypatch.undo()
    assert load_quality(tmp_path / "slide.zarr", QUALITY.grid_hash) is None
    save_quality(tmp_path / "slide.zarr", QUALITY)
    assert load_quality(tmp_path / "slide.zarr", QUALITY.grid_hash) is not None
