"""Objects of files become one edit: round trips, overlaps, classes, and nothing by halves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.analysis.import_objects import (
    HIDDEN,
    ImportReport,
    class_ids,
    import_job,
    missing_classes,
    read_objects,
)
from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.core.slide import Level
from napari_pathfm.io.interop.geojson import layer_features, write_geojson
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

SHAPE = (1100, 1300)
LEVELS = (Level(SHAPE, 1.0, (256, 256)),)
CLASSES = (AnnotationClass(1, "tumor", "#d55e00"), AnnotationClass(2, "stroma", "#0072b2"))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "p", author="ada") as made:
        made.set_classes(CLASSES)
        yield made


def open_layer(project: Project, name: str = "regions") -> AnnotationLayer:
    return AnnotationLayer.open(project, "ab", name, SHAPE)


def bring(project: Project, layer: AnnotationLayer, path: Path, **options: Any) -> ImportReport:
    drawing = run(read_objects(path, LEVELS, **options))
    return run(import_job(layer, drawing, project.class_book, path.name))


def pixels(layer: AnnotationLayer) -> NDArray[np.uint32]:
    return layer.read(0, 0, 0, *layer.shape)


def boxes(path: Path, *features: tuple[int, int, int, int, str]) -> Path:
    """Write rectangles: x, y, width, height, class."""
    listed = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]],
            },
            "properties": {"classification": {"name": name, "color": [1, 2, 3]}} if name else {},
        }
        for x, y, w, h, name in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": listed}))
    return path


def check_table(layer: AnnotationLayer) -> None:
    """Areas and boxes of the table are those of the pixels."""
    ids = pixels(layer)
    numbers, areas = np.unique(ids[ids > 0], return_counts=True)
    assert {n: row.area for n, row in layer.objects.items()} == dict(
        zip(numbers.tolist(), areas.tolist(), strict=True)
    )
    for number, row in layer.objects.items():
        ys, xs = np.nonzero(ids == number)
        assert row.box == (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)


def same(one: AnnotationLayer, other: AnnotationLayer) -> None:
    """Both have the same objects with the same classes, but for their numbers."""
    ours, theirs = pixels(one), pixels(other)
    pairs = np.unique(ours.astype(np.uint64) << np.uint64(32) | theirs.astype(np.uint64))
    for a, b in zip(
        (pairs >> np.uint64(32)).tolist(), (pairs & np.uint64(0xFFFFFFFF)).tolist(), strict=True
    ):
        assert (a == 0) == (b == 0)
        if a:
            assert one.objects[a].class_id == other.objects[b].class_id
            assert one.objects[a].area == other.objects[b].area
    assert len(one.objects) == len(other.objects) == len(pairs[pairs > 0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.2, 0.95))
@settings(max_examples=12)
def test_export_and_import_give_the_same_pixels(seed: int, count: int, filled: float) -> None:
    rng = np.random.default_rng(seed)
    with TemporaryDirectory() as folder, Project.open(Path(folder) / "p") as project:
        project.set_classes(CLASSES)
        layer, again, third = (open_layer(project, name) for name in ("a", "b", "c"))
        for _ in range(count):
            h, w = rng.integers(1, 400, 2)
            y, x = rng.integers(0, 1000, 2).tolist()
            number = layer.new_id()
            mask = rng.random((h, w)) < filled if h * w < 4000 else np.ones((h, w), bool)
            row = ObjectRow(number, int(rng.integers(0, 3)))
            ids = np.full((h, w), number)
            layer.commit(layer.paint_edit(y, x, ids, mask, "draw", rows={number: row}))
        path = Path(folder) / "a.geojson"
        write_geojson(path, layer_features(layer, CLASSES))
        report = bring(project, again, path)
        same(layer, again)
        check_table(again)
        assert (report.objects, report.overlapping) == (len(layer.objects), 0)
        assert {row.how for row in again.objects.values()} <= {"import"}
        assert {row.author for row in again.objects.values()} <= {project.author}
        bring(project, third, project.slide_store("ab") / "masks" / "a")
        assert (pixels(third) > 0).tobytes() == (pixels(layer) > 0).tobytes()
        assert len(third.objects) == len(layer.objects)
        check_table(third)
        assert project.classes() == CLASSES


def test_an_import_is_one_edit(project: Project, tmp_path: Path) -> None:
    layer = open_layer(project)
    rng = np.random.default_rng(0)
    places = [(*rng.integers(0, 1200, 2).tolist(), 15, 20, "tumor") for _ in range(300)]
    bring(project, layer, boxes(tmp_path / "a.geojson", *places))
    (step,) = layer.history()
    assert step.text == "import a.geojson"
    done, table = pixels(layer), dict(layer.objects)
    assert len(table) > 250
    layer.undo()
    assert not pixels(layer).any()
    assert not layer.objects
    layer.redo()
    assert (pixels(layer) == done).all()
    assert dict(layer.objects) == table
    check_table(layer)


def test_the_smaller_one_is_above_whoever_was_there_first(project: Project, tmp_path: Path) -> None:
    layer = open_layer(project)
    small = layer.new_id()
    layer.commit(
        layer.paint_edit(
            100, 100, np.full((20, 20), small), None, "draw", {small: ObjectRow(small)}
        )
    )
    path = boxes(
        tmp_path / "a.geojson",
        (500, 500, 4, 4, ""),  # below nothing
        (90, 90, 200, 200, "tumor"),  # around what is there: below it
        (105, 105, 5, 5, "tumor"),  # in it: above
        (400, 400, 50, 50, ""),
        (400, 400, 40, 50, ""),
        (440, 400, 20, 50, ""),  # the last two cover the one before them
    )
    report = bring(project, layer, path)
    ids = pixels(layer)
    assert (ids[100:120, 100:120] == small).sum() == 400 - 25
    assert ids[105, 105] not in (0, small, ids[95, 95])
    assert report.objects == 5
    assert report.left_out == {HIDDEN: 1}
    assert report.overlapping == 5
    assert "5 overlap others" in report.summary()
    check_table(layer)


def test_the_same_file_again_takes_the_place_of_the_first(project: Project, tmp_path: Path) -> None:
    layer = open_layer(project)
    path = boxes(tmp_path / "a.geojson", (10, 10, 30, 30, "tumor"), (600, 600, 9, 9, "tumor"))
    bring(project, layer, path)
    first = set(layer.objects)
    report = bring(project, layer, path)
    assert (report.objects, report.overlapping) == (2, 2)
    assert not first & set(layer.objects)
    layer.undo()
    assert set(layer.objects) == first


def test_classes_are_found_by_name_and_made(project: Project, tmp_path: Path) -> None:
    layer = open_layer(project)
    path = boxes(
        tmp_path / "a.geojson",
        (10, 10, 9, 9, "Tumor"),
        (30, 30, 9, 9, "necrosis"),
        (50, 50, 9, 9, ""),
        (70, 70, 9, 9, "stroma"),
    )
    report = bring(project, layer, path)
    assert report.new_classes == ("necrosis",)
    *_, made = project.classes()
    assert (made.name, made.color) == ("necrosis", "#010203")
    ids = pixels(layer)
    found = [layer.objects[int(ids[n, n])].class_id for n in (12, 32, 52, 72)]
    assert found == [1, made.id, 0, 2]


def test_matching_of_names() -> None:
    both = (*CLASSES, AnnotationClass(7, "Tumor", "#111111"))
    wanted = [("TUMOR", ""), ("Tumor", ""), ("tumor", ""), ("fat", ""), ("Fat", "#222222")]
    assert missing_classes(both, wanted) == [("fat", "#cc79a7")]
    with_fat = (*both, AnnotationClass(9, "fat", "#333333"))
    assert class_ids(with_fat, wanted).tolist() == [1, 7, 1, 9, 9, 0]


def test_too_many_classes_change_nothing(project: Project, tmp_path: Path) -> None:
    layer = open_layer(project)
    many = [(4 * n, 10, 3, 3, f"kind {n}") for n in range(254)]
    with pytest.raises(ValueError, match="classes"):
        bring(project, layer, boxes(tmp_path / "a.geojson", *many))
    assert project.classes() == CLASSES
    assert not layer.history()


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_cancelled_import_changes_nothing(project: Project, tmp_path: Path, after: int) -> None:
    layer = open_layer(project)
    path = boxes(tmp_path / "a.geojson", *[(n * 100, n * 90, 99, 99, "new") for n in range(12)])
    job = import_job(layer, run(read_objects(path, LEVELS)), project.class_book, "a")
    for _ in range(after):
        next(job)
    job.close()
    assert not layer.history()
    assert not layer.objects
    assert not pixels(layer).any()
    assert bring(project, layer, path).objects == 12


def test_progress_says_how_far_it_is(project: Project, tmp_path: Path) -> None:
    layer = open_layer(project)
    path = boxes(tmp_path / "a.geojson", (0, 0, 1300, 1100, ""))
    seen: list[Progress] = []
    run(import_job(layer, run(read_objects(path, LEVELS)), project.class_book, "a"), seen.append)
    drawing = [each for each in seen if each.total == 9]
    assert [each.done for each in drawing][:9] == list(range(9))


def test_a_label_image_comes_in(project: Project, tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.uint16)
    values[10:700, 20:600] = 3
    values[800:810, 900:910] = 60_000
    np.save(tmp_path / "a.npy", values)
    report = bring(project, open_layer(project), tmp_path / "a.npy")
    assert report.objects == 2
    classes = bring(project, open_layer(project, "b"), tmp_path / "a.npy", meaning="classes")
    assert classes.new_classes == ("class 3", "class 60000")
    check_table(open_layer(project, "b"))


def test_nothing_to_import(project: Project, tmp_path: Path) -> None:
    layer = open_layer(project)
    report = bring(project, layer, boxes(tmp_path / "a.geojson", (5000, 5000, 9, 9, "new")))
    assert (report.objects, report.left_out) == (0, {"outside the slide": 1})
    assert not layer.history()
    assert project.classes() == CLASSES


def test_a_report_in_words() -> None:
    report = ImportReport(
        "a.geojson", "nuclei", 1200, 3, {"outside the slide": 2}, ("fat",), ("hm",)
    )
    assert report.summary() == (
        "1,200 new objects in “nuclei”, from a.geojson. New classes: fat. 3 overlap others: the "
        "smaller one is above. Left out: 2 outside the slide. Hm."
    )
