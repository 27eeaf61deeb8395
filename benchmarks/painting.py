"""What a brush stamp takes anywhere on a mask of 100,000 x 100,000 pixels, in a real window.

A blank slide of that size is opened, and real mouse events draw strokes at many places and zooms.
``stamp`` is what the event loop needs for one mouse event: the stamp is in the layer and on its way
to the texture. ``shown`` is the time until the whole window has been drawn with it, which software
OpenGL decides: ``frame_ms`` is what such a window takes with nothing to do. Then follow strokes all
over the slide, and one from far out that covers a thousand million level-0 pixels, while the
process's memory is watched.

It needs a display; without one, start it by ``.ci/window python -m benchmarks.painting``.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ._measure import main, say

SIDE = 100_000
VIEW = (1600, 1000)
"""Width and height of the canvas."""

PLACES = (
    (50_000, 50_000, 1.0),
    (99_300, 900, 1.0),
    (20_000, 70_000, 0.5),
    (70_000, 20_000, 4.0),
    (30_000, 30_000, 16.0),
    (60_000, 60_000, 64.0),
)
"""Level-0 centre of the view ``(y, x)``, and level-0 pixels a pixel of the screen."""

BRUSHES = {40: 10, 500: 60}
"""Pixels of the window's level, and by how many pixels of the screen the hand moves a stamp."""

STAMPS = 60
ALL_OVER = 60
FAR_PIXELS = 1_000_000_000


def measure() -> dict[str, Any]:
    """Paint, and describe what was seen."""
    from napari_pathfm.gui.driver import PeakMemory

    with TemporaryDirectory() as folder:
        slide = blank_slide(Path(folder) / "blank.ome.zarr")
        painter = Painter(slide, Path(folder))
        before = process_mib()
        memory = PeakMemory()
        found: dict[str, Any] = {
            f"brush_{brush}": painter.stamps(brush, step) for brush, step in BRUSHES.items()
        }
        found["frame_ms"] = painter.frame()
        found["refill_p95_ms"] = painter.refills()
        found["all_over"] = painter.all_over()
        found["far_out"] = painter.far_out()
        found["memory_mib"] = memory.stop()
        found["memory_before_mib"] = before
        found["store_chunks"] = painter.chunks()
        painter.close()
    return found


def process_mib() -> float:
    """Resident memory of this process, MiB."""
    import psutil

    return float(psutil.Process().memory_info().rss / 2**20)


