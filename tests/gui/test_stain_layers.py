"""Stains alone: computed for what is shown, sharp when the slide is, gone with it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.analysis.unmix import unmix
from napari_pathfm.gui.commands import show_eosin, show_haematoxylin

from .window import Window


@pytest.fixture
def opened(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    window.open(synthetic, tmp_path / "project")
    return window


def test_a_stain_comes_and_goes(opened: Window) -> None:
    layers = opened.viewer.layers
    count, active = len(layers), layers.selection.active
    show_haematoxylin(opened.viewer)
    show_eosin(opened.viewer)
    assert len(layers) == count + 2
    assert layers.selection.active is active
    assert layers["eosin"].extent.world == pytest.approx(layers[0].extent.world)
    show_eosin(opened.viewer)
    show_haematoxylin(opened.viewer)
    assert len(layers) == count


def test_it_becomes_sharp_with_the_slide(opened: Window) -> None:
    show_haematoxylin(opened.viewer)
    layer, slide = opened.viewer.layers["haematoxylin"], opened.session.slide
    opened.place.magnification.step(20)

    def sharp() -> bool:
        if layer.data_level != 0:
            return False
        (y0, x0), (y1, x1) = layer.corner_pixels.astype(int)
        truth = unmix(slide.read(0, y0, x0, y1 - y0, x1 - x0), "haematoxylin")
        shown = np.asarray(layer._data_view)[: y1 - y0, : x1 - x0]
        return bool((shown == truth[: shown.shape[0], : shown.shape[1]]).all())

    opened.driver.wait(sharp, "the stain at full resolution", 20)


def test_what_is_shown_is_unmixed_within_a_frame_or_two(opened: Window) -> None:
    show_haematoxylin(opened.viewer)
    level = opened.viewer.layers["haematoxylin"].data[0]
    level[0:1000, 0:1000]
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        level[0:1000, 0:1000]
        spent.append(time.perf_counter() - start)
    assert min(spent) < 0.05


def test_it_goes_with_the_slide_and_with_another_pixel_size(opened: Window) -> None:
    show_eosin(opened.viewer)
    opened.dock.slide.mpp.setValue(0.4)
    opened.driver.idle(0.2)
    assert "eosin" not in opened.viewer.layers
    show_eosin(opened.viewer)
    opened.viewer.layers.remove(opened.place.layers.layer(opened.session.slide))
    opened.driver.idle(0.2)
    assert "eosin" not in opened.viewer.layers
