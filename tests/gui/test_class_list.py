from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit

from napari_pathfm.core.edits import ObjectRow
from napari_pathfm.gui.class_counts import COUNT
from napari_pathfm.gui.class_list import ClassList
from napari_pathfm.gui.label_codes import code_of
from napari_pathfm.io.masks import AnnotationLayer

from .stage import Stage
from .window import Window

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def classes(stage: Stage, qtbot: object) -> Iterator[ClassList]:
    edits = stage.edits
    made = ClassList(stage.session, edits.active, edits.class_changes, stage.runner)
    qtbot.addWidget(made)  # type: ignore[attr-defined]
    made.show()
    yield made
    stage.settle()


def square(layer: AnnotationLayer, number: int, class_id: int, x: int = 800) -> None:
    ids = np.full((50, 50), number, np.uint32)
    rows = {number: ObjectRow(number, class_id)}
    layer.commit(layer.paint_edit(600, x, ids, None, "brush", rows=rows))


def names(stage: Stage) -> list[str]:
    return [one.name for one in stage.session.classes]


def test_a_merge_asks_says_what_it_concerns_and_is_undone_in_one_step(
    stage: Stage, classes: ClassList, wait: Wait
) -> None:
    nuclei = AnnotationLayer.open(stage.project, "other", "nuclei", (900, 900))
    square(stage.store, 1, 1)
    square(stage.store, 2, 2, 900)
    square(nuclei, 1, 1, 0)
    stage.project.set_labels("other", "grid", {4: 1})
    stage.look(625, 850)
    classes.merge_action.trigger()
    dialog = classes.dialog
    assert dialog is not None
    assert [dialog.box.itemText(i) for i in range(dialog.box.count())] == ["stroma"]
    wait(lambda: "Counting" not in dialog.count.text())
    assert dialog.count.text() == "It has 2 objects in 2 slides and 1 labelled tile."
    dialog.ok_button.click()
    wait(lambda: names(stage) == ["stroma"])
    assert stage.edits.active.id == 2
    assert stage.store.objects[1].class_id == nuclei.objects[1].class_id == 2
    assert stage.edits.layer is not None
    drawn = stage.edits.layer
    wait(lambda: (drawn.data == code_of(1, 2)).any())  # it has the other colour at once
    stage.press("Control+Z")
    wait(lambda: names(stage) == ["tumor", "stroma"])
    assert (stage.store.objects[1].class_id, stage.store.objects[2].class_id) == (1, 2)
    wait(lambda: (drawn.data == code_of(1, 1)).any())


def test_a_class_is_deleted_and_its_objects_stay_without(
    stage: Stage, classes: ClassList, wait: Wait
) -> None:
    square(stage.store, 1, 1)
    classes.delete_action.trigger()
    dialog = classes.dialog
    assert dialog is not None
    assert [dialog.box.itemText(i) for i in range(dialog.box.count())] == ["no class", "stroma"]
    dialog.ok_button.click()
    wait(lambda: names(stage) == ["stroma"])
    assert stage.store.objects[1].class_id == 0


def test_a_new_class_is_written_when_its_name_is(
    stage: Stage, classes: ClassList, wait: Wait
) -> None:
    classes.add_button.click()
    editor = classes.list.findChild(QLineEdit)
    assert editor is not None
    assert editor.text() == "class 3"
    QTest.keyClick(editor, Qt.Key.Key_Escape)
    stage.settle()
    assert names(stage) == ["tumor", "stroma"]
    assert classes.list.count() == 2
    classes.add_button.click()
    QTest.keyClicks(classes.list.findChildren(QLineEdit)[-1], "fat")
    QTest.keyClick(classes.list.findChildren(QLineEdit)[-1], Qt.Key.Key_Return)
    wait(lambda: names(stage) == ["tumor", "stroma", "fat"])
    wait(lambda: stage.edits.active.id == 3)
    assert [step.text for step in stage.store.history()] == ["add class fat"]


def test_the_order_decides_the_digits(stage: Stage, classes: ClassList, wait: Wait) -> None:
    classes.list.insertItem(0, classes.list.takeItem(1))  # as a drag leaves them
    classes.list.dropped.emit()
    wait(lambda: names(stage) == ["stroma", "tumor"])
    stage.press("1")
    assert stage.edits.active.id == 2
    assert [one.name for one in stage.project.classes()] == ["stroma", "tumor"]


def test_a_name_that_is_taken_is_refused(
    stage: Stage, classes: ClassList, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari_pathfm.gui.notify.warn", told.append)
    classes.rename(1, "stroma")
    classes.add(" ")
    assert told == ["a class needs a name of its own: type another one"] * 2
    assert not stage.store.history()


def test_each_class_says_how_much_of_it_there_is(
    stage: Stage, classes: ClassList, wait: Wait
) -> None:
    def lines() -> list[str]:
        return [classes.list.item(row).data(COUNT) for row in range(classes.list.count())]

    wait(lambda: lines() == ["0", "0"])
    square(stage.store, 1, 1)
    square(stage.store, 2, 1, 900)
    wait(lambda: lines() == ["2", "0"])
    tip = classes.list.item(0).toolTip()
    assert tip == f"2 objects, {2 * 50 * 50 * 0.25:,.0f} µm² in this layer"
    stage.project.class_book.change("merge", lambda now: now.without(1, 2))
    wait(lambda: lines() == ["2"])
    stage.session.annotations = None
    assert lines() == [""]


def test_labelled_tiles_follow_a_merge_and_its_undo(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    window.find_tiles()
    session, driver = window.session, window.driver
    first, second = session.classes[0].id, session.classes[1].id
    session.select(np.array([1, 2]))
    box = window.dock.explore.labels
    box.class_box.setCurrentIndex(box.class_box.findData(first))
    box.label_selection()
    assert session.labels[[1, 2]].tolist() == [first, first]
    window.dock.segment.classes.remove(first, second)
    driver.wait(lambda: session.labels[1] == second, "the other class", 20)
    window.place.edit_window.history.undo()
    driver.wait(lambda: session.labels[1] == first, "the class as before", 20)
