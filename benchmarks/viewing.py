"""How soon a view is sharp after it has moved, and how late the event loop is, in a real window.

A view of 1600 x 1000 pixels follows the same path over a large slide twice: cold (each view with
empty caches) and warm (each view was seen just before: there, back, and there again). A view is
sharp when what is on the canvas was made of segments of its own level, and has been drawn. While a
hand then pans, a 5 ms timer in the event loop measures how late it fires. Beside it stands what one
frame of napari alone takes, with one image in memory: with the pixels that it has, and with new
ones.

It needs a display; without one, start it by ``.ci/window python -m benchmarks.viewing``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ._measure import find_material, main, say

SLIDE = "esophagus_37950x14201.tif"
VIEW = (1600, 1000)
VIEWS = 60
FRAMES = 40
PAN_SECONDS = 20.0
PATIENCE = 5.0
"""Seconds after which a view that is not sharp is given up."""

View = tuple[float, float, float]
"""Centre ``(y, x)`` in world units, and zoom."""


def measure() -> dict[str, Any]:
    """Open the window, follow the path cold and warm, then pan."""
    from napari import Viewer

    from napari_pathfm.gui.driver import Driver, Panning
    from napari_pathfm.gui.workspace import workspace
    from napari_pathfm.io.cache import shared_cache
    from napari_pathfm.io.reader import open_slide
    from napari_pathfm.io.reader_napari import slide_layer

    path = find_material("slides", SLIDE)
    with TemporaryDirectory() as folder:
        viewer = Viewer(show=True)
        driver = Driver(viewer, Path(folder))
        make_canvas(viewer, driver)
        frame, new_pixels = napari_alone(viewer, driver)
        place = workspace(viewer)
        place.open_project(Path(folder) / "project")
        layer = place.layers.add(slide_layer(open_slide(path)))
        driver.wait(lambda: not place.runner.running, "the window to be ready", 60)
        driver.idle(1)
        eyes = Eyes(viewer, layer, driver)
        views = list(recorded_path(layer))
        say(f"{len(views)} views, cold")
        cold = [eyes.look(view, shared_cache().clear) for view in views]
        say("warm")
        warm = [eyes.again(before, view) for before, view in pairwise(views)]
        say("panning")
        high, wide = np.array(layer.level_shapes[0][:2]) * layer.scale
        viewer.scene.camera.zoom = 0.25 / layer.scale[0]
        panning = Panning(viewer, (high / 2, wide / 2), (high / 4, wide / 4))
        panning.start()
        driver.idle(PAN_SECONDS)
        panning.stop()
        size = viewer.canvas.size[::-1]
        place.close()
        viewer.close()
    result = {"napari_frame_ms": frame, "napari_new_pixels_ms": new_pixels}
    for name, looks in (("cold", cold), ("warm", warm)):
        for key in ("sharp", "first", "cpu"):
            times = [look[key] * 1e3 for look in looks]
            suffix = "" if key == "sharp" else f"_{key}"
            result[f"{name}{suffix}_p95_ms"] = float(np.percentile(times, 95))
            result[f"{name}{suffix}_median_ms"] = float(np.median(times))
        result[f"{name}_frames"] = float(np.mean([look["frames"] for look in looks]))
    return {
        **result,
        "ui_stall_p99_ms": panning.meter.p99,
        "ui_stall_max_ms": panning.meter.worst,
        "views": len(views),
        "view": size,
    }


def make_canvas(viewer: Any, driver: Any) -> None:
    """Make the window so large that the canvas has the size of the view."""
    for _ in range(4):  # the docks beside it change their sizes, too
        height, width = viewer.canvas.size
        _, _, wide, high = viewer.window.geometry()
        viewer.window.set_geometry(0, 0, wide + VIEW[0] - width, high + VIEW[1] - height)
        driver.idle(0.3)


def napari_alone(viewer: Any, driver: Any) -> tuple[float, float]:
    """Median ms of a frame, with old and with new pixels, of one image in memory."""
    picture = np.random.default_rng(0).integers(0, 255, (VIEW[1], VIEW[0], 3), np.uint8)
    layer = viewer.add_image(picture, rgb=True)
    driver.idle(1)
    camera = viewer.scene.camera

    def pan() -> None:
        camera.center = (0.0, camera.center[-2] + 1, camera.center[-1])

    times = [
        np.median([seconds_to_frame(driver, move) for _ in range(FRAMES)]) * 1e3
        for move in (pan, layer.refresh)
    ]
    viewer.layers.remove(layer)
    return float(times[0]), float(times[1])


def seconds_to_frame(driver: Any, act: Callable[[], object]) -> float:
    """Seconds from an action until the next frame is on the screen."""
    from qtpy.QtCore import QEventLoop

    loop = QEventLoop()
    driver.canvas.frameSwapped.connect(loop.quit)
    start = time.perf_counter()
    act()
    loop.exec()
    seconds = time.perf_counter() - start
    driver.canvas.frameSwapped.disconnect(loop.quit)
    driver.idle(0.02)
    return seconds


def recorded_path(layer: Any) -> Iterator[View]:
    """Yield views as of somebody who looks around: jumps, pans by half a view, zooms."""
    random = np.random.default_rng(7)
    shape = np.array(layer.level_shapes[0][:2]) * layer.scale
    unit = float(layer.scale[0])
    center, step = shape / 2, 1.0
    for number in range(VIEWS):
        if number % 5 == 0:  # somewhere else, at another magnification
            center = shape * random.uniform(0.2, 0.8, 2)
            step = 2.0 ** random.uniform(0, 4)
        elif number % 5 == 3:  # two steps of the wheel
            step = max(1.0, step * random.choice([0.5, 2.0]))
        else:
            half = np.array(VIEW[::-1]) * step * unit / 2
            moved = center + random.choice([-1, 1], 2) * random.uniform(0.2, 1, 2) * half
            inside = (moved > 0.1 * shape) & (moved < 0.9 * shape)
            center = np.where(inside, moved, 2 * center - moved)  # the other way
        yield float(center[0]), float(center[1]), 1 / (step * unit)


class Eyes:
    """Looks at a place, and knows when what is on the screen is sharp.

    A frame is sharp when the pixels it was drawn with were, and no others were asked for while it
    was drawn: napari looks at the end of a frame whether the view needs others.
    """

    def __init__(self, viewer: Any, layer: Any, driver: Any) -> None:
        from qtpy.QtCore import QEvent, QObject

        self._viewer, self._layer, self._driver = viewer, layer, driver
        self._sharp = self._late = True
        self._frames = 0
        self._first = self._done = 0.0
        eyes = self

        class Paints(QObject):
            def eventFilter(self, _: Any, event: Any) -> bool:
                if event.type() == QEvent.Type.Paint:
                    eyes._late = False
                return False

        self._paints = Paints()
        driver.canvas.installEventFilter(self._paints)
        driver.canvas.frameSwapped.connect(self._on_frame)
        layer.events.set_data.connect(self._on_pixels)

    def look(self, view: View, prepare: Callable[[], object] = lambda: None) -> dict[str, float]:
        """Move the camera; seconds until the first frame of that place and until a sharp one."""
        loader = self._layer.metadata["pathfm"]["loader"]
        loader.wait(PATIENCE)
        self._driver.idle(0.3)  # what follows when the camera rests
        prepare()
        self._frames, self._first, self._done = 0, 0.0, 0.0
        y, x, zoom = view
        start, cpu = time.perf_counter(), time.process_time()
        self._viewer.scene.camera.zoom = zoom
        self._viewer.scene.camera.center = (0.0, y, x)
        self._driver.wait(lambda: self._done > 0, f"a sharp view at {view}", PATIENCE)
        return {
            "sharp": self._done - start,
            "first": self._first - start,
            "cpu": time.process_time() - cpu,
            "frames": self._frames,
        }

    def again(self, before: View, view: View) -> dict[str, float]:
        """Move the camera from one view to another that is in the cache; as :meth:`look`."""
        for seen in (view, before):
            self.look(seen)
        return self.look(view)

    def _on_pixels(self, _: Any) -> None:
        (y0, x0), (y1, x1) = self._layer.corner_pixels[:, :2].tolist()
        level = self._layer.data[self._layer.data_level]
        self._sharp, self._late = level.sharp(y0, x0, y1 + 1 - y0, x1 + 1 - x0), True

    def _on_frame(self) -> None:
        self._frames += 1
        if self._late:
            return
        self._first = self._first or time.perf_counter()
        if self._sharp:
            self._done = self._done or time.perf_counter()


if __name__ == "__main__":
    main("viewing", measure)
