"""The navigator shows where the view is, and moves it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QObject, QPoint, QPointF, Qt
from qtpy.QtTest import QTest

from napari_pathfm.gui.commands import open_navigator
from napari_pathfm.gui.navigator import COLOR, Navigator
from napari_pathfm.gui.view import visible_region

from .window import Window

LEFT, PLAIN = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def navigator(window: Window, synthetic: Path, tmp_path: Path) -> Navigator:
    window.open(synthetic, tmp_path / "project")
    made = open_navigator(window.viewer)
    window.rest()
    window.driver.idle(0.3)
    return made


def shown_middle(window: Window) -> tuple[float, float]:
    """Middle of the view as parts of the slide's height and width."""
    y0, x0, y1, x1 = visible_region(window.viewer, window.session.slide)
    height, width = window.session.slide.levels[0].shape
    return (y0 + y1) / 2 / height, (x0 + x1) / 2 / width


def at(navigator: Navigator, y: float, x: float) -> QPoint:
    place = navigator.place()
    return (place.topLeft() + QPointF(x * place.width(), y * place.height())).toPoint()


def test_a_click_moves_the_view_there(window: Window, navigator: Navigator) -> None:
    QTest.mouseClick(navigator, LEFT, PLAIN, at(navigator, 0.25, 0.7))
    assert shown_middle(window) == pytest.approx((0.25, 0.7), abs=0.01)


def test_a_drag_takes_the_view_along_and_stays_on_the_slide(
    window: Window, navigator: Navigator
) -> None:
    QTest.mouseMove(navigator, at(navigator, 0.2, 0.3))
    assert shown_middle(window) == pytest.approx((0.5, 0.5), abs=0.01), "no button, no move"
    QTest.mousePress(navigator, LEFT, PLAIN, at(navigator, 0.5, 0.5))
    QTest.mouseMove(navigator, at(navigator, 0.75, 0.6))
    assert shown_middle(window) == pytest.approx((0.75, 0.6), abs=0.01)
    QTest.mouseMove(navigator, QPoint(-500, -500))
    assert shown_middle(window) == pytest.approx((0, 0), abs=0.01)


def test_it_shows_the_slide_and_what_is_visible(window: Window, navigator: Navigator) -> None:
    window.place.magnification.step(20)
    QTest.mouseClick(navigator, LEFT, PLAIN, at(navigator, 0.5, 0.5))
    window.driver.idle(0.2)
    image = navigator.grab().toImage()
    colors = {
        image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())
    }
    assert COLOR.name() in colors
    assert len(colors) > 500, "the thumbnail has many"


def test_it_is_cheap_while_the_view_moves(window: Window, navigator: Navigator) -> None:
    spent: list[float] = []
    for step in range(50):
        window.viewer.scene.camera.center = (0.0, 300.0 + 5 * step, 300.0)
        start = time.perf_counter()
        navigator.update_view()
        spent.append(time.perf_counter() - start)
    assert np.median(spent) < 1e-3


def test_moving_the_view_paints_the_rectangle_alone(window: Window, navigator: Navigator) -> None:
    window.place.magnification.step(20)
    window.driver.idle(0.3)
    scaled = navigator._scaled
    painted: list[int] = []

    class Paints(QObject):
        def eventFilter(self, _: object, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Paint:
                size = event.rect()
                painted.append(size.width() * size.height())
            return False

    paints = Paints()
    navigator.installEventFilter(paints)
    y, x = window.viewer.scene.camera.center[-2:]
    window.viewer.scene.camera.center = (0.0, y + 60, x)
    window.driver.wait(lambda: bool(painted), "the rectangle", 10)
    frame = navigator._frame()
    around = (frame.width() + 60) * (frame.height() + 60)
    assert painted[0] < around, (painted, frame)
    assert painted[0] < 0.5 * navigator.width() * navigator.height()
    assert navigator._scaled is scaled, "the thumbnail is scaled once"
