"""Views become sharp, in as few frames as it takes, and closing does not wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_pathfm.gui.unlisted import unlisted
from napari_pathfm.io.cache import shared_cache

from .window import Window


@pytest.fixture
def opened(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    window.open(synthetic, tmp_path / "project")
    window.rest()
    window.driver.idle(0.5)
    return window


def layer_of(window: Window) -> Any:
    return window.place.layers.layer(window.session.slide)


def is_sharp(window: Window) -> bool:
    layer, slide = layer_of(window), window.session.slide
    (y0, x0), (y1, x1) = layer.corner_pixels[:, :2].tolist()
    truth = slide.read(layer.data_level, y0, x0, y1 + 1 - y0, x1 + 1 - x0)
    return bool(np.array_equal(layer._data_view, truth))


def test_a_cold_view_becomes_sharp_without_a_touch(opened: Window) -> None:
    for power in (40, 5, 20):
        shared_cache().clear()
        opened.place.magnification.step(power)
        opened.driver.wait(lambda: is_sharp(opened), f"a sharp view at {power}x", 20)


def test_the_first_frame_of_a_warm_view_is_sharp(opened: Window) -> None:
    layer, camera = layer_of(opened), opened.viewer.scene.camera
    opened.place.magnification.step(20)
    y, x = camera.center[-2:]
    for place in ((0.0, y + 100, x + 100), (0.0, y, x)):  # all of it into the cache
        camera.center = place
        opened.driver.wait(lambda: is_sharp(opened), "a sharp view", 20)
        opened.driver.idle(0.4)
    sliced: list[int] = []
    frames: list[int] = []
    layer.events.set_data.connect(lambda _: sliced.append(len(frames)))
    opened.driver.canvas.frameSwapped.connect(lambda: frames.append(len(sliced)))
    camera.center = (0.0, y + 100, x + 100)
    layer.corner_pixels = np.zeros((2, 2), int)  # as after a jump to somewhere else
    opened.driver.wait(lambda: bool(frames), "a frame", 20)
    assert sliced[:1] == [0], "before the first frame"
    assert is_sharp(opened)


def test_the_layer_list_is_not_painted_for_new_pixels(opened: Window) -> None:
    layer = layer_of(opened)
    told: list[str] = []
    own: list[str] = []
    opened.viewer.layers.events.connect(lambda event: told.append(event.type))
    layer.events.set_data.connect(lambda event: own.append(event.type))
    with unlisted(layer):
        layer.refresh(thumbnail=False, highlight=False, extent=False)
    assert (own, told) == (["set_data"], [])
    layer.refresh(thumbnail=False, highlight=False, extent=False)
    assert told == ["set_data"]


def test_removing_a_slide_stops_its_threads(opened: Window) -> None:
    loader = layer_of(opened).metadata["pathfm"]["loader"]
    opened.viewer.layers.remove(layer_of(opened))
    assert not any(thread.is_alive() for thread in loader._threads)


def test_a_cold_view_of_a_disk_at_hand_takes_one_frame(opened: Window) -> None:
    layer, camera = layer_of(opened), opened.viewer.scene.camera
    opened.place.magnification.step(20)
    opened.driver.wait(lambda: is_sharp(opened), "a sharp view", 20)
    y, x = camera.center[-2:]
    sharp: list[bool] = []
    layer.events.set_data.connect(lambda _: sharp.append(is_sharp(opened)), position="last")
    for shift in (300, 600, 900, 1200):
        opened.driver.idle(0.5)
        shared_cache().clear()
        sharp.clear()
        camera.center = (0.0, y, x + shift * layer.scale[0])
        opened.driver.wait(lambda: bool(sharp) and sharp[-1], "a sharp view", 20)
        opened.driver.idle(0.5)
        if sharp == [True]:
            return
    pytest.fail(f"pixels came in {len(sharp)} steps each time")
