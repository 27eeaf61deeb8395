"""napari's writer: the whole annotation layer, not the window; other labels in their pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.writer_napari import write_labels


class Slide:
    """What a project wants to know of a slide."""

    id, name, path, mpp = "0123456789abcdef", "a", Path("a.svs"), 0.5


def test_an_annotation_layer_is_written_as_a_whole(tmp_path: Path) -> None:
    with Project.open(tmp_path / "p") as project:
        project.add_slide(Slide())  # type: ignore[arg-type]
        project.set_classes([AnnotationClass(1, "Tumor", "#c80000")])
        layer = AnnotationLayer.open(project, Slide.id, "regions", (3000, 4000))
        for y, x in ((10, 20), (2500, 3500)):
            number = layer.new_id()
            ids = np.full((5, 6), number, np.uint32)
            rows = {number: ObjectRow(number, 1)}
            layer.commit(layer.paint_edit(y, x, ids, None, "draw", rows=rows))
        visible = np.zeros((100, 100), np.int64)
        ours = {"annotations": layer, "project": project}
        path = str(tmp_path / "a.geojson")
        assert write_labels(path, visible, {"metadata": {"pathfm": ours}}) == [path]
    features = json.loads(Path(path).read_text())["features"]
    assert [feature["properties"]["classification"]["name"] for feature in features] == [
        "Tumor",
        "Tumor",
    ]
    assert [3500, 2500] in features[1]["geometry"]["coordinates"][0]


@pytest.mark.parametrize("pyramid", [False, True])
def test_other_labels_are_written_in_their_pixels(tmp_path: Path, pyramid: bool) -> None:
    labels = np.zeros((40, 50), np.uint8)
    labels[3:7, 8:20] = 9
    data = [labels, labels[::2, ::2]] if pyramid else labels
    path = str(tmp_path / "a.geojson")
    write_labels(path, data, {"metadata": {}})
    (feature,) = json.loads(Path(path).read_text())["features"]
    assert feature["properties"]["name"] == "9"
    assert [8, 3] in feature["geometry"]["coordinates"][0]


def test_a_stack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 dimensions"):
        write_labels(str(tmp_path / "a.geojson"), np.zeros((2, 3, 4), int), {})
    assert not list(tmp_path.iterdir())
