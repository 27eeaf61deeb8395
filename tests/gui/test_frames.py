"""Frames that cost less look the same, and let others pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QComboBox

from napari_pathfm.gui.frames import AS_IT_IS, draws_in_software

from .window import Window


@pytest.fixture
def opened(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    window.open(synthetic, tmp_path / "project")
    window.rest()
    window.place.magnification.step(20)
    window.driver.wait(lambda: window.driver.canvas.isVisible(), "a canvas")
    window.driver.idle(0.5)
    return window


def canvas_of(window: Window) -> Any:
    return window.viewer.window._qt_viewer.canvas


def layer_of(window: Window) -> Any:
    return window.place.layers.layer(window.session.slide)


def picture(window: Window) -> NDArray[np.int64]:
    window.driver.idle(0.2)
    shot = window.viewer.screenshot(canvas_only=True, flash=False)
    return np.asarray(shot)[..., :3].astype(int)


def in_software(window: Window) -> None:
    if not draws_in_software(canvas_of(window)):
        pytest.skip("a graphics card draws here")


def test_colours_are_those_of_napari(opened: Window) -> None:
    ours = picture(opened)
    assert ours.std() > 10, "there is tissue"
    node = canvas_of(opened).layer_to_visual[layer_of(opened)].node
    assert node._func_templates["gamma"] == AS_IT_IS["gamma"]
    node._func_templates = type(node)._func_templates
    node._need_colortransform_update = True
    node.update()
    assert np.abs(picture(opened) - ours).max() <= 1


def test_gamma_and_contrast_still_work(opened: Window) -> None:
    layer, plain = layer_of(opened), picture(opened)
    layer.gamma = 0.5
    brighter = picture(opened)
    assert brighter.mean() > plain.mean() + 5
    layer.gamma = 1
    assert (picture(opened) == plain).all()
    layer.contrast_limits = (0, 128)
    assert picture(opened).mean() > plain.mean() + 5
    layer.contrast_limits = (0, 255)
    assert (picture(opened) == plain).all()


def test_the_canvas_is_composed_apart_from_the_docks(opened: Window) -> None:
    in_software(opened)
    if QGuiApplication.platformName() != "xcb":
        pytest.skip("only on X11")
    assert opened.driver.canvas.testAttribute(Qt.WidgetAttribute.WA_NativeWindow)


def test_others_are_served_between_the_pixels_and_their_frame(opened: Window) -> None:
    in_software(opened)
    order: list[str] = []

    class Frames(QObject):
        def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
            if event is not None and event.type() == QEvent.Type.Paint:
                order.append("frame")
            return False

    frames, timer = Frames(), QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: order.append("timer"))
    layer_of(opened).events.set_data.connect(lambda _: order.append("pixels"))
    opened.driver.canvas.installEventFilter(frames)
    y, x = opened.viewer.scene.camera.center[-2:]
    layer_of(opened).corner_pixels = np.zeros((2, 2), int)  # as after a jump from somewhere else
    opened.viewer.scene.camera.center = (0.0, y + 20, x + 20)
    timer.start(0)
    opened.driver.wait(lambda: "frame" in order, "a frame", 20)
    assert order[: order.index("frame") + 1] == ["pixels", "timer", "frame"]


def test_the_level_is_shown_when_the_view_rests(opened: Window) -> None:
    layer = layer_of(opened)
    controls = opened.viewer.window._qt_viewer.controls.widgets[layer]
    (shown,) = (
        box for box in controls.findChildren(QComboBox) if box.itemText(0).startswith("Auto (")
    )
    before = shown.itemText(0)
    meanwhile: list[str] = []
    layer.events.set_data.connect(lambda _: meanwhile.append(shown.itemText(0)), position="last")
    opened.place.magnification.step(2)
    opened.driver.wait(lambda: f"Auto ({layer.data_level})" != before, "another level", 20)
    assert meanwhile[0] == before, "not while the view moves"
    opened.driver.wait(lambda: shown.itemText(0) == f"Auto ({layer.data_level})", "its number", 20)


def test_a_texture_with_room_shows_the_same(opened: Window) -> None:
    in_software(opened)
    node = canvas_of(opened).layer_to_visual[layer_of(opened)].node
    camera, layer = opened.viewer.scene.camera, layer_of(opened)
    camera.zoom *= 0.43
    for _ in range(30):  # a level's worth of steps; how many pixels each shows is the window's
        layer.corner_pixels = np.zeros((2, 2), int)  # or napari might keep what it has
        camera.zoom *= 1.05
        opened.driver.idle(0.1)
        if node._texture.shape != node._data.shape:
            break
    else:
        pytest.fail("each step of the zoom made a texture of its own")
    assert all(np.greater_equal(node._texture.shape, node._data.shape))
    ours = picture(opened)
    assert ours.std() > 10, "there is tissue"
    layer.interpolation2d = "linear"
    picture(opened)
    assert node._texture.shape == node._data.shape, "other interpolations reckon with that"
    layer.interpolation2d = "nearest"
    assert (picture(opened) == ours).all()


def test_the_box_of_the_scale_bar_stays_as_it_is(opened: Window) -> None:
    in_software(opened)
    overlay = opened.viewer.canvas.overlays.scale_bar
    (visual,) = canvas_of(opened)._viewer_overlay_to_visual[overlay]
    camera, lengths, widths = opened.viewer.scene.camera, set(), set()
    for _ in range(5):
        camera.zoom *= 1.17
        opened.driver.idle(0.1)
        lengths.add(visual._current_length)
        widths.add(visual.box.width)
        line = visual.node.line.pos
        assert np.isclose(line[:, 0].mean(), visual.x_size / 2), "the bar is in its middle"
    assert len(lengths) == 5
    assert len(widths) == 1


def test_what_is_under_the_pointer_is_told_less_often_and_at_rest(opened: Window) -> None:
    in_software(opened)
    thread = opened.viewer.window._qt_window.status_thread  # type: ignore[attr-defined]
    wanted, times = thread._need_status_update, 0  # the thread itself does not run in tests
    y, x = opened.viewer.scene.camera.center[-2:]
    opened.driver.idle(0.3)
    wanted.clear()
    for step in range(30):
        opened.driver.move((y + step, x + step))
        opened.driver.idle(0.005)
        times += wanted.is_set()
        wanted.clear()
    assert times < 15
    opened.driver.move((y, x))
    opened.driver.idle(0.3)
    assert wanted.is_set()


class Paints(QObject):
    """Counts how often a widget is painted."""

    def __init__(self, widget: Any) -> None:
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_the_list_of_layers_is_painted_for_what_it_shows_alone(opened: Window) -> None:
    layers = opened.viewer.window._qt_viewer.layers
    if not layers.isVisible():
        opened.viewer.window._qt_viewer.dockLayerList.setVisible(True)
    opened.driver.wait(layers.isVisible, "the list")
    opened.driver.idle(0.5)
    paints, layer = Paints(layers.viewport()), layer_of(opened)
    layer.events.set_data()
    opened.driver.idle(0.2)
    assert paints.count == 0
    layer.name = "another"
    opened.driver.wait(lambda: paints.count > 0, "the name")
