"""Two slides beside each other: one scale, one of them worked on, the other a click away."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pathfm.gui.side_by_side import NAMES, left_edges
from napari_pathfm.io.reader import SlideReader, open_slide

from .window import Window

Write = Any


@pytest.fixture
def two(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    """The synthetic slide and a darker one, opened later."""
    import tifffile

    with open_slide(synthetic) as slide:
        pixels = slide.read(0, 0, 0, 1500, 1200) // 2
    tifffile.imwrite(
        tmp_path / "dark.tif",
        pixels,
        tile=(256, 256),
        photometric="rgb",
        resolution=(1e4 / 1.0, 1e4 / 1.0),
        resolutionunit="CENTIMETER",
    )
    shutil.copy(synthetic, tmp_path / "light.tif")
    window.open(tmp_path / "light.tif", tmp_path / "project")
    window.rest()
    window.place.open(tmp_path / "dark.tif")
    window.driver.wait(lambda: len(window.session.slides) == 2, "the second slide", 60)
    window.driver.wait(lambda: window.session.annotations is not None, "its masks", 60)
    window.dock.view_menu.beside.setChecked(True)
    window.driver.idle(0.3)
    return window


def by_name(window: Window, name: str) -> SlideReader:
    return next(slide for slide in window.session.slides if slide.name == name)


def box(window: Window, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners in world units."""
    extent = window.place.layers.layer(by_name(window, name)).extent.world
    return extent[0], extent[1]


def names_of(window: Window) -> list[str]:
    return [name.strip() for name in window.viewer.layers[NAMES].features["name"]]


def on_canvas(window: Window, world: np.ndarray) -> np.ndarray:
    camera, size = window.viewer.scene.camera, np.array(window.viewer.canvas.size)
    return (world - np.array(camera.center[-2:])) * camera.zoom + size / 2


def click(window: Window, world: np.ndarray) -> None:
    point = window.driver._on_canvas((float(world[0]), float(world[1])))
    canvas = window.driver.canvas
    QTest.mouseMove(canvas, point)
    window.driver.idle(0.05)
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
    window.driver.idle(0.3)


def test_they_lie_in_a_row_at_one_scale(two: Window) -> None:
    edges = left_edges(two.session.slides)
    light, dark = by_name(two, "light"), by_name(two, "dark")
    assert edges[light.id] == 0
    assert edges[dark.id] > light.levels[0].shape[1] * light.mpp
    assert two.session.slide is dark
    assert box(two, "dark")[0] == pytest.approx((0, 0), abs=1), "the one that is worked on"
    assert box(two, "light")[1][1] < 0
    for name in ("light", "dark"):
        slide = by_name(two, name)
        assert two.place.layers.layer(slide).visible
        corners = box(two, name)
        sides = np.array(slide.levels[0].shape) * slide.mpp
        np.testing.assert_allclose(corners[1] - corners[0], sides, rtol=0.01)
        shown = [on_canvas(two, corner) for corner in corners]
        assert (shown[0] > -1).all()
        assert (shown[1] < np.array(two.viewer.canvas.size) + 1).all()
    assert sorted(names_of(two)) == ["dark", "light"]


def test_a_click_chooses_and_nothing_moves_on_the_screen(two: Window) -> None:
    before = {name: on_canvas(two, box(two, name)[0]) for name in ("light", "dark")}
    click(two, np.mean(box(two, "light"), axis=0))
    two.driver.wait(lambda: two.session.slide is by_name(two, "light"), "the choice", 10)
    two.driver.idle(0.3)
    assert box(two, "light")[0] == pytest.approx((0, 0), abs=1)
    for name, place in before.items():
        np.testing.assert_allclose(on_canvas(two, box(two, name)[0]), place, atol=1)
    names = two.viewer.layers[NAMES]
    shown = dict(zip(names_of(two), names.data, strict=True))
    np.testing.assert_allclose(shown["dark"][1], box(two, "dark")[0][1], atol=1)


def test_what_is_painted_is_on_the_slide_that_is_worked_on(two: Window) -> None:
    click(two, np.mean(box(two, "light"), axis=0))
    two.driver.wait(lambda: two.session.annotations is not None, "the masks", 20)
    window = two.place.edit_window
    window.paint()
    window.layer.brush_size = 30
    two.driver.idle(0.3)
    light = by_name(two, "light")
    y, x = np.array(light.levels[0].shape) * light.mpp / 2
    two.driver.drag((y, x), (y + 20, x + 60))
    store = two.session.annotations
    two.driver.wait(lambda: len(store.objects) == 1, "the stroke", 20)
    (number,) = list(store.objects)
    y0, x0, y1, x1 = store.objects[number].box
    assert y0 < y / light.mpp < y1
    assert x0 < x / light.mpp < x1


def test_closing_one_leaves_the_other(two: Window) -> None:
    two.viewer.layers.remove(two.place.layers.layer(by_name(two, "dark")))
    two.driver.wait(lambda: two.session.slide is not None, "the other", 10)
    two.driver.idle(0.3)
    assert [slide.name for slide in two.session.slides] == ["light"]
    assert two.session.slide.name == "light"
    assert names_of(two) == ["light"]


def test_off_shows_one_alone_where_it_was(two: Window) -> None:
    two.dock.view_menu.beside.setChecked(False)
    two.driver.idle(0.3)
    assert NAMES not in two.viewer.layers
    light, dark = (two.place.layers.layer(by_name(two, name)) for name in ("light", "dark"))
    assert (dark.visible, light.visible) == (True, False)
    assert box(two, "light")[0] == pytest.approx((0, 0), abs=1)
