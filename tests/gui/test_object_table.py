from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QTableView

from napari_pathfm.analysis.find_objects import COLUMNS, Found, Query, find_objects
from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.core.jobs import run
from napari_pathfm.core.objects import ObjectArray, RowChanges
from napari_pathfm.gui.object_model import ObjectModel
from napari_pathfm.gui.object_table import ObjectTable, ObjectView
from napari_pathfm.io.objects import NO_OBJECTS

from .stage import CLASSES, Stage

Wait = Callable[[Callable[[], bool]], None]


def column(model: ObjectModel, name: str) -> list[str]:
    return [
        model.data(model.index(row, COLUMNS.index(name))) for row in range(min(model.rowCount(), 9))
    ]


def found(rows: ObjectArray, mpp: float | None = None, **query: Any) -> Found:
    table = NO_OBJECTS.with_changes(RowChanges(after=rows))
    return run(find_objects(table, CLASSES, mpp, Query(**query)))


def test_rows_say_class_maker_score_and_area_in_the_right_unit(qapp: object) -> None:
    model = ObjectModel()
    rows = ObjectArray.of(
        [
            ObjectRow(3, 2, "prompt", "litemedsam", score=0.914, area=4000, corrected=True),
            ObjectRow(1, 0, "brush", area=100),
        ]
    )
    model.show(found(rows), CLASSES, mpp=0.5)
    assert column(model, "id") == ["1", "3"]
    assert column(model, "class") == ["–", "stroma"]
    assert column(model, "made by") == ["hand", "prompt (litemedsam)"]
    assert column(model, "score") == ["", "0.91"]
    assert column(model, "area") == ["25", "1,000"]
    assert column(model, "corrected") == ["", "yes"]
    model.show(found(rows), CLASSES, mpp=None)
    assert column(model, "area") == ["100", "4,000"]
    horizontal = Qt.Orientation.Horizontal
    assert model.headerData(COLUMNS.index("area"), horizontal) == "area (px)"


def test_rows_that_stay_where_they_are_stay_selected(qapp: object) -> None:
    rows = ObjectArray.new(range(1, 21))
    model, view = ObjectModel(), QTableView()
    view.setModel(model)
    model.show(found(rows), CLASSES, None)
    view.selectRow(4)
    changes: list[str] = []
    model.rowsRemoved.connect(lambda _, first, last: changes.append(f"-{first}..{last}"))
    model.rowsInserted.connect(lambda _, first, last: changes.append(f"+{first}..{last}"))
    for some in (range(1, 23), range(1, 22), [*range(1, 11), *range(13, 22)], range(1, 22), []):
        model.show(found(ObjectArray.new(list(some))), CLASSES, None)
        assert model.ids.tolist() == list(some)
        assert model.rowCount() == len(some)
        if some:
            assert model.ids_of(view.selectionModel().selection()).tolist() == [5]
    assert changes == ["+20..21", "-21..21", "-10..11", "+10..11", "-0..20"]


def test_a_selection_follows_into_another_order(qapp: object) -> None:
    model = ObjectModel()
    rows = ObjectArray.new(np.arange(1, 3001), score=np.arange(3000) % 2)
    model.show(found(rows, column="score", descending=True), CLASSES, None)
    even = np.arange(2, 3001, 2, dtype=np.uint32)
    chosen = model.selection_of(even)
    assert len(chosen) == 1, "one run of rows"
    assert model.ids_of(chosen).tolist() == even.tolist()
    model.show(found(rows), CLASSES, None)
    assert not len(model.selection_of(even)), "too many pieces"
    assert model.row_of(7) == 6
    assert model.row_of(99_999) is None


