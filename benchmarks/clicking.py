"""How long a prompt waits for its mask: while nothing runs, and while tiles are embedded.

A box is drawn once, so that its crop is encoded; then it is answered again and again, from the key
to the mask on screen. The slide, the window and the segmenter are the same for both.

It needs a display; without one, start it by ``.ci/window python -m benchmarks.clicking``.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ._measure import find_material, main, say

SLIDE = "esophagus_37950x14201.tif"
TIMES = 40
EVERY = 0.4
"""Seconds between two clicks."""


def measure() -> dict[str, Any]:
    """Answer the same box while nothing runs, and while tiles are embedded."""
    from napari_pathfm.gui.demo import Demo

    with TemporaryDirectory() as folder:
        demo = Demo(find_material("slides", SLIDE), "efficientnet-lite0", Path(folder))
        demo.place.open_project(Path(folder) / "project")
        demo.open()
        demo.find_tiles()
        _draw_box(demo)
        say("idle")
        idle = [_answer(demo) for _ in range(TIMES)]
        demo.dock.embed.embed_button.click()
        demo.driver.wait(lambda: demo.place.session.embedded > 0, "the first tiles", 300)
        say("embedding")
        busy = [_answer(demo) for _ in range(TIMES) if demo.place.embedding.busy]
        demo.place.embedding.cancel()
        demo.driver.wait(lambda: not demo.place.runner.running, "the end", 60)
        demo.place.close()
        demo.viewer.close()
    figures: dict[str, Any] = {"clicks_while_embedding": len(busy)}
    for name, seconds in (("idle", idle), ("embedding", busy)):
        figures[f"{name}_median_ms"] = 1e3 * float(np.median(seconds))
        figures[f"{name}_p95_ms"] = 1e3 * float(np.percentile(seconds, 95))
    return figures


def _draw_box(demo: Any) -> None:
    slide, prompting = demo.slide, demo.place.prompting
    demo.dock.steps.open(demo.dock.segment)
    y, x = (side / 2 for side in slide.levels[0].shape)
    scale = slide.mpp or 1.0
    demo.place.jump(y, x, 150)
    prompting.box_mode()
    demo.driver.drag(((y - 50) * scale, (x - 50) * scale), ((y + 50) * scale, (x + 50) * scale))
    demo.driver.wait(lambda: prompting.candidate is not None, "the mask", 300)
    demo.driver.wait(lambda: not demo.place.runner.running, "rest", 120)


def _answer(demo: Any) -> float:
    """Have the box answered anew; returns the seconds until its mask is drawn."""
    prompting = demo.place.prompting
    before = prompting.candidate
    demo.driver.idle(EVERY)
    start = time.perf_counter()
    prompting.segment()
    demo.driver.wait(lambda: prompting.candidate is not before, "the mask", 30)
    demo.driver.canvas.repaint()
    return time.perf_counter() - start


if __name__ == "__main__":
    main("clicking", measure)
