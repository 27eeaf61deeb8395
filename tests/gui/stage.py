"""A window over a small slide of dark discs, with real mouse and keyboard events."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from napari import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.core.slide import Level
from napari_pathfm.gui.annotate import EditWindow
from napari_pathfm.gui.annotation_layers import AnnotationLayers
from napari_pathfm.gui.beside import Beside
from napari_pathfm.gui.layers import slide_transform
from napari_pathfm.gui.runner import Runner
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.session import Session

DISCS = ((600.0, 800.0, 120.0), (600.0, 1400.0, 90.0), (1500.0, 2200.0, 200.0))
"""Each: y, x, radius."""

CLASSES = (AnnotationClass(1, "tumor", "#d55e00"), AnnotationClass(2, "stroma", "#0072b2"))


class DiscSlide:
    """A pink slide with purple discs, drawn on demand."""

    id, name, path = "discs", "discs", Path("discs")
    properties: dict[str, str] = {}
    damage: dict[tuple[int, int, int], str] = {}
    associated_images: tuple[str, ...] = ()
    levels = (Level((2500, 4000), 1.0, (512, 512)), Level((625, 1000), 4.0, (512, 512)))

    def __init__(self, mpp: float | None = 0.5) -> None:
        self.mpp = mpp

    def read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        scale = self.levels[level].downsample
        rows = (y + np.arange(height) + 0.5) * scale
        cols = (x + np.arange(width) + 0.5) * scale
        rgb = np.empty((height, width, 3), np.uint8)
        rgb[:] = (235, 190, 215)
        for cy, cx, radius in DISCS:
            rgb[(rows[:, None] - cy) ** 2 + (cols[None] - cx) ** 2 < radius**2] = (110, 50, 140)
        out_y, out_x = (rows < 0) | (rows >= 2500), (cols < 0) | (cols >= 4000)
        rgb[out_y] = 255
        rgb[:, out_x] = 255
        return rgb

    def associated(self, name: str) -> NDArray[np.uint8]:
        raise KeyError(name)

    def settle(self) -> None:
        """Wait until everything is written."""
        deadline = time.monotonic() + 20
        while self.edits.history.busy and time.monotonic() < deadline:
            QTest.qWait(5)

    def close(self) -> None: ...


@cache
def drawn() -> tuple[NDArray[np.uint8], ...]:
    """Each level of the slide as a whole."""
    slide = DiscSlide()
    return tuple(slide.read(i, 0, 0, *level.shape) for i, level in enumerate(slide.levels))


class Stage:
    """Viewer, session, runner and edit window over one slide, and the user's hands."""

    def __init__(self, viewer: Viewer, folder: Path, mpp: float | None = 0.5) -> None:
        self.viewer = viewer
        self.slide = DiscSlide(mpp)
        self.project = Project.open(folder, author="ada")
        self.project.add_slide(self.slide)
        self.project.set_classes(CLASSES)
        self.session = Session(project=self.project, classes=CLASSES)
        self.runner = Runner()
        self.image = viewer.add_image(
            list(drawn()),
            multiscale=True,
            rgb=True,
            metadata={"pathfm": {"slide": self.slide}},
            **slide_transform(self.slide),
        )
        self.session.show_slide(self.slide)
        self.edits = EditWindow(viewer, self.session, self.runner)
        self.beside = Beside(viewer, self.session)
        self.masks = AnnotationLayers(self.session, self.runner, self.beside)
        self.session.annotations = self.store = AnnotationLayer.open(
            self.project, self.slide.id, "regions", self.slide.levels[0].shape
        )

    @property
    def canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    @property
    def scale(self) -> float:
        return self.slide.mpp or 1.0

    def look(self, y: float, x: float, downsample: float = 1.0) -> None:
        """Put a level-0 position in the middle of the view."""
        camera = self.viewer.scene.camera
        camera.center = (0, (y - 0.5) * self.scale, (x - 0.5) * self.scale)
        camera.zoom = 1 / (downsample * self.scale)
        self.edits.refill()

    def pixel(self, y: float, x: float) -> QPoint:
        """Where a level-0 position is on the canvas."""
        camera = self.viewer.scene.camera
        center = np.array(camera.center[-2:])
        world = (np.array((y, x)) - 0.5) * self.scale
        height, width = self.viewer.canvas.size
        row, col = (world - center) * camera.zoom + np.array((height, width)) / 2
        return QPoint(round(col), round(row))

    def drag(
        self,
        places: Sequence[tuple[float, float]],
        button: Qt.MouseButton = Qt.MouseButton.LeftButton,
    ) -> None:
        """Press at the first place, move over the others, release at the last."""
        points = [self.pixel(*place) for place in places]
        QTest.mouseMove(self.canvas, points[0])
        QTest.mousePress(self.canvas, button, Qt.KeyboardModifier.NoModifier, points[0])
        for point in points[1:]:
            QTest.qWait(15)  # vispy drops moves that follow each other more quickly
            self._move(point, button)
        QTest.qWait(15)
        QTest.mouseRelease(self.canvas, button, Qt.KeyboardModifier.NoModifier, points[-1])
        self.settle()

    def click(self, y: float, x: float) -> None:
        """Click at a level-0 position."""
        self.drag([(y, x)])

    def hover(self, y: float, x: float) -> None:
        """Move the pointer to a level-0 position, with no button held."""
        for point in (self.pixel(y + 2, x), self.pixel(y, x)):
            QTest.qWait(15)
            self._move(point, Qt.MouseButton.NoButton)

    def press(self, keys: str) -> None:
        """Press a key ("s", "Shift+C") with the canvas in focus."""
        self.canvas.setFocus()
        *modifiers, key = keys.split("+")
        held = Qt.KeyboardModifier.NoModifier
        for name in modifiers:
            held |= getattr(Qt.KeyboardModifier, f"{name}Modifier")
        QTest.keyClick(self.canvas, getattr(Qt.Key, f"Key_{key}"), held)
        self.settle()

    def _move(self, point: QPoint, button: Qt.MouseButton) -> None:
        # QTest.mouseMove tells of no button, and vispy needs to know which one is held.
        from qtpy.QtCore import QEvent, QPointF
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        event = QMouseEvent(
            QEvent.Type.MouseMove,
            QPointF(point),
            QPointF(self.canvas.mapToGlobal(point)),
            Qt.MouseButton.NoButton,
            button,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self.canvas, event)

    def settle(self) -> None:
        """Wait until everything is written."""
        deadline = time.monotonic() + 20
        while self.edits.history.busy and time.monotonic() < deadline:
            QTest.qWait(5)

    def close(self) -> None:
        self.edits.close()
        self.runner.shutdown()
        self.session.annotations = None
        self.project.close()
