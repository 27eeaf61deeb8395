"""Keys of ours work wherever the focus is left, and never while something is typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLineEdit, QWidget

from napari_pathfm.gui.class_counts import COUNT

from .window import Window

LEFT, PLAIN = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def segmenting(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    """The Segment step with one object, in front."""
    window.open(synthetic, tmp_path / "project")
    store = window.session.annotations
    store.commit(store.paint_edit(900, 900, np.full((90, 90), 1, np.uint32), None, "one"))
    window.dock.steps.open(window.dock.segment)
    window.viewer.window._qt_window.activateWindow()
    window.driver.idle(0.3)
    return window


def focused() -> QWidget:
    widget = QApplication.focusWidget()
    assert widget is not None
    return widget


def test_keys_work_after_a_click_on_a_class_or_an_object(segmenting: Window) -> None:
    panel, layers = segmenting.dock.segment, segmenting.viewer.layers
    classes, table = panel.classes.list, panel.table.view
    panel.tabs.setCurrentIndex(2)
    segmenting.driver.idle(0.5)
    for view, place in (
        (classes, classes.visualItemRect(classes.item(1)).center()),
        (table, table.visualRect(table.model().index(0, 1)).center()),
    ):
        QTest.mouseClick(view.viewport(), LEFT, PLAIN, place)
        assert focused() is view
        QTest.keyClick(view, "D")
        assert layers.selection.active.name == "annotations"
        assert layers.selection.active.mode == "paint"
        view.setFocus()
        QTest.keyClick(view, "3")
        assert panel.classes.list.currentRow() == 2
        QTest.keyClick(view, "B")
        assert layers.selection.active.name == "prompts: box"


def test_digits_and_letters_are_ours_on_everything_over_the_slide(segmenting: Window) -> None:
    layers, active = segmenting.viewer.layers, segmenting.place.edit_window.active
    segmenting.find_tiles()
    segmenting.session.select(np.array([0]))
    for name in ("tissue", "tiles", "selected tiles"):
        for key, number in (("2", 2), ("1", 1)):
            layers.selection.active = layers[name]
            segmenting.driver.press_key(key)
            assert active.id == number
            assert layers[name].mode == "pan_zoom", "a digit would let it be dragged about"


def test_no_key_of_ours_works_while_a_name_is_typed(segmenting: Window) -> None:
    classes, layers = segmenting.dock.segment.classes, segmenting.viewer.layers
    before = layers.selection.active
    QTest.mouseClick(classes.add_button, LEFT)
    editor = focused()
    assert isinstance(editor, QLineEdit)
    QTest.keyClicks(editor, "sncbdem2")
    assert layers.selection.active is before
    QTest.keyClick(editor, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert len(segmenting.session.annotations.objects) == 1
    editor.selectAll()
    QTest.keyClicks(editor, "necrosis")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    session, active = segmenting.session, segmenting.place.edit_window.active
    segmenting.driver.wait(lambda: session.classes[-1].name == "necrosis", "the class", 10)
    segmenting.driver.wait(lambda: active.id == session.classes[-1].id, "its being chosen", 10)
    assert segmenting.session.project.classes() == segmenting.session.classes


def test_a_class_that_is_not_chosen_yet_is_renamed_by_a_double_click(segmenting: Window) -> None:
    view = segmenting.dock.segment.classes.list
    place = view.visualItemRect(view.item(1)).center()
    QTest.mouseClick(view.viewport(), LEFT, PLAIN, place)
    QTest.mouseDClick(view.viewport(), LEFT, PLAIN, place)
    editor = focused()
    assert isinstance(editor, QLineEdit)
    editor.selectAll()
    view.item(1).setData(COUNT, "7")  # numbers come at any moment
    QTest.keyClicks(editor, "fat")
    view.item(1).setData(COUNT, "8")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    segmenting.driver.wait(lambda: segmenting.session.classes[1].name == "fat", "the name", 10)


def test_tab_leads_through_the_object_table(segmenting: Window) -> None:
    table = segmenting.dock.segment.table
    segmenting.dock.segment.tabs.setCurrentIndex(2)
    table.view.setFocus()
    QTest.keyClick(table.view, Qt.Key.Key_Tab)
    assert focused() is table.all_button
    QTest.keyClick(table.all_button, Qt.Key.Key_Tab)
    assert focused() is table.delete_button
    QTest.keyClick(table.delete_button, Qt.Key.Key_Tab)
    assert focused() is table.class_button