def blank_slide(path: Path) -> Path:
    """Write an OME-Zarr of the full size without a single chunk: white costs nothing."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=2)
    datasets = []
    for level in range(8):
        side = SIDE >> level
        group.create_array(
            str(level), shape=(3, side, side), chunks=(3, 512, 512), dtype="uint8", fill_value=255
        )
        scale = [1.0, 0.25 * 2**level, 0.25 * 2**level]
        datasets.append(
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    axes = [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return path


Stamp = tuple[float, float]
"""Seconds until the event was handled, and until the window was drawn."""


def summary(stamps: list[Stamp]) -> dict[str, float]:
    """Describe many stamps, ms."""
    handled, shown = np.array(stamps).T * 1e3
    return {
        "stamp_p95_ms": float(np.percentile(handled, 95)),
        "stamp_median_ms": float(np.median(handled)),
        "stamp_max_ms": float(handled.max()),
        "shown_p95_ms": float(np.percentile(shown, 95)),
        "shown_median_ms": float(np.median(shown)),
        "stamps": len(stamps),
    }


class Painter:
    """A window over a slide, and the hand that paints in it."""

    def __init__(self, slide: Path, folder: Path) -> None:
        from napari import Viewer

        from napari_pathfm.gui.driver import Driver
        from napari_pathfm.gui.workspace import workspace
        from napari_pathfm.io.reader import open_slide
        from napari_pathfm.io.reader_napari import slide_layer

        self.viewer = Viewer(show=True)
        self.driver = Driver(self.viewer, folder)
        self.place = workspace(self.viewer)
        self.place.open_project(folder / "project")
        self.place.layers.add(slide_layer(open_slide(slide)))
        self.driver.wait(lambda: self.place.session.annotations is not None, "the masks", 60)
        self.driver.wait(lambda: not self.place.runner.running, "the window to be ready", 120)
        self.edits = self.place.edit_window
        self.edits.paint()
        self._resize()
        self._random = np.random.default_rng(5)

    def _resize(self) -> None:
        # What lies around the canvas takes its share of the window.
        window = self.viewer.window._qt_window
        for _ in range(2):
            rest = window.size() - self.driver.canvas.size()
            self.viewer.window.resize(VIEW[0] + rest.width(), VIEW[1] + rest.height())
            self.driver.idle(0.3)

    def look(self, y: float, x: float, downsample: float) -> None:
        """Put a level-0 position in the middle of the view, and let the window settle."""
        scale = self.place.session.slide.mpp
        self.viewer.scene.camera.zoom = 1 / (downsample * scale)
        self.viewer.scene.camera.center = (0.0, y * scale, x * scale)
        self.driver.idle(0.4)

    def stamps(self, brush: int, step: int) -> dict[str, float]:
        """Draw a stroke at each place; return the percentiles of its stamps, ms."""
        stamps: list[Stamp] = []
        for number, (y, x, downsample) in enumerate(PLACES):
            say(f"brush of {brush} px, place {number + 1} of {len(PLACES)}")
            self.look(y, x, downsample)
            self.edits.layer.brush_size = brush
            stamps += self.stroke(step, STAMPS)
            self.written()
        return summary(stamps)

    def stroke(self, step: int, stamps: int) -> list[Stamp]:
        """Draw a wavy line over the canvas; the stamp that comes with the press is left out."""
        from qtpy.QtCore import QEvent, QPoint

        canvas = self.driver.canvas
        width, height = canvas.width(), canvas.height()
        points = [
            QPoint((width // 8 + step * n) % width, round(height / 2 + height / 4 * np.sin(n / 7)))
            for n in range(stamps)
        ]
        self._mouse(QEvent.Type.MouseButtonPress, points[0])
        self.driver.idle(0.02)
        seen = []
        for point in points[1:]:
            start = time.perf_counter()
            self._mouse(QEvent.Type.MouseMove, point)
            stamped = time.perf_counter()
            canvas.repaint()
            seen.append((stamped - start, time.perf_counter() - start))
            self.driver.idle(0.012)
        self._mouse(QEvent.Type.MouseButtonRelease, points[-1])
        return seen

    def frame(self) -> float:
        """Median of drawing the window with nothing new, ms."""
        self.look(*PLACES[0])
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            self.driver.canvas.repaint()
            seconds.append(time.perf_counter() - start)
            self.driver.idle(0.012)
        return float(np.median(seconds) * 1e3)

    def written(self) -> float:
        """Wait until all strokes are on the disk; return the seconds that took."""
        start = time.perf_counter()
        self.driver.wait(lambda: not self.edits.history.busy, "the strokes to be written", 300)
        return time.perf_counter() - start

    def _mouse(self, kind: Any, point: Any) -> None:
        # QTest's moves tell of no button, and vispy needs to know which one is held.
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        canvas, left = self.driver.canvas, Qt.MouseButton.LeftButton
        none = Qt.MouseButton.NoButton
        event = QMouseEvent(
            kind,
            QPointF(point),
            QPointF(canvas.mapToGlobal(point)),
            none if kind == QEvent.Type.MouseMove else left,
            none if kind == QEvent.Type.MouseButtonRelease else left,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(canvas, event)

    def refills(self) -> float:
        """95th percentile of filling the window at another place, ms."""
        say("refills")
        times = []
        for _ in range(20):
            y, x = self._random.uniform(0.1, 0.9, 2) * SIDE
            self.look(y, x, 1.0)
            start = time.perf_counter()
            self.edits.refill()
            self.driver.canvas.repaint()
            times.append(time.perf_counter() - start)
        return float(np.percentile(times, 95) * 1e3)

    def all_over(self) -> dict[str, float]:
        """Paint at random places and zooms; the hand does not wait for the disk."""
        say(f"{ALL_OVER} strokes all over the slide")
        start = time.perf_counter()
        for _ in range(ALL_OVER):
            y, x = self._random.uniform(0.05, 0.95, 2) * SIDE
            self.look(y, x, 2.0 ** self._random.integers(0, 5))
            self.edits.new_object()
            self.edits.layer.brush_size = int(self._random.choice([40, 500]))
            self.stroke(60, 8)
        painted = time.perf_counter() - start
        return {"strokes": ALL_OVER, "seconds": painted, "written_after_s": self.written()}

    def far_out(self) -> dict[str, float]:
        """Cover :data:`FAR_PIXELS` by one stamp that is made with the whole slide in view."""
        from qtpy.QtCore import QEvent, QPoint

        say("a stroke from far out")
        self.look(SIDE / 2, SIDE / 2, SIDE / min(VIEW))
        self.edits.new_object()
        factor = 2**self.edits.place.level
        self.edits.layer.brush_size = int(np.ceil(2 * np.sqrt(FAR_PIXELS / np.pi) / factor)) + 1
        number, store = self.edits.object_id, self.place.session.annotations
        canvas = self.driver.canvas
        middle = QPoint(canvas.width() // 2, canvas.height() // 2)
        start = time.perf_counter()
        self._mouse(QEvent.Type.MouseButtonPress, middle)
        canvas.repaint()
        shown = time.perf_counter() - start
        self._mouse(QEvent.Type.MouseButtonRelease, middle)
        written = self.written()
        pixels = store.objects[number].area
        self.edits.history.undo()
        return {
            "level0_pixels": pixels,
            "shown_ms": shown * 1e3,
            "written_s": written,
            "undone_s": self.written(),
        }

    def chunks(self) -> int:
        """Chunk files of level 0 that the store holds."""
        store = self.place.session.annotations
        folder = self.place.session.project.slide_store(store.slide_id) / "masks" / store.name
        return sum(1 for file in (folder / "0" / "c").rglob("*") if file.is_file())

    def close(self) -> None:
        """Close the window."""
        self.place.close()
        self.viewer.close()


if __name__ == "__main__":
    main("painting", measure)
