"""The main job, end to end, in the window: what ``make demo`` and ``pathfm demo`` show.

Every step presses what a user would press. The same window is left open for the user, or, on a
virtual display, closed again; either way it leaves screenshots, ``summary.json`` and the
exported training data.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import Qt

from ..core.tiles import level_for_downsample
from ..io.masks import AnnotationLayer
from ..io.reader import SlideReader
from ..io.samples import sample_slide
from ..models import catalog
from ..models.base import ModelError
from .commands import open_dock, open_map
from .driver import Driver, DriverError, Panning, PeakMemory
from .model_memory import model_memory_mib
from .workspace import Workspace, workspace

WINDOW = (960, 680)
"""Size of the window: what software OpenGL on two cores draws 60 times a second."""
BOXES = 3
"""How many objects are segmented."""

SEEN_PX = 600
"""Side of the region in which they are looked for, at about 0.5 um per pixel."""


class Demo:
    """One run of the main job.

    Parameters
    ----------
    slide : Path
    encoder : str
        Name in the catalogue.
    out : Path
        Folder for pictures, summary and export.
    window : tuple of int
        Width and height in pixels.
    """

    def __init__(
        self, slide: Path, encoder: str, out: Path, window: tuple[int, int] = WINDOW
    ) -> None:
        self.path, self.encoder, self.out, self.window = slide, encoder, out, window
        self.viewer = Viewer(title="napari-pathfm", show=True)
        self.viewer.window.resize(*window)
        self.dock = open_dock(self.viewer)
        self.place: Workspace = workspace(self.viewer)
        self.driver = Driver(self.viewer, out / "screenshots")
        self.memory = PeakMemory()
        self.summary: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Do every step and return the summary.

        Raises
        ------
        DriverError
            A step did not lead to what it should.
        """
        self.place.open_project(self.out / "project")
        self.open()
        self.find_tiles()
        self.embed()
        self.explore()
        self.segment()
        self.correct()
        self.export()
        return self.finish()

    def open(self) -> None:
        """Open the slide and wait until it is sharp."""
        self.driver.wait(lambda: not self.place.runner.running, "the window to be ready", 60)
        with self.driver.step("open"):
            self.dock.slide.open_requested.emit(self.path)
            self.driver.wait(lambda: self.place.session.slide is not None, "the slide", 60)
            self.driver.wait(self._sharp, "a sharp view", 30)
        self.driver.wait(lambda: self.place.session.annotations is not None, "its masks", 60)
        self.driver.picture("slide")

    def find_tiles(self) -> None:
        """Find the tissue and cut it into tiles."""
        slide = self.slide
        if slide.mpp is None:
            print("    the slide does not say how large a pixel is: 0.5 um is assumed here")
            self.dock.slide.mpp.setValue(0.5)
        with self.driver.step("tissue"):
            self.dock.slide.tiles_button.click()
            self.driver.wait(lambda: self.place.session.grid is not None, "the tile grid", 120)
        grid = self.place.session.grid
        if grid is None or not len(grid):
            raise DriverError("no tile of this slide holds enough tissue")
        self.driver.picture("tiles")

    def embed(self) -> None:
        """Embed all tiles while the view is being moved about, measuring the event loop."""
        session = self.place.session
        self.dock.steps.open(self.dock.embed)
        self.dock.embed.encoder.setCurrentText(self.encoder)
        self.viewer.layers.remove("tissue")  # the tiles show where it is
        scale = self.slide.mpp or 1.0
        height, width = (side * scale for side in self.slide.levels[0].shape)
        self.viewer.scene.camera.zoom = 1 / (5 * scale)
        panning = Panning(self.viewer, (height / 2, width / 2), (height / 4, width / 4))
        with self.driver.step("embed"):
            self.dock.embed.embed_button.click()
            if self.dock.embed.question.isVisible():
                self.dock.embed.question.yes.click()
            self.driver.wait(self._embedding_started, "the first tiles", 300)
            start, before = time.perf_counter(), self._embedded()
            panning.start()
            self.driver.wait(lambda: not self.place.embedding.busy, "the embeddings", 3600)
            panning.stop()
            seconds = time.perf_counter() - start
        if session.embeddings is None:
            raise DriverError("embedding failed: see the message in the window")
        self.summary |= {
            "tiles_per_second": round((len(session.embeddings) - before) / seconds, 1),
            "ui_stall_p99_ms": round(panning.meter.p99, 2),
            "ui_stall_max_ms": round(panning.meter.worst, 2),
            "ui_stall_ticks": len(panning.meter.late_ms),
        }
        self.viewer.reset_view()
        self.driver.wait(self._sharp, "a sharp view", 30)
        self.driver.picture("embedded")

    def explore(self) -> None:
        """Show the map, its clusters, and what is similar to a tile."""
        session, explore = self.place.session, self.dock.explore
        self.dock.steps.open(explore)
        shown_map = open_map(self.viewer)
        with self.driver.step("map"):
            explore.map_button.click()
            self.driver.wait(lambda: session.coordinates is not None, "the first map", 60)
            self.driver.wait(lambda: not self.place.runner.busy("map"), "the map", 1800)
        with self.driver.step("clusters"):
            explore.cluster_button.click()
            self.driver.wait(lambda: session.clusters is not None, "clusters", 300)
        shown_map.color_by.setCurrentText("cluster")
        self.driver.idle(0.3)
        self.driver.picture("map")
        grid = session.grid
        if grid is None:
            raise DriverError("the tile grid is gone")
        y, x = grid.centers[self._interesting_tile()]
        with self.driver.step("search"):
            self.place.picker.pick(float(y), float(x))
            explore.similar_button.click()
            self.driver.wait(lambda: session.scores is not None, "the heatmap", 60)
            self.driver.wait(lambda: not self.place.runner.busy("gallery"), "the gallery", 60)
        self.driver.idle(0.5)
        self.driver.picture("similar")

    def segment(self) -> None:
        """Draw boxes round dark objects with the mouse and commit what the segmenter answers."""
        panel, prompting = self.dock.segment, self.place.prompting
        self.dock.steps.open(panel)
        layer = self._annotations()
        for shown in ("similarity", "tiles", "tissue", "selected tiles"):
            if shown in self.viewer.layers:
                self.viewer.layers[shown].visible = False
        scale = self.slide.mpp or 1.0
        with self.driver.step("segment"):
            for y0, x0, y1, x1 in self._boxes():
                self.place.jump((y0 + y1) / 2, (x0 + x1) / 2, 3 * max(y1 - y0, x1 - x0))
                panel.prompts.box.click()
                self.driver.drag((y0 * scale, x0 * scale), (y1 * scale, x1 * scale))
                self.driver.wait(lambda: prompting.work.candidate is not None, "a mask", 300)
                self.driver.wait(self._sharp, "a sharp view", 30)
                self.driver.picture("prompt")
                count = len(layer.objects)
                self.driver.press_key("C")
                self.driver.wait(partial(_more_than, layer, count), "the object", 60)

    def correct(self) -> None:
        """Paint with the mouse, undo and redo."""
        layer, panel = self._annotations(), self.dock.segment
        y, x = self.viewer.scene.camera.center[-2:]
        step = 60 / self.viewer.scene.camera.zoom
        with self.driver.step("correct"):
            count = len(layer.objects)
            panel.brush_button.click()
            self.driver.drag((y + 2 * step, x - step), (y + 2 * step, x + step))
            self.driver.wait(lambda: len(layer.objects) == count + 1, "the stroke", 30)
            self.driver.press_key("Z", Qt.KeyboardModifier.ControlModifier)
            self.driver.wait(lambda: len(layer.objects) == count, "undo", 30)
            both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.driver.press_key("Z", both)
            self.driver.wait(lambda: len(layer.objects) == count + 1, "redo", 30)
        self.driver.idle(0.5)
        self.driver.picture("corrected")

    def export(self) -> None:
        """Export the training data."""
        panel = self.dock.export
        self.dock.steps.open(panel)
        folder = self.out / "export"
        shutil.rmtree(folder, ignore_errors=True)
        with self.driver.step("export"):
            panel.export(folder)
            self.driver.wait(lambda: panel.report is not None, "the export", 300)
        self.viewer.reset_view()
        self.driver.wait(self._sharp, "a sharp view", 30)
        self.driver.picture("exported")

    def finish(self) -> dict[str, Any]:
        """Write ``summary.json``."""
        session = self.place.session
        if session.embeddings is None:
            raise DriverError("the embeddings are gone")
        seconds = self.driver.seconds
        files = sorted(p for p in (self.out / "export").rglob("*") if p.is_file())
        self.summary |= {
            "slide": str(self.path),
            "slide_id": self.slide.id,
            "slide_shape": list(self.slide.levels[0].shape),
            "tiles": len(session.embeddings),
            "encoder": session.embeddings.key.encoder,
            "precision": session.embeddings.key.precision,
            "seconds": seconds,
            "objects": len(self._annotations().objects),
            "exported": [str(path.relative_to(self.out)) for path in files],
            "screenshots": [str(path.relative_to(self.out)) for path in self.driver.taken],
            "peak_rss_mib": round(self.memory.stop()),
            "model_rss_mib": round(model_memory_mib(self.encoder)),
            "window": list(self.window),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        }
        (self.out / "summary.json").write_text(json.dumps(self.summary, indent=2) + "\n")
        return self.summary

    @property
    def slide(self) -> SlideReader:
        """The slide that is open."""
        slide = self.place.session.slide
        if not isinstance(slide, SlideReader):
            raise DriverError(f"{self.path} could not be opened: see the message in the window")
        return slide

    def _annotations(self) -> AnnotationLayer:
        layer = self.place.session.annotations
        if layer is None:
            raise DriverError("there is no annotation layer: see the message in the window")
        return layer

    def _sharp(self) -> bool:
        layer = self.place.layers.layer(self.slide)
        return layer is not None and layer.metadata["pathfm"]["loader"].pending == 0

    def _embedding_started(self) -> bool:
        return not self.place.runner.busy("embed") or self._embedded() > 0

    def _embedded(self) -> int:
        """Return how many tiles are done, while the job runs."""
        jobs = [job for job in self.place.runner.running if job.slot == "embed"]
        return jobs[0].progress.done if jobs else 0

    def _interesting_tile(self) -> int:
        """Return the tile nearest to the middle of the tissue."""
        grid = self.place.session.grid
        if grid is None:
            raise DriverError("the tile grid is gone")
        offset = grid.centers - np.median(grid.centers, axis=0)
        return int(np.square(offset).sum(1).argmin())

    def _boxes(self) -> NDArray[np.float64]:
        """Boxes round the largest dark objects, with a margin, level-0 pixels."""
        boxes = self.dark_boxes()[:BOXES]
        margin = 0.05 * (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True)
        return boxes + np.hstack([-margin, -margin, margin, margin])

    def dark_boxes(self) -> NDArray[np.float64]:
        """Boxes round dark objects near the middle of the tissue, ``(N, 4)``, the largest first.

        ``(y0, x0, y1, x1)`` in level-0 pixels.
        """
        from scipy import ndimage
        from skimage.color import rgb2hed
        from skimage.filters import threshold_otsu
        from skimage.measure import label, regionprops

        grid = self.place.session.grid
        if grid is None:
            raise DriverError("the tile grid is gone")
        slide = self.slide
        level = level_for_downsample(slide.levels, 0.5 / (slide.mpp or 0.5))
        downsample = slide.levels[level].downsample
        y, x = (grid.centers[self._interesting_tile()] / downsample).astype(int) - SEEN_PX // 2
        seen = slide.read(level, y, x, SEEN_PX, SEEN_PX)
        stain = ndimage.gaussian_filter(rgb2hed(seen)[..., 0], 2)
        found = regionprops(label(stain > threshold_otsu(stain)))
        found = [r for r in found if r.solidity > 0.7 and r.area < SEEN_PX**2 / 16]
        found.sort(key=lambda region: -region.area)
        if not found:
            raise DriverError("no dark object to segment near the middle of the tissue")
        boxes = np.array([region.bbox for region in found], float)
        return np.asarray((boxes + np.array([y, x, y, x])) * downsample)


