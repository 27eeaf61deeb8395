"""Magnification by keys and buttons, about the pointer, and the scale bar that goes with it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_pathfm.gui.magnification import STEPS
from napari_pathfm.gui.view import visible_region

from .window import Window

CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def opened(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    """A window with a slide that knows its pixel size."""
    window.open(synthetic, tmp_path / "project")
    return window


def screen_mpp(window: Window) -> float:
    """Micrometres per pixel of the screen, by what the canvas shows of the slide."""
    slide = window.session.slide
    y0, _, y1, _ = visible_region(window.viewer, slide)
    return (y1 - y0) * slide.mpp / window.driver.canvas.height()


def test_each_key_shows_its_magnification(opened: Window) -> None:
    bar = opened.dock.magnification
    for number, step in enumerate(STEPS, 1):
        opened.driver.press_key(str(number), CTRL)
        assert screen_mpp(opened) == pytest.approx(10 / step)
        opened.driver.idle(0.15)
        assert bar.shown.text() == f"now {step}×"


def test_keys_do_not_choose_classes(opened: Window) -> None:
    before = opened.place.edit_window.active.id
    opened.driver.press_key("2", CTRL)
    assert opened.place.edit_window.active.id == before


def test_a_key_keeps_what_is_under_the_pointer(opened: Window) -> None:
    driver, viewer = opened.driver, opened.viewer
    QTest.mouseMove(driver.canvas, QPoint(200, 150))
    driver.idle(0.05)
    QTest.mouseMove(driver.canvas, QPoint(210, 160))
    driver.idle(0.1)
    viewer.mouse_over_canvas = True  # a virtual display has no pointer that enters a window
    under = np.asarray(viewer.cursor.position)[-2:]
    driver.press_key("5", CTRL)
    camera, size = viewer.scene.camera, driver.canvas.size()
    offset = np.array((160 - size.height() / 2, 210 - size.width() / 2))
    now = np.asarray(camera.center)[-2:] + offset / camera.zoom
    np.testing.assert_allclose(now, under, atol=1.5 / camera.zoom)


def test_a_button_keeps_the_middle(opened: Window) -> None:
    center = opened.viewer.scene.camera.center
    opened.dock.magnification.buttons[10].click()
    assert opened.viewer.scene.camera.center == pytest.approx(center)
    assert opened.place.magnification.value() == pytest.approx(10)


def test_the_text_changes_rarely_while_the_view_moves(opened: Window) -> None:
    heard: list[int] = []
    opened.place.watch.moved.connect(lambda: heard.append(1))
    opened.driver.idle(0.2)
    heard.clear()
    start = time.perf_counter()
    for step in range(30):
        opened.viewer.scene.camera.zoom = 1 + step / 10
        opened.driver.idle(0.01)
    opened.driver.idle(0.15)
    assert 2 <= len(heard) <= (time.perf_counter() - start) * 10 + 1
    assert opened.dock.magnification.shown.text() == f"now {opened.place.magnification.text()}"


def test_a_slide_without_mpp_is_in_pixels(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "none.tif"
    tifffile.imwrite(path, np.full((900, 1200, 3), 210, np.uint8), tile=(256, 256))
    window.open(path, tmp_path / "project")
    bar = window.dock.magnification
    assert not bar.buttons[10].isEnabled()
    window.driver.idle(0.15)
    assert bar.shown.text().endswith("%")
    zoom = window.viewer.scene.camera.zoom
    window.driver.press_key("4", CTRL)
    window.heard("pixel size")
    assert window.viewer.scene.camera.zoom == zoom
    assert str(window.viewer.layers.units[-1]) == "pixel"
    window.dock.slide.mpp.setValue(0.25)
    window.driver.wait(lambda: bar.buttons[10].isEnabled(), "the buttons", 10)
    assert str(window.viewer.layers.units[-1]) == "micrometer"


def test_the_scale_bar_shows_while_a_slide_is_open(opened: Window) -> None:
    bar = opened.viewer.canvas.overlays.scale_bar
    assert bar.visible
    assert str(opened.viewer.layers.units[-1]) == "micrometer"
    opened.viewer.layers.clear()
    assert not bar.visible