def test_all_of_a_million_are_selected_without_asking_each(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, view, asked = ObjectModel(), ObjectView(), [0]
    qtbot.addWidget(view)
    view.setModel(model)
    model.show(found(ObjectArray.new(np.arange(1, 1_000_001)), column="area"), CLASSES, None)
    view.show()
    count = model.rowCount

    def counted(*parent: Any) -> int:
        asked[0] += 1
        return count(*parent)

    monkeypatch.setattr(ObjectModel, "rowCount", lambda self, *parent: counted(*parent))
    view.selectAll()
    QTest.qWait(50)
    assert len(model.ids_of(view.selectionModel().selection())) == 1_000_000
    assert asked[0] < 10_000


def test_an_object_that_is_gone_leaves_an_empty_row_until_the_next_look(qapp: object) -> None:
    model = ObjectModel()
    model.show(found(ObjectArray.new([1, 2], class_id=1)), CLASSES, None)
    model.update(found(ObjectArray.new([2], class_id=2)).table)
    assert column(model, "class") == ["", "stroma"]


def test_objects_are_listed_jumped_to_classified_and_deleted(
    stage: Stage, qtbot: object, wait: Wait
) -> None:
    table = ObjectTable(stage.session, stage.runner, stage.edits.history)
    qtbot.addWidget(table)  # type: ignore[attr-defined]
    table.show()
    for number in (1, 2, 3):
        square = np.full((20 * number, 20), number, np.uint32)
        stage.store.commit(stage.store.paint_edit(100 * number, 100, square, None, "square"))
    wait(lambda: table.model.rowCount() == 3)
    assert table.count.text() == "3 objects"
    jumped: list[int] = []
    table.jump.connect(jumped.append)
    place = table.view.visualRect(table.model.index(1, 0)).center()
    QTest.mouseClick(table.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert jumped == [2]
    assert table.selected().tolist() == [2]
    table.view.selectAll()
    table.classify_selected(2)
    wait(lambda: column(table.model, "class") == ["stroma"] * 3)
    assert table.selected().tolist() == [1, 2, 3], "what was selected stays selected"
    QTest.keyClick(table.view, Qt.Key.Key_Delete)
    wait(lambda: table.model.rowCount() == 0)
    assert not stage.store.read(0, 0, 0, 400, 200).any()
    stage.edits.history.undo()
    wait(lambda: table.model.rowCount() == 3)
    stage.edits.history.undo()
    wait(lambda: column(table.model, "class") == ["–"] * 3)


def test_shapes_of_objects_are_changed_and_several_become_one(
    stage: Stage, qtbot: object, wait: Wait
) -> None:
    table = ObjectTable(stage.session, stage.runner, stage.edits.history)
    qtbot.addWidget(table)  # type: ignore[attr-defined]
    table.show()
    ring = np.ones((60, 60), np.uint32)
    ring[20:40, 20:40] = 0
    two = np.full((60, 160), 2, np.uint32)
    two[:, 70:90] = 0
    for y, ids in ((100, ring), (300, two)):
        stage.store.commit(stage.store.paint_edit(y, 100, ids, ids > 0, "draw"))
    before = stage.store.read(0, 0, 0, 500, 500)
    wait(lambda: table.model.rowCount() == 2)
    menu = table.shape_button.menu()
    assert menu is not None
    verbs = {action.text(): action for action in menu.actions()}
    assert list(verbs) == ["Merge into one", "Split", "Fill holes", "Smooth", "Edit as polygon"]
    table.view.selectRow(0)
    verbs["Fill holes"].trigger()
    wait(lambda: bool((stage.store.read(0, 100, 100, 60, 60) == 1).all()))
    table.view.selectRow(1)
    verbs["Split"].trigger()
    wait(lambda: table.model.rowCount() == 3)
    assert set(np.unique(stage.store.read(0, 300, 100, 60, 160))) == {0, 2, 3}
    wait(lambda: not stage.edits.history.busy)
    table.view.selectAll()
    verbs["Merge into one"].trigger()
    wait(lambda: table.model.rowCount() == 1)
    for rows in (3, 2):
        stage.edits.history.undo()
        wait(lambda rows=rows: table.model.rowCount() == rows)
    stage.edits.history.undo()
    wait(lambda: not stage.edits.history.busy)
    np.testing.assert_array_equal(stage.store.read(0, 0, 0, 500, 500), before)


def test_new_names_and_colours_of_classes_show(stage: Stage, qtbot: object, wait: Wait) -> None:
    table = ObjectTable(stage.session, stage.runner, stage.edits.history)
    qtbot.addWidget(table)  # type: ignore[attr-defined]
    row = {1: ObjectRow(1, class_id=1)}
    square = np.ones((9, 9), np.uint32)
    stage.store.commit(stage.store.paint_edit(0, 0, square, None, "square", rows=row))
    wait(lambda: column(table.model, "class") == ["tumor"])
    stage.session.classes = (AnnotationClass(1, "carcinoma", "#ff0000"),)
    wait(lambda: column(table.model, "class") == ["carcinoma"])
    menu = table.class_button.menu()
    assert menu is not None
    assert [action.text() for action in menu.actions()] == ["carcinoma"]


def test_filtered_rows_are_selected_classified_and_deleted_in_one_edit_each(
    stage: Stage, qtbot: object, wait: Wait, tmp_path: Path
) -> None:
    table = ObjectTable(stage.session, stage.runner, stage.edits.history)
    qtbot.addWidget(table)  # type: ignore[attr-defined]
    table.show()
    for number in range(1, 6):
        row = {number: ObjectRow(number, class_id=1 if number == 5 else 0)}
        square = np.full((10 * number, 20), number, np.uint32)
        edit = stage.store.paint_edit(100 * number, 100, square, None, "square", rows=row)
        stage.store.commit(edit)
    wait(lambda: table.model.rowCount() == 5)
    table.filter.text.setText("area > ")
    assert not table.filter.problem.isHidden()
    table.filter.text.setText("area > 100, not tumor")  # µm², four pixels each
    wait(lambda: table.count.text() == "2 of 5 objects")
    assert table.filter.problem.isHidden()
    assert table.model.ids.tolist() == [3, 4]
    table.view.sortByColumn(COLUMNS.index("area"), Qt.SortOrder.DescendingOrder)
    wait(lambda: table.model.ids.tolist() == [4, 3])
    assert table.summary.lines[1:] == [("no class", "2", "350"), ("all", "2", "350")]
    table.summary.copy()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text().startswith("class\tobjects\tarea (µm²)\nno class\t2\t350")
    table.summary.save_objects(tmp_path / "objects.csv")
    wait(lambda: (tmp_path / "objects.csv").exists())
    table.summary.save_summary(tmp_path / "summary.csv")
    assert (tmp_path / "summary.csv").read_text().splitlines()[1] == "no class,2,350"
    steps = len(stage.store.history())
    table.all_button.click()
    table.classify_selected(2)
    wait(lambda: stage.store.objects.column("class_id").tolist() == [0, 0, 2, 2, 1])
    assert len(stage.store.history()) == steps + 1
    wait(lambda: column(table.model, "class") == ["stroma"] * 2)
    table.filter.text.clear()
    box = table.filter.class_box
    box.setCurrentIndex(box.findData(2))
    wait(lambda: table.model.ids.tolist() == [4, 3])
    table.all_button.click()
    table.delete_selected()
    wait(lambda: list(stage.store.objects) == [1, 2, 5])
    assert len(stage.store.history()) == steps + 2
    wait(lambda: table.model.rowCount() == 0)


def test_nothing_of_another_layer_stays_selected(stage: Stage, qtbot: object, wait: Wait) -> None:
    table = ObjectTable(stage.session, stage.runner, stage.edits.history)
    qtbot.addWidget(table)  # type: ignore[attr-defined]
    stage.store.commit(stage.store.paint_edit(9, 9, np.ones((9, 9), int), None, "square"))
    wait(lambda: table.model.rowCount() == 1)
    table.view.selectAll()
    stage.session.annotations = None
    assert not len(table.selected())
    assert table.model.rowCount() == 0
    stage.session.annotations = stage.store
    wait(lambda: table.model.rowCount() == 1)
