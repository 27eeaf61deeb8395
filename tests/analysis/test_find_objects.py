from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.analysis.find_objects import COLUMNS, Found, Query, check_filter, find_objects
from napari_pathfm.analysis.object_csv import summary, write_objects, write_summary
from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.core.jobs import run
from napari_pathfm.core.objects import ObjectArray, RowChanges
from napari_pathfm.io.objects import ObjectTable

CLASSES = (AnnotationClass(2, "tumor", "#ff0000"), AnnotationClass(1, "stroma", "#00ff00"))
ROWS = (
    ObjectRow(1, 1, "brush", author="ann", area=100, box=(1, 2, 3, 4)),
    ObjectRow(2, 2, "prompt", "litemedsam", score=0.9, corrected=True, area=400, author="bob"),
    ObjectRow(3, 0, "predict", "StarDist", score=0.25, area=80),
    ObjectRow(2000, 2, "import", area=100),
)
TABLE = ObjectTable({}, lambda key: "").with_changes(RowChanges(after=ObjectArray.of(ROWS)))


def found(mpp: float | None = None, **query: object) -> Found:
    return run(find_objects(TABLE, CLASSES, mpp, Query(**query)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", [1, 2, 3, 2000]),
        ("area > 100", [2]),
        ("area >= 100, not tumor", [1]),
        ("score<0.5 and not hand", [3, 2000]),
        ("not corrected", [1, 3, 2000]),
        ("corrected", [2]),
        ("TUMOR", [2, 2000]),
        ("stardist", [3]),
        ("prediction", [3]),
        ("no class", [3]),
        ("bob", [2]),
        ("2000", [2000]),
        ("id != 2000, id == 2", [2]),
        ("nothing of this name", []),
        (" , ", [1, 2, 3, 2000]),
    ],
)
def test_what_is_typed_is_found(text: str, ids: list[int]) -> None:
    assert found(text=text).ids.tolist() == ids
    check_filter(text)


def test_a_filter_that_is_not_finished_says_how_to_go_on() -> None:
    with pytest.raises(ValueError, match="area > 50"):
        check_filter("area > ")
    with pytest.raises(ValueError, match="needs a number"):
        found(text="tumor, score < much")


def test_areas_are_meant_in_square_micrometres_where_there_is_a_mpp() -> None:
    assert found(mpp=0.5, text="area > 50").ids.tolist() == [2]
    assert found(mpp=0.5, text="area > 20 µm²").ids.tolist() == [1, 2, 2000]


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        ("id", [1, 2, 3, 2000]),
        ("class", [3, 1, 2, 2000]),
        ("made by", [1, 2000, 3, 2]),
        ("score", [1, 2000, 3, 2]),
        ("area", [3, 1, 2000, 2]),
        ("corrected", [1, 3, 2000, 2]),
    ],
)
def test_every_column_sorts(column: str, ids: list[int]) -> None:
    assert column in COLUMNS
    assert found(column=column).ids.tolist() == ids
    assert found(column=column, descending=True).ids.tolist() == ids[::-1]


def test_one_class_alone_and_what_is_shown_adds_up() -> None:
    assert found(class_id=2).ids.tolist() == [2, 2000]
    assert found(class_id=0).ids.tolist() == [3]
    assert summary(found(), CLASSES, 0.5) == [
        ("class", "objects", "area (µm²)"),
        ("tumor", "2", "125"),
        ("stroma", "1", "25"),
        ("no class", "1", "20"),
        ("all", "4", "170"),
    ]
    assert summary(found(class_id=2), CLASSES, None)[1:] == [
        ("tumor", "2", "500"),
        ("all", "2", "500"),
    ]


def test_tables_are_written_as_they_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "objects.csv"
    run(write_objects(path, found(column="area", descending=True), CLASSES, 0.5))
    head, first, *rest = path.read_text(encoding="utf-8").splitlines()
    assert head == (
        "id,class,made by,model,author,score,corrected,area (px),area (µm²),y0,x0,y1,x1"
    )
    assert first == "2,tumor,prompt,litemedsam,bob,0.9,yes,400,100.0,0,0,0,0"
    assert [line.split(",")[0] for line in rest] == ["2000", "1", "3"]
    run(write_objects(path, found(), CLASSES, None))
    assert "µm²" not in path.read_text(encoding="utf-8")
    write_summary(path, summary(found(), CLASSES, None))
    assert path.read_text(encoding="utf-8").splitlines()[1] == "tumor,2,500"


def test_nothing_at_all_is_no_error() -> None:
    for column in COLUMNS:
        empty = ObjectTable({}, lambda key: "")
        answer = run(find_objects(empty, CLASSES, 0.5, Query("tumor, area > 3", None, column)))
        assert not len(answer.ids)
        assert summary(answer, CLASSES, 0.5)[1:] == [("all", "0", "0")]


def test_ids_come_as_they_are_kept() -> None:
    assert found().ids.dtype == np.uint32
