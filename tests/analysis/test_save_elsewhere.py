from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.analysis.save_elsewhere import UnsavedStroke, save_elsewhere_job
from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.core.jobs import run
from napari_pathfm.io.masks import AnnotationLayer, HandStroke
from napari_pathfm.io.painting import Paint
from napari_pathfm.io.project import Project, ProjectError

SHAPE = (900, 1100)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "p", author="ann") as project:
        project.set_classes([AnnotationClass(3, "gland", "#d55e00")])
        (project.models / "head.bin").write_bytes(b"weights")
        yield project


def unsaved(layer: AnnotationLayer, number: int, y: int, keep: bool = False) -> UnsavedStroke:
    ids = np.full((60, 60), number, np.uint32)
    stroke = HandStroke(Paint.of(y, 20, ids, None, 1), "paint", 3)
    kept = layer.keep_stroke(stroke) if keep else 0
    return UnsavedStroke(layer.slide_id, layer.name, layer.shape, stroke, kept)


def test_the_copy_has_everything_and_the_strokes(project: Project, tmp_path: Path) -> None:
    layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
    ids = np.full((500, 500), 1, np.uint32)
    layer.commit(layer.paint_edit(300, 300, ids, None, "one"))
    project.set_labels("ab", "grid", {4: 3})
    strokes = [unsaved(layer, 7, 10, keep=True), unsaved(layer, 8, 40)]
    before = (project.folder / "project.sqlite").read_bytes()
    run(save_elsewhere_job(project, tmp_path / "copy", strokes))
    assert (project.folder / "project.sqlite").read_bytes() == before
    assert sorted(layer.objects) == [1]
    with Project.open(tmp_path / "copy") as copy:
        there = AnnotationLayer.open(copy, "ab", "regions", SHAPE)
        assert [step.text for step in there.history()] == ["one", "paint", "paint"]
        assert there.objects[1] == layer.objects[1]
        assert (there.objects[7].area, there.objects[8].area) == (30 * 60, 60 * 60)
        assert there.objects[7].class_id == 3
        assert copy.classes() == project.classes()
        assert copy.labels("ab", "grid") == {4: 3}
        assert (copy.models / "head.bin").read_bytes() == b"weights"
        there.undo()
        there.undo()
        np.testing.assert_array_equal(there.read(0, 0, 0, *SHAPE), layer.read(0, 0, 0, *SHAPE))


def test_nothing_is_left_of_a_copy_that_fails_or_is_cancelled(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = AnnotationLayer.open(project, "ab", "regions", SHAPE)
    job = save_elsewhere_job(project, tmp_path / "copy", [unsaved(layer, 7, 10)])
    next(job)
    job.close()
    with pytest.raises(ValueError, match="inside the project"):
        run(save_elsewhere_job(project, project.folder / "copy", []))
    with pytest.raises(ValueError, match="not empty"):
        run(save_elsewhere_job(project, project.folder.parent, []))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ProjectError, match="no space left"):
        run(save_elsewhere_job(project, tmp_path / "copy", []))
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_project_that_can_only_be_read_is_copied(project: Project, tmp_path: Path) -> None:
    AnnotationLayer.open(project, "ab", "regions", SHAPE)
    with Project.open(project.folder, read_only=True) as view:
        layer = AnnotationLayer.open(view, "ab", "regions", SHAPE)
        run(save_elsewhere_job(view, tmp_path / "copy", [unsaved(layer, 7, 10)]))
    with Project.open(tmp_path / "copy") as copy:
        assert sorted(AnnotationLayer.open(copy, "ab", "regions", SHAPE).objects) == [7]
