"""A slide's way from its file into a project: found again wherever it is, and told why if not."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.embed_slide import (
    EmbeddedSlide,
    EmbedTask,
    embed_slide,
    open_task,
    prepare,
)
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.jobs import run
from napari_pathfm.core.quality import QualityLimits
from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.project import Project
from napari_pathfm.io.store import stored_features
from napari_pathfm.models.catalog import encoder_specs

from ..io.test_reader_napari import write_slide


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


def test_tasks_and_results_can_be_sent(task: EmbedTask) -> None:
    assert pickle.loads(pickle.dumps(task)) == task
    made = embedded(task, Cheap())
    assert pickle.loads(pickle.dumps(made)) == made


def test_beside_an_owner_of_the_project(task: EmbedTask) -> None:
    with Project.open(task.project) as owner, Project.open(task.project, read_only=True) as other:
        made = run(embed_slide(task, Cheap(), other))
        (stored,) = stored_features(owner.slide_store(made.slide.id))
        assert stored.count == made.tiles > 0
        assert owner.slides() == []
        assert owner.add_slide(made.slide).path == Path(task.slide)


def test_who_knows_the_mpp(tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.tif", mpp=None)
    task = EmbedTask(str(tmp_path / "slide.tif"), tmp_path / "project")
    with pytest.raises(ValueError, match="add --mpp"):
        open_task(task)
    with Project.open(task.project) as project, open_task(replace(task, mpp=0.3)) as slide:
        project.add_slide(slide)
    remembered = replace(task, mpp_if_unknown=0.7)
    for each, mpp in ((task, 0.3), (remembered, 0.3), (replace(task, mpp=0.4), 0.4)):
        with open_task(each) as slide:
            assert slide.mpp == mpp
    with open_task(replace(remembered, project=tmp_path / "another")) as slide:
        assert slide.mpp == 0.7


def test_tiles_that_are_not_good_enough_are_left_out(task: EmbedTask) -> None:
    spec = Cheap().spec
    found = run(prepare(replace(task, limits=QualityLimits(0.9, 100.0, 0.0)), spec))
    with found.slide:
        assert f"{len(found.grid)} of " in found.remarks[0]
    with pytest.raises(ValueError, match="--max-blur"):
        run(prepare(replace(task, limits=QualityLimits(0.5, 0.1, 1.0)), spec))
    with pytest.raises(SlideError, match="no file"):
        run(prepare(replace(task, slide="missing.tif"), spec))
