"""How late the event loop is while a slide is embedded and panned, against napari alone.

Both sides open a window of the same size and pan it with the same strokes: ours over the
oesophagus slide while its tiles are embedded, napari alone over one image that is held in memory,
with no plugin and no job. A 5 ms timer in the event loop measures how late it fires. Each side has
a process of its own, and they take turns.

It needs a display; without one, start it by ``.ci/window python -m benchmarks.stalls``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from ._measure import find_material, main, say

SLIDE = "esophagus_37950x14201.tif"
REPETITIONS = 3
SECONDS = 30.0
"""Napari alone pans for so long; embedding takes about as long."""


def measure() -> dict[str, Any]:
    """Let both sides take turns, each in a process of its own."""
    path = find_material("slides", SLIDE)
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "napari": []}
    for number in range(REPETITIONS):
        for side, runs in seen.items():
            say(f"{side}, repetition {number + 1} of {REPETITIONS}")
            runs.append(_in_process(side, path))
    found = {
        f"{side}_{key}": median(one[key] for one in runs)
        for side, runs in seen.items()
        for key in ("p99_ms", "max_ms")
    }
    return {
        "ui_stall_p99_ms": found["ours_p99_ms"],
        "ui_stall_max_ms": found["ours_max_ms"],
        "napari_p99_ms": found["napari_p99_ms"],
        "napari_max_ms": found["napari_max_ms"],
        "vs_napari": found["ours_p99_ms"] / found["napari_p99_ms"],
        "all_p99_ms": {side: [one["p99_ms"] for one in runs] for side, runs in seen.items()},
    }


def _in_process(side: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.stalls", "--side", side, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def ours(path: Path) -> dict[str, float]:
    """Open, find tiles, embed and pan, as the demo does."""
    from napari_pathfm.gui.demo import Demo

    with TemporaryDirectory() as folder:
        demo = Demo(path, "efficientnet-lite0", Path(folder))
        demo.place.open_project(Path(folder) / "project")
        demo.open()
        demo.find_tiles()
        demo.embed()
        demo.place.close()
        demo.viewer.close()
    return {
        "p99_ms": demo.summary["ui_stall_p99_ms"],
        "max_ms": demo.summary["ui_stall_max_ms"],
    }


def napari_alone(_: Path) -> dict[str, float]:
    """Pan over one image."""
    import numpy as np
    from napari import Viewer

    from napari_pathfm.gui.demo import WINDOW
    from napari_pathfm.gui.driver import Driver, Panning

    viewer = Viewer(show=True)
    viewer.window.resize(*WINDOW)
    picture = np.random.default_rng(0).integers(0, 255, (4000, 4000, 3), np.uint8)
    viewer.add_image(picture, rgb=True)
    viewer.scene.camera.zoom = 1
    with TemporaryDirectory() as folder:
        driver = Driver(viewer, Path(folder))
        driver.idle(1)
        panning = Panning(viewer, (2000, 2000), (1000, 1000))
        panning.start()
        driver.idle(SECONDS)
        panning.stop()
    viewer.close()
    return {"p99_ms": panning.meter.p99, "max_ms": panning.meter.worst}


SIDES = {"ours": ours, "napari": napari_alone}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(SIDES[sys.argv[2]](Path(sys.argv[3]))))
    else:
        main("stalls", measure)
