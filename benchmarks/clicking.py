"""How long a click waits for its mask: cold, after encoding, and while a slide is embedded.

Real mouse events in a window over the oesophagus slide, with the default segmenter and points.

Each is from the button to the first mask on the screen; *settled*: to the last, where the first one
showed that one should look closer, which the window does by itself.

- *cold*: at a place that no crop shows yet; what was segmented is kept, so that from the second
  object on the window knows how large objects are. *first*: the first of them.
- *click*: within a crop that is encoded. The pointer moves there, rests for `REST` seconds as that
  of a hand does, and the button is pressed; *unrested*: pressed as soon as the pointer is there.
- *hover*: masks under a moving pointer that are shown in a second.
- *stall*: how late a timer of 5 ms fires in the event loop during clicks and previews.
- *while embedding*: as *click*, while all tiles of the slide are embedded. If that takes long
  enough the encoder is compiled afterwards, during the cold clicks: *compiling at the end*.

It needs a display; without one, start it by ``.ci/window python -m benchmarks.clicking``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ._measure import find_material, main, say

SLIDE = "esophagus_37950x14201.tif"
TIMES, COLD = 40, 12
PAUSE = 0.4
"""Seconds between two clicks."""

REST = 0.15
"""Seconds that a pointer rests before a hand presses the button."""

VIEW, REACH = 150.0, 0.35
"""A third of the view, level-0 pixels, and the reach of the clicks from its middle in sides of the
crop that the view gives: within what is encoded."""

HOVER_SECONDS, HOVER_STEP = 5.0, 0.016


def measure() -> dict[str, Any]:
    """Click at new places, then around one, then there while tiles are embedded."""
    from napari_pathfm.gui.demo import Demo
    from napari_pathfm.gui.stalls import StallMeter

    with TemporaryDirectory() as folder:
        demo = Demo(find_material("slides", SLIDE), "efficientnet-lite0", Path(folder))
        demo.place.open_project(Path(folder) / "project")
        demo.open()
        demo.find_tiles()
        places = _ready(demo)
        _click(demo, places[-1], places[-1], 0.0)
        meter = StallMeter()
        meter.start()
        say("clicks")
        clicks = _clicks(demo, places[-1], REST)
        unrested = _clicks(demo, places[-1], 0.0)
        say("previews")
        fps = _hover(demo, places[-1])
        meter.stop()
        demo.dock.embed.embed_button.click()
        demo.driver.wait(lambda: demo.place.session.embedded > 0, "the first tiles", 300)
        say("embedding")
        busy = _clicks(demo, places[-1], REST, lambda: demo.place.embedding.busy)
        demo.place.embedding.cancel()
        demo.driver.wait(lambda: not demo.place.runner.running, "the end", 60)
        say("cold")
        cold = [_click(demo, place, place, 0.0, keep=True) for place in places[:-1]]
        segmenter = demo.place.prompting.segmenter.ready
        encoder = demo.place.embedding.encoders.known("efficientnet-lite0", None)
        compiling = bool(encoder.compiling)
        demo.place.close()
        demo.viewer.close()
    figures: dict[str, Any] = {
        "segmenter": segmenter.name,
        "precision": segmenter.precision.name,
        "clicks_while_embedding": len(busy),
        "compiling_at_the_end": compiling,
    }
    figures["first_cold_ms"] = 1e3 * cold[0][0]
    kinds = {"click": clicks, "unrested": unrested, "cold": cold, "click_while_embedding": busy}
    for name, seconds in kinds.items():
        shown, settled = 1e3 * np.array(seconds).T
        figures[f"{name}_median_ms"] = float(np.median(shown))
        figures[f"{name}_p95_ms"] = float(np.percentile(shown, 95))
        figures[f"{name}_settled_median_ms"] = float(np.median(settled))
        figures[f"{name}_settled_p95_ms"] = float(np.percentile(settled, 95))
    return figures | {
        "hover_fps": fps,
        "ui_stall_p99_ms": meter.p99,
        "ui_stall_max_ms": meter.worst,
    }


def _ready(demo: Any) -> list[tuple[float, float]]:
    """Take points, wait for the segmenter, and return places on the tissue, level-0 pixels."""
    prompting, grid = demo.place.prompting, demo.place.session.grid
    demo.dock.steps.open(demo.dock.segment)
    prompting.point_mode()
    demo.driver.wait(lambda: prompting.segmenter.ready is not None, "the segmenter", 300)
    demo.driver.wait(lambda: not demo.place.runner.running, "rest", 300)
    chosen = np.random.default_rng(0).choice(len(grid.centers), COLD + 2, replace=False)
    places = [(float(y), float(x)) for y, x in grid.centers[chosen]]
    _click(demo, places[0], places[0], 0.0)  # the very first also compiles shaders
    prompting.segmenter.ready.compile()  # what is begun after some seconds of clicking
    return places[1:]


def _clicks(
    demo: Any, place: tuple[float, float], rest: float, go_on: Callable[[], bool] = lambda: True
) -> list[tuple[float, float]]:
    """Click around a place, one object after the other."""
    draw = np.random.default_rng(1)
    seconds: list[tuple[float, float]] = []
    while len(seconds) < TIMES and go_on():
        y, x = np.array(place) + draw.uniform(-1, 1, 2) * _reach(demo)
        seconds.append(_click(demo, place, (float(y), float(x)), rest))
    return seconds


def _reach(demo: Any) -> float:
    """Level-0 pixels."""
    from napari_pathfm.gui.view import view_downsample

    shown = view_downsample(demo.viewer, demo.slide)
    return REACH * float(demo.place.prompting.segmenter.ready.input_px * shown)


def _click(
    demo: Any,
    view: tuple[float, float],
    place: tuple[float, float],
    rest: float,
    keep: bool = False,
) -> tuple[float, float]:
    """Click on an object; returns the seconds from the button to the first and the last mask."""
    from qtpy.QtCore import QEventLoop, QTimer

    from napari_pathfm.gui.prompting import SLOT

    prompting, driver, scale = demo.place.prompting, demo.driver, demo.slide.mpp or 1.0
    prompting.clear()
    prompting.point_mode()
    demo.place.jump(*view, VIEW)
    driver.idle(PAUSE)
    where = place[0] * scale, place[1] * scale
    driver.move(where)
    if rest:
        driver.idle(rest)
    loop = QEventLoop()

    def seen() -> None:
        if prompting.work.candidate is not None:
            loop.quit()

    prompting.changed.connect(seen)
    QTimer.singleShot(60_000, loop.quit)
    start = time.perf_counter()
    driver.click(where)
    if prompting.work.candidate is None:
        loop.exec()
    driver.canvas.repaint()
    shown = time.perf_counter() - start
    prompting.changed.disconnect(seen)
    if prompting.work.candidate is None:
        raise RuntimeError("a click was not answered within a minute")
    runner = demo.place.runner
    if runner.busy(SLOT):
        ended = QTimer()
        ended.timeout.connect(lambda: runner.busy(SLOT) or loop.quit())
        ended.start(1)
        loop.exec()
        ended.stop()
        driver.canvas.repaint()
        settled = time.perf_counter() - start
    else:
        settled = shown
    if keep and prompting.work.candidate.mask.any():
        prompting.next_object()
        driver.wait(lambda: prompting.work.candidate is None, "the object to be kept", 30)
        driver.wait(lambda: not demo.place.runner.running, "rest", 30)
    return shown, settled


def _hover(demo: Any, place: tuple[float, float]) -> float:
    """Move the pointer round a place; returns how often a second a mask is shown under it."""
    prompting, scale, shown = demo.place.prompting, demo.slide.mpp or 1.0, [0]
    prompting.clear()
    prompting.point_mode()
    reach = _reach(demo)

    def count() -> None:
        shown[0] += 1

    prompting.previewed.connect(count)
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < HOVER_SECONDS:
        y, x = (place[0] + reach * math.sin(passed * 2), place[1] + reach * math.cos(passed * 2))
        demo.driver.move((y * scale, x * scale))
        demo.driver.idle(HOVER_STEP)
    prompting.previewed.disconnect(count)
    return shown[0] / passed


if __name__ == "__main__":
    main("clicking", measure)
