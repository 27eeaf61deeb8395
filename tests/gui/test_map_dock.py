from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_pathfm.analysis.map import MapCoordinates
from napari_pathfm.analysis.search import TileScores
from napari_pathfm.gui.map_dock import MapDock
from napari_pathfm.session import Session

from .explored import explored

Wait = Callable[[Callable[[], bool]], None]
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
NONE = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def session() -> Session:
    """100 tiles on a regular map of 10 by 10."""
    made, _ = explored()
    xy = np.stack(np.meshgrid(np.arange(10), np.arange(10)), -1).reshape(-1, 2)
    made.coordinates = MapCoordinates(np.arange(100), xy.astype(np.float32), "UMAP")
    return made


@pytest.fixture
def dock(qtbot: Any, session: Session) -> MapDock:
    made = MapDock(session)
    qtbot.addWidget(made)
    made.resize(340, 480)
    made.show()
    qtbot.waitExposed(made)
    made.refresh()
    made.view.fit()
    QApplication.processEvents()
    return made


def pixel(dock: MapDock, x: float, y: float) -> QPoint:
    """Where a place of the map is in the view's widget."""
    return dock.view.mapFromScene(dock.view.box.mapViewToScene(QPointF(x, y)))


def drag(
    qtbot: Any,
    dock: MapDock,
    corners: Sequence[tuple[float, float]],
    button: Any = LEFT,
    keys: Any = NONE,
) -> None:
    port = dock.view.viewport()
    path = [pixel(dock, *corner) for corner in corners]
    qtbot.mousePress(port, button, keys, path[0])
    for before, after in pairwise(path):
        for part in (0.5, 1.0):
            at = before + (after - before) * part
            qtbot.mouseMove(port, at)
            QApplication.processEvents()
    qtbot.mouseRelease(port, button, keys, path[-1])
    QApplication.processEvents()


SQUARE = [(1.5, 1.5), (4.5, 1.5), (4.5, 3.5), (1.5, 3.5), (1.5, 1.6)]
INSIDE = [22, 23, 24, 32, 33, 34]


def test_a_lasso_selects_the_tiles_inside(qtbot: Any, dock: MapDock, session: Session) -> None:
    drag(qtbot, dock, SQUARE)
    assert session.selection.tiles.tolist() == INSIDE


def test_shift_adds_and_alt_removes(qtbot: Any, dock: MapDock, session: Session) -> None:
    session.select(np.array([0, 22]))
    drag(qtbot, dock, SQUARE, keys=SHIFT)
    assert session.selection.tiles.tolist() == [0, *INSIDE]
    drag(qtbot, dock, [(x + 1, y) for x, y in SQUARE], keys=ALT)
    assert session.selection.tiles.tolist() == [0, 22, 32]


def test_a_click_selects_one_tile_and_beside_all_none(
    qtbot: Any, dock: MapDock, session: Session, wait: Wait
) -> None:
    port = dock.view.viewport()
    qtbot.mouseClick(port, LEFT, NONE, pixel(dock, 7.05, 2.05))
    assert session.selection.tiles.tolist() == [27]
    qtbot.mouseClick(port, LEFT, SHIFT, pixel(dock, 0, 9))
    assert session.selection.tiles.tolist() == [27, 90]
    qtbot.mouseClick(port, LEFT, ALT, pixel(dock, 7, 2))
    assert session.selection.tiles.tolist() == [90]
    qtbot.mouseClick(port, LEFT, NONE, pixel(dock, 4.5, 4.5))
    assert session.selection.tiles.tolist() == []


def test_the_right_button_moves_the_map_and_so_does_the_left_without_the_lasso(
    qtbot: Any, dock: MapDock, session: Session
) -> None:
    before = dock.view.box.viewRect().center()
    drag(qtbot, dock, [(5, 5), (7, 6)], button=RIGHT)
    after = dock.view.box.viewRect().center()
    assert after.x() == pytest.approx(before.x() - 2, abs=0.2)
    assert after.y() == pytest.approx(before.y() - 1, abs=0.2)
    dock.lasso_button.click()
    drag(qtbot, dock, [(5, 5), (3, 4)])
    assert dock.view.box.viewRect().center().x() == pytest.approx(before.x(), abs=0.3)
    assert len(session.selection) == 0


def test_the_wheel_zooms_where_the_mouse_is(dock: MapDock) -> None:
    before, at = dock.view.box.viewRect(), QPointF(pixel(dock, 3, 3))
    event = QWheelEvent(
        at,
        dock.view.viewport().mapToGlobal(at),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        NONE,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(dock.view.viewport(), event)
    assert dock.view.box.viewRect().width() < before.width()
    assert (QPointF(pixel(dock, 3, 3)) - at).manhattanLength() < 4


def test_selecting_on_the_slide_shows_on_the_map(
    dock: MapDock, session: Session, wait: Wait
) -> None:
    session.select(np.array([3, 4]))
    wait(lambda: "2 selected" in dock.status.text())
    marks = dock.view.cloud.marks
    assert marks is not None
    chosen = np.stack([marks.x, marks.y], 1)[marks.chosen]
    assert sorted(chosen.tolist()) == [[3, 0], [4, 0]]


def test_colours_follow_what_is_new(dock: MapDock, session: Session, wait: Wait) -> None:
    session.clusters = (np.arange(100) % 3).astype(np.int32)
    wait(lambda: "3&nbsp;(33)" in dock.legend.text())
    assert dock.color_by.currentText() == "Cluster"
    session.scores = TileScores(np.arange(100), np.linspace(0, 1, 100, dtype=np.float32), "alike")
    wait(lambda: "alike" in dock.legend.text())
    labels = np.zeros(100, np.uint8)
    labels[:7] = 1
    session.labels = labels
    wait(lambda: "tumor&nbsp;(7)" in dock.legend.text())
    assert dock.color_by.currentText() == "Label"
    session.clusters = None
    dock.color_by.setCurrentText("Cluster")
    wait(lambda: "No clusters yet" in dock.legend.text())


def test_says_why_there_is_no_map(dock: MapDock, session: Session, wait: Wait) -> None:
    session.coordinates = None
    wait(lambda: "Make map" in dock.message.text())
    session.set_embeddings(None)
    wait(lambda: "Embed the slide first" in dock.message.text())
    session.show_slide(None)
    wait(lambda: "Open a slide" in dock.message.text())
    assert dock.message.isVisible()
    assert not dock.view.isVisible()
    assert not dock.lasso_button.isEnabled()


def test_draws_a_hundred_thousand_points_quickly(
    qtbot: Any, dock: MapDock, session: Session
) -> None:
    count = 100_000
    xy = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    session.labels = np.zeros(count, np.uint8)
    session.coordinates = MapCoordinates(np.arange(count), xy, "PCA")
    dock.refresh()
    seconds = []  # of this thread's own work, whatever else the machine does
    for _ in range(5):
        dock.view.box.translateBy(x=0.01)
        start = time.thread_time()
        dock.view.viewport().repaint()
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 1 / 30


def test_a_closed_map_leaves_nothing_behind(qtbot: Any, session: Session) -> None:
    dock = MapDock(session)
    gone = weakref.ref(dock)
    connected = len(session.events.selection)
    dock.deleteLater()
    QApplication.sendPostedEvents(None, 52)  # QEvent.DeferredDelete
    session.select(np.array([1]))  # would raise if the dead widget were called
    assert len(session.events.selection) == connected - 1
    del dock
    gc.collect()
    assert gone() is None
