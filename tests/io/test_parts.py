"""Parts of a slide as files: whole or not there, found again by their tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.io.errors import ProjectError
from napari_pathfm.io.parts import Parts, part_name

KEY = FeatureKey("e", "cls", "1a2b", "224 px", "bfloat16")


def test_a_part_is_found_again(tmp_path: Path) -> None:
    parts = Parts(str(tmp_path), "slide", "e@grid")
    tiles = np.array([4, 9, 2])
    made = Embeddings(KEY, "grid", tiles, np.arange(6, dtype=np.float32).reshape(3, 2))
    name = part_name(tiles)
    assert (parts.names(), parts.has(name)) == ([], False)
    parts.write(name, made)
    before = [path.read_bytes() for path in tmp_path.rglob("*.safetensors")]
    parts.write(name, made)
    assert [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] == before
    assert (parts.names(), parts.has(name)) == ([name], True)
    read = parts.read(name)
    assert (read.key, read.grid_hash) == (KEY, "grid")
    np.testing.assert_array_equal(read.tiles, tiles)
    np.testing.assert_array_equal(read.vectors, made.vectors)
    assert Parts(str(tmp_path), "other", "e@grid").names() == []
    parts.remove(name)
    assert not parts.has(name)


def test_other_tiles_are_another_part() -> None:
    assert part_name(np.array([4, 9, 2])) != part_name(np.array([4, 9, 3]))


@pytest.mark.parametrize("kept", [0, 7, 60, -1])
def test_a_damaged_part_is_told(tmp_path: Path, kept: int) -> None:
    parts = Parts(str(tmp_path), "slide", "e@grid")
    parts.write("a", Embeddings(KEY, "grid", np.arange(3), np.zeros((3, 2), np.float32)))
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is damaged"):
        parts.read("a")
    parts.clear()
    assert parts.names() == []


def test_a_bucket_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs", reason="s3:// needs the package s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "drawn")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ProjectError, match=r"s3://lab/x cannot be reached .*Check the address"):
        Parts("s3://lab/x", "slide", "e@grid").names()
    s3fs.S3FileSystem.clear_instance_cache()
