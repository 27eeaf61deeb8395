"""Objects come in from files and from shapes, by the button, the menus and the mouse."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from napari._app_model import get_app_model
from napari.layers import Shapes
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_pathfm.core.jobs import Job, Progress
from napari_pathfm.gui import layer_context
from napari_pathfm.gui.commands import import_objects, shapes_to_objects
from napari_pathfm.gui.view import to_data
from napari_pathfm.io.project import Project

from .window import Window


def outlines(path: Path, count: int = 3) -> Path:
    """Squares of 40 pixels in a row, in one class."""
    features = []
    for number in range(count):
        x, y = 100 + 60 * number, 200
        ring = [[x, y], [x + 40, y], [x + 40, y + 40], [x, y + 40], [x, y]]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"classification": {"name": "Lymphocyte", "color": [0, 200, 0]}},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def opened(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    window.open(synthetic, tmp_path / "project")
    return window


def wait_for(window: Window, count: int) -> None:
    store = window.session.annotations
    assert store is not None
    window.driver.wait(lambda: len(store.objects) == count, f"{count} objects", 60)
    window.rest()


def drop(window: Window, path: Path) -> None:
    """Drop a file onto the dock."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dock.dropEvent(event)


def test_a_file_by_the_button_and_back(
    opened: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, path = opened, outlines(tmp_path / "a.geojson")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    bar = window.dock.segment.imports
    first, *_ = bar.button.menu().actions()
    first.trigger()
    wait_for(window, 3)
    store = window.session.annotations
    assert store.read(0, 200, 160, 1, 1)[0, 0] in store.objects
    assert [one.name for one in window.session.classes][-1] == "Lymphocyte"
    assert window.session.classes[-1].color == "#00c800"
    window.heard("3 new objects", "Lymphocyte")
    assert "3 new objects" in bar.result.text()
    history = window.place.edit_window.history
    assert history.undo_text() == "import a.geojson"
    button = window.dock.segment.undo_button
    assert button.text().startswith("Undo import a.ge")
    assert button.toolTip() == "Ctrl+Z: import a.geojson"
    history.undo()
    wait_for(window, 0)
    history.redo()
    wait_for(window, 3)


def test_wide_names_do_not_widen_the_panel(opened: Window, tmp_path: Path) -> None:
    panel, history = opened.dock.segment, opened.place.edit_window.history
    opened.dock.steps.open(panel)
    opened.rest()
    width = panel.minimumSizeHint().width()
    drop(opened, outlines(tmp_path / f"{'WIDE_' * 20}.geojson"))
    wait_for(opened, 3)
    drop(opened, outlines(tmp_path / f"{'WIDER_' * 20}.geojson"))
    opened.driver.wait(lambda: "WIDER_" in history.undo_text(), "the second file", 60)
    history.undo()
    opened.driver.wait(lambda: "WIDER_" in history.redo_text(), "undone", 60)
    opened.driver.wait(lambda: panel.minimumSizeHint().width() > width, "the longer names", 60)
    assert "WIDE_" in panel.undo_button.toolTip()
    assert "WIDER_" in panel.redo_button.toolTip()
    assert panel.minimumSizeHint().width() <= 334, "what the dock leaves of its width"


def test_what_is_dropped_on_the_dock_and_on_the_window(opened: Window, tmp_path: Path) -> None:
    drop(opened, outlines(tmp_path / "a.geojson", 2))
    wait_for(opened, 2)
    layers = list(opened.viewer.layers)
    opened.viewer.open(str(outlines(tmp_path / "b.geojson", 4)), plugin="napari-pathfm")
    wait_for(opened, 4)  # the smaller one of two alike is the new one
    assert list(opened.viewer.layers) == layers


def test_without_a_slide_the_user_is_told(window: Window, tmp_path: Path) -> None:
    drop(window, outlines(tmp_path / "a.geojson"))
    window.heard("Open the slide first")
    import_objects(window.viewer)
    shapes_to_objects(window.viewer)
    window.heard("Choose a layer of shapes")


def test_a_project_that_is_read_only_takes_none(
    opened: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Project, "read_only", True)
        drop(opened, outlines(tmp_path / "a.geojson"))
        opened.heard("read only", "choose another folder")
    assert not opened.place.runner.busy(f"import {tmp_path / 'a.geojson'}")


def test_a_broken_file_is_said(opened: Window, tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text('{"features": [')
    drop(opened, tmp_path / "a.geojson")
    opened.heard("Importing a.geojson", "ends in the middle")
    assert not opened.session.annotations.objects


def test_the_user_says_what_values_mean(
    opened: Window, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.zeros(opened.session.annotations.shape, np.uint8)
    values[100:200, 100:200] = values[400:500, 400:500] = 5
    np.save(tmp_path / "a.npy", values)
    shown: list[QMessageBox] = []
    monkeypatch.setattr(QMessageBox, "exec", lambda box: shown.append(box))
    for answer, count in (("Cancel", 0), ("Objects", 1), ("Classes", 2)):
        monkeypatch.setattr(QMessageBox, "clickedButton", lambda box, a=answer: button_of(box, a))
        opened.place.importing.open(tmp_path / "a.npy")
        wait_for(opened, count)
    assert len(shown) == 3


def button_of(box: QMessageBox, text: str) -> object:
    return next(each for each in box.buttons() if each.text().strip("&") == text)


def test_shapes_become_objects_where_they_lie(opened: Window) -> None:
    window, session = opened, opened.session
    window.place.edit_window.active.choose_digit(2)
    scale = session.slide.mpp or 1.0
    shapes = Shapes(scale=(2 * scale, 2 * scale), translate=(10 * scale, 0), name="mine")
    window.viewer.add_layer(shapes)

    def data(*places: tuple[float, float]) -> np.ndarray:
        """Level-0 positions in the layer's own coordinates."""
        return (to_data(np.array(places)) - (10, 0)) / 2

    shapes.add_rectangles(data((100, 200), (100, 260), (130, 260), (130, 200)))
    shapes.add_polygons(data((300, 300), (300, 340), (340, 340)))
    shapes.add_ellipses(data((400, 400), (400, 500), (440, 500), (440, 400)))
    shapes.add_paths(data((600, 600), (600, 620), (620, 620), (620, 600), (600, 600)))
    shapes.add_paths(data((700, 700), (700, 720), (720, 720)))
    shapes.add_lines(data((800, 800), (800, 820)))
    window.viewer.layers.selection = {shapes}
    shapes_to_objects(window.viewer)
    wait_for(window, 4)
    store = session.annotations
    rows = sorted(store.objects.values(), key=lambda row: row.box)
    assert [row.box for row in rows] == [
        (100, 200, 130, 260),
        (300, 300, 340, 340),
        (400, 400, 440, 500),
        (600, 600, 620, 620),
    ]
    assert [row.area for row in rows[::3]] == [1800, 400]
    assert rows[1].area == pytest.approx(800, abs=25)
    assert rows[2].area == pytest.approx(np.pi * 20 * 50, rel=0.01)
    assert {row.class_id for row in rows} == {session.classes[1].id}
    window.heard("2 lines and open paths")
    assert not shapes.visible
    window.place.edit_window.history.undo()
    wait_for(window, 0)


def test_the_list_of_layers_offers_it(opened: Window) -> None:
    app = get_app_model()
    entries = [
        item
        for item in app.menus.get_menu(layer_context.MENU)
        if getattr(getattr(item, "command", None), "id", "") == layer_context.SHAPES_TO_OBJECTS
    ]
    assert len(entries) == 1
    when = entries[0].when
    assert when.eval({"num_selected_shapes_layers": 1, "num_selected_layers": 1})
    assert not when.eval({"num_selected_shapes_layers": 0, "num_selected_layers": 1})
    shapes = opened.viewer.add_shapes(np.array([[10, 10], [10, 60], [60, 60], [60, 10.0]]))
    opened.viewer.layers.selection = {shapes}
    app.commands.execute_command(layer_context.SHAPES_TO_OBJECTS).result()
    wait_for(opened, 1)


def test_a_window_that_is_closed_stops_an_import(opened: Window, tmp_path: Path) -> None:
    place, store = opened.place, opened.session.annotations
    history = place.edit_window.history
    started = threading.Event()

    def endless(_: object) -> Job[None]:
        while True:
            started.set()
            yield Progress(0, 0, "importing")

    history.work("an import", endless)
    history.work("another one", endless)
    assert started.wait(30)
    history.flush()
    assert not history.busy
    assert not store.history()
