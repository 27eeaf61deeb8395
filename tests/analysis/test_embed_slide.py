"""A slide's way from its file into a project: found again wherever it is, and told why if not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.embed_slide import EmbeddedSlide, EmbedTask, embed_slide
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.jobs import run
from napari_pathfm.io.project import Project
from napari_pathfm.models.catalog import encoder_specs


class Cheap:
    """Means of colours."""

    device = "cpu"

    def __init__(self, weights: str = "ab12") -> None:
        self.spec = encoder_specs()["efficientnet-lite0"]
        self.key = FeatureKey(self.spec.name, "avg", weights, "224 px")
        self.tiles = 0

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.tiles += len(tiles)
        return tiles.mean((1, 2), np.float64).astype(np.float32)

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise NotImplementedError


@pytest.fixture
def task(synthetic: Path, tmp_path: Path) -> EmbedTask:
    path = tmp_path / "liver.tif"
    shutil.copy(synthetic, path)
    return EmbedTask(str(path), tmp_path / "project")


def embedded(task: EmbedTask, encoder: Cheap) -> EmbeddedSlide:
    with Project.open(task.project) as project:
        return run(embed_slide(task, encoder, project))


def test_a_slide_that_was_moved_is_never_embedded_twice(task: EmbedTask, tmp_path: Path) -> None:
    first = embedded(task, encoder := Cheap())
    assert encoder.tiles == first.computed == first.tiles > 50
    place = tmp_path / "archive" / "renamed.tif"
    place.parent.mkdir()
    Path(task.slide).rename(place)
    again = embedded(replace(task, slide=str(place)), encoder := Cheap())
    assert encoder.tiles == again.computed == 0
    assert again.from_store
    assert (again.tiles, again.key, again.remarks) == (first.tiles, first.key, ())


def test_whatever_has_changed_is_told_by_name(task: EmbedTask) -> None:
    assert embedded(task, Cheap()).remarks == ()
    (weights,) = embedded(task, Cheap("cd34")).remarks
    assert weights == "embedded before with other weights (ab12; now cd34)"
    with open(task.slide, "ab") as file:
        file.write(b"more")
    (content,) = embedded(task, Cheap()).remarks
    assert content.startswith("embedded before with other content of liver.tif (")
    (tiles,) = embedded(replace(task, tile_px=448), Cheap()).remarks
    assert tiles.startswith("embedded before with other tiles (224 px")
