"""Rulers and points are drawn with the mouse and say what they measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.gui.measure import length_text

from .window import Window


@pytest.fixture
def opened(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    window.open(synthetic, tmp_path / "project")
    return window


def draw_ruler(window: Window) -> None:
    """300 um across, in world units."""
    window.place.measuring.rule()
    window.driver.idle(0.1)
    window.driver.drag((300.0, 250.0), (300.0, 550.0))
    window.driver.idle(0.1)


def test_a_drawn_line_says_how_long_it_is(opened: Window) -> None:
    draw_ruler(opened)
    layer = opened.viewer.layers["ruler"]
    assert len(layer.data) == 1
    drawn = np.linalg.norm(np.diff(layer.data[0], axis=0)) * opened.session.slide.mpp
    assert drawn == pytest.approx(300, abs=5 / opened.viewer.scene.camera.zoom)
    assert layer.features["length"].tolist() == [f"{drawn:.1f} µm"]
    assert [str(text) for text in layer.text.values] == [f"{drawn:.1f} µm"]


def test_another_pixel_size_changes_what_a_line_says(opened: Window) -> None:
    draw_ruler(opened)
    layer, mpp = opened.viewer.layers["ruler"], opened.session.slide.mpp
    before = float(layer.features["length"][0].split()[0])
    opened.dock.slide.mpp.setValue(mpp / 2)
    opened.driver.idle(0.3)
    after = float(layer.features["length"][0].split()[0])
    assert after == pytest.approx(before / 2, abs=0.1)
    assert layer.scale[0] == pytest.approx(mpp / 2)


def test_a_line_is_as_wide_on_screen_at_every_zoom(opened: Window) -> None:
    draw_ruler(opened)
    layer = opened.viewer.layers["ruler"]
    for step in (2, 40):
        opened.place.magnification.step(step)
        opened.driver.idle(0.2)
        on_screen = layer.edge_width[0] * layer.scale[0] * opened.viewer.scene.camera.zoom
        assert on_screen == pytest.approx(3, rel=0.06)


def test_points_are_set_by_clicks_and_one_layer_is_enough(opened: Window) -> None:
    for _ in range(2):
        opened.place.measuring.mark()
    opened.driver.drag((300.0, 300.0), (300.0, 300.0), steps=1)
    layer = opened.viewer.layers["points"]
    assert layer.data.shape == (1, 2)
    expected = 300 / opened.session.slide.mpp
    assert layer.data[0] == pytest.approx((expected, expected), abs=4 / layer.scale[0])
    assert [one.name for one in opened.viewer.layers].count("points") == 1


def test_no_layer_is_made_before_it_is_used(opened: Window) -> None:
    assert not {"ruler", "points"} & {layer.name for layer in opened.viewer.layers}


@pytest.mark.parametrize(
    ("pixels", "mpp", "text"),
    [(100, 0.5, "50.0 µm"), (5000, 0.5, "2.50 mm"), (1234, None, "1,234 px")],
)
def test_lengths_in_words(pixels: float, mpp: float | None, text: str) -> None:
    assert length_text(pixels, mpp) == text