def _more_than(layer: AnnotationLayer, count: int) -> bool:
    return len(layer.objects) > count


def run_demo(slide: Path | None, encoder: str, out: Path, keep_open: bool) -> int:
    """Do the main job in a window.

    Parameters
    ----------
    slide : Path or None
        ``None`` for the sample slide.
    encoder : str
    out : Path
        Made if missing; what an earlier demo left there is replaced.
    keep_open : bool
        Leave the window to the user.

    Returns
    -------
    int
        Exit code: 0 if every step worked.

    Raises
    ------
    ModelError
        There is no such encoder.
    """
    known = catalog.encoders().names()
    if encoder not in known:
        raise ModelError(
            f"There is no encoder named {encoder!r}. Choose one of: {', '.join(known)}."
        )
    path = slide if slide is not None else sample_slide().path
    out.mkdir(parents=True, exist_ok=True)
    for name in ("project", "screenshots", "export"):
        shutil.rmtree(out / name, ignore_errors=True)
    print(f"The main job on {path.name} with {encoder}:")
    demo = Demo(path, encoder, out)
    try:
        summary = demo.run()
    except DriverError as error:
        print(f"\nThe demo stopped: {error}")
        demo.driver.picture("stopped")
        if not keep_open:
            demo.viewer.close()
            return 1
    else:
        print(
            f"{summary['tiles']:,} tiles at {summary['tiles_per_second']} tiles/s, "
            f"{summary['objects']} objects; everything is in {out}/"
        )
    if keep_open:
        print("The window is yours now; close it to end.")
        napari.run()
    else:
        demo.place.close()
        demo.viewer.close()
    return 0
