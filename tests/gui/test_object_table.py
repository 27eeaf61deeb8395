from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.gui.object_model import COLUMNS, ObjectModel
from napari_pathfm.gui.object_table import ObjectTable

from .stage import CLASSES, Stage

Wait = Callable[[Callable[[], bool]], None]


def column(model: ObjectModel, name: str) -> list[str]:
    return [
        model.data(model.index(row, COLUMNS.index(name))) for row in range(min(model.rowCount(), 9))
    ]


def test_rows_say_class_maker_score_and_area_in_the_right_unit(qapp: object) -> None:
    model = ObjectModel()
    rows = {
        3: ObjectRow(3, 2, "prompt", "litemedsam", score=0.914, area=4000, corrected=True),
        1: ObjectRow(1, 0, "brush", area=100),
    }
    model.show(rows, CLASSES, mpp=0.5)
    assert column(model, "id") == ["1", "3"]
    assert column(model, "class") == ["–", "stroma"]
    assert column(model, "made by") == ["hand", "prompt (litemedsam)"]
    assert column(model, "score") == ["", "0.91"]
    assert column(model, "area") == ["25", "1,000"]
    assert column(model, "corrected") == ["", "yes"]
    model.show(rows, CLASSES, mpp=None)
    assert column(model, "area") == ["100", "4,000"]
    horizontal = Qt.Orientation.Horizontal
    assert model.headerData(COLUMNS.index("area"), horizontal) == "area (px)"


def test_a_hundred_thousand_rows_are_sorted_by_number_not_by_text(
    qapp: object, capsys: pytest.CaptureFixture[str]
) -> None:
    areas = np.random.default_rng(0).permutation(100_000)
    rows = {i + 1: ObjectRow(i + 1, area=int(area)) for i, area in enumerate(areas)}
    model = ObjectModel()
    start = time.perf_counter()
    model.show(rows, CLASSES, None)
    model.sort(COLUMNS.index("area"), Qt.SortOrder.DescendingOrder)
    seconds = time.perf_counter() - start
    assert column(model, "area")[:2] == ["99,999", "99,998"]
    assert model.row_of(int(areas.argmax()) + 1) == 0
    with capsys.disabled():
        print(f"\n100,000 rows shown and sorted in {seconds * 1e3:.0f} ms")


def test_objects_are_listed_jumped_to_classified_and_deleted(
    stage: Stage, qtbot: object, wait: Wait
) -> None:
    table = ObjectTable(stage.session, stage.edits.history)
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
    assert table.selected() == [2]
    table.view.selectAll()
    table.classify_selected(2)
    wait(lambda: column(table.model, "class") == ["stroma"] * 3)
    assert sorted(table.selected()) == [1, 2, 3], "what was selected stays selected"
    QTest.keyClick(table.view, Qt.Key.Key_Delete)
    wait(lambda: table.model.rowCount() == 0)
    assert not stage.store.read(0, 0, 0, 400, 200).any()
    stage.edits.history.undo()
    wait(lambda: table.model.rowCount() == 3)
    stage.edits.history.undo()
    wait(lambda: column(table.model, "class") == ["–"] * 3)


def test_new_names_and_colours_of_classes_show(stage: Stage, qtbot: object, wait: Wait) -> None:
    table = ObjectTable(stage.session, stage.edits.history)
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
