"""GeoJSON as QuPath reads it: exact outlines, (x, y), classes and colours."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.io.interop import geojson
from napari_pathfm.io.interop.geojson import (
    label_features,
    layer_features,
    object_polygons,
    outlines,
    write_geojson,
)
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

TUMOR = AnnotationClass(1, "Tumor", "#c80000")


class Slide:
    """What a project wants to know of a slide."""

    id, name, path, mpp = "0123456789abcdef", "a", Path("a.svs"), 0.5


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[AnnotationLayer]:
    with Project.open(tmp_path / "p", author="ada") as project:
        project.add_slide(Slide())  # type: ignore[arg-type]
        project.set_classes([TUMOR])
        yield AnnotationLayer.open(project, Slide.id, "regions", (3000, 4000))


def draw(layer: AnnotationLayer, y: int, x: int, mask: np.ndarray, class_id: int) -> int:
    number = layer.new_id()
    row = ObjectRow(number, class_id, how="prompt", model="litemedsam")
    ids = np.full(mask.shape, number, np.uint32)
    layer.commit(layer.paint_edit(y, x, ids, mask, "draw", rows={number: row}))
    return number


def test_a_layer_as_qupath_reads_it(layer: AnnotationLayer, tmp_path: Path) -> None:
    ring = np.ones((30, 50), bool)
    ring[10:20, 10:20] = False
    draw(layer, 100, 2000, ring, 1)
    draw(layer, 500, 600, np.eye(2, dtype=bool), 0)
    path = write_geojson(tmp_path / "a.geojson", layer_features(layer, [TUMOR], Slide.id))
    collection = json.loads(path.read_text())
    assert collection["type"] == "FeatureCollection"
    first, second = collection["features"]
    assert first["type"] == "Feature"
    assert uuid.UUID(first["id"]) != uuid.UUID(second["id"])
    assert first["properties"]["objectType"] == "annotation"
    assert first["properties"]["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
    assert first["properties"]["metadata"]["model"] == "litemedsam"
    assert first["geometry"]["type"] == "Polygon"
    outer, hole = first["geometry"]["coordinates"]
    assert {tuple(p) for p in outer} == {(2000, 100), (2050, 100), (2050, 130), (2000, 130)}
    assert {tuple(p) for p in hole} == {(2010, 110), (2020, 110), (2020, 120), (2010, 120)}
    assert second["geometry"]["type"] == "MultiPolygon"
    assert "classification" not in second["properties"]


def test_the_same_object_keeps_its_identifier(layer: AnnotationLayer) -> None:
    draw(layer, 5, 5, np.ones((4, 4), bool), 1)
    ids = [[each.id for each in layer_features(layer, [TUMOR], Slide.id)] for _ in range(2)]
    assert ids[0] == ids[1]


def test_a_large_object_is_read_in_strips(
    layer: AnnotationLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.random.default_rng(1).random((700, 300)) < 0.7
    number = draw(layer, 300, 400, mask, 1)
    whole = object_polygons(layer, layer.objects[number])
    monkeypatch.setattr(geojson, "STRIP_PIXELS", 64 * 300)
    strips = object_polygons(layer, layer.objects[number])
    assert sum(polygon.area for polygon in strips) == mask.sum()
    assert len(strips) == len(whole)
    for ours, theirs in zip(strips, whole, strict=True):
        assert (ours.exterior == theirs.exterior).all()


def test_labels_of_any_value() -> None:
    labels = np.zeros((20, 20), np.int64)
    labels[2:5, 3:9] = 70_000
    labels[10:12, 0:20] = 3
    found = outlines(labels, 100, 200)
    assert {label: sum(p.area for p in polygons) for label, polygons in found.items()} == {
        3: 40,
        70_000: 18,
    }
    assert found[70_000][0].exterior.min(0).tolist() == [102, 203]
    assert [feature.name for feature in label_features(labels)] == ["3", "70000"]


def test_an_erased_object_is_left_out(layer: AnnotationLayer) -> None:
    draw(layer, 5, 5, np.ones((4, 4), bool), 1)
    draw(layer, 5, 5, np.ones((4, 4), bool), 1)
    assert len(list(layer_features(layer, [TUMOR]))) == 1
