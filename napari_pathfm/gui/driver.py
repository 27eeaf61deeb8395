"""Drives a window as a user would: presses buttons, waits for what follows, takes pictures."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from napari import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QEventLoop, QObject, QPoint, Qt, QTimer
from qtpy.QtTest import QTest as _QTest
from qtpy.QtWidgets import QApplication, QWidget

from .stalls import StallMeter

# The stubs give these functions a `self`, which they do not have.
QTest: Any = _QTest
CANVAS = "CanvasBackendDesktop"
NO_MODIFIER = Qt.KeyboardModifier.NoModifier


STROKE_SECONDS = 0.7
LOOK_SECONDS = 0.7

REST_SECONDS = 0.3
"""Before a picture: what follows when the view rests is in it."""


class DriverError(RuntimeError):
    """Something that should have followed did not."""


class Driver:
    """Presses, waits and takes pictures in a window.

    Parameters
    ----------
    viewer : napari.Viewer
    pictures : Path
        Folder for screenshots, made if it is missing.
    """

    def __init__(self, viewer: Viewer, pictures: Path) -> None:
        self.viewer = viewer
        self.pictures = pictures
        self.seconds: dict[str, float] = {}
        self.taken: list[Path] = []
        self._canvas: QWidget | None = None
        pictures.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def step(self, name: str) -> Generator[None, None, None]:
        """Measure a step and say that it is being done."""
        print(f"  {name} …", end="", flush=True)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
        print(f" {self.seconds[name]:.1f} s", flush=True)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 600) -> None:
        """Let the window work until something is true.

        Raises
        ------
        DriverError
            It is not true after `seconds`.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise DriverError(f"waited {seconds:g} s in vain for {what}")
            self.idle(0.01)

    def idle(self, seconds: float) -> None:
        """Let the window work for some time."""
        loop = QEventLoop()
        QTimer.singleShot(max(1, round(seconds * 1000)), loop.quit)
        loop.exec()

    @property
    def canvas(self) -> QWidget:
        """The widget that the layers are drawn on."""
        if self._canvas is not None and isalive(self._canvas) and self._canvas.isVisible():
            return self._canvas  # to look for it among all widgets takes some ms
        for widget in QApplication.allWidgets():
            kind = widget.metaObject()
            if kind is not None and kind.className() == CANVAS and widget.isVisible():
                self._canvas = widget
                return widget
        raise DriverError("the window has no canvas")

    def press_key(self, key: str, modifier: Qt.KeyboardModifier = NO_MODIFIER) -> None:
        """Press a key while the canvas has the focus."""
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifier)
        self.idle(0.02)

    def move(self, position: tuple[float, float]) -> None:
        """Move the pointer to a world position ``(y, x)``."""
        QTest.mouseMove(self.canvas, self._on_canvas(position))

    def click(self, position: tuple[float, float]) -> None:
        """Press and release the left button at a world position ``(y, x)``, at once."""
        QTest.mouseClick(
            self.canvas, Qt.MouseButton.LeftButton, NO_MODIFIER, self._on_canvas(position)
        )

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 12) -> None:
        """Drag with the left mouse button from one world position ``(y, x)`` to another."""
        canvas, left = self.canvas, Qt.MouseButton.LeftButton
        a, b = self._on_canvas(start), self._on_canvas(end)
        QTest.mouseMove(canvas, a)
        self.idle(0.05)
        QTest.mousePress(canvas, left, NO_MODIFIER, a)
        for step in range(1, steps + 1):
            QTest.mouseMove(canvas, a + (b - a) * step / steps)
            self.idle(0.015)
        QTest.mouseRelease(canvas, left, NO_MODIFIER, b)
        self.idle(0.05)

    def _on_canvas(self, position: tuple[float, float]) -> QPoint:
        camera, size = self.viewer.scene.camera, self.canvas.size()
        y = (position[0] - camera.center[-2]) * camera.zoom + size.height() / 2
        x = (position[1] - camera.center[-1]) * camera.zoom + size.width() / 2
        return QPoint(round(x), round(y))

    def picture(self, name: str, widget: QWidget | None = None) -> Path:
        """Take a screenshot of the whole window, or of one widget."""
        self.idle(REST_SECONDS)
        path = self.pictures / f"{len(self.taken) + 1}-{name}.png"
        if widget is None:
            self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        else:
            widget.grab().save(str(path))
        self.taken.append(path)
        return path


class Panning(QObject):
    """Moves the camera along a loop as a hand does that looks around: a stroke, a look, a stroke.

    While it moves, it takes 60 steps a second.

    Parameters
    ----------
    viewer : napari.Viewer
    center : tuple of float
        ``(y, x)`` of the loop's centre, world units.
    radius : tuple of float
        Half its extent, world units.
    seconds : float
        Of one round, without the pauses.
    """

    def __init__(
        self,
        viewer: Viewer,
        center: tuple[float, float],
        radius: tuple[float, float],
        seconds: float = 20,
    ) -> None:
        super().__init__()
        self._viewer, self._center, self._radius, self._seconds = viewer, center, radius, seconds
        self._start = 0.0
        self.meter = StallMeter(self)
        self._timer = QTimer(self)
        self._timer.setInterval(16)
        self._timer.timeout.connect(self._move)

    def start(self) -> None:
        """Start moving and measuring."""
        self._start = time.perf_counter()
        self._timer.start()
        self.meter.start()

    def stop(self) -> None:
        """Stop both."""
        self._timer.stop()
        self.meter.stop()

    def _move(self) -> None:
        seconds = time.perf_counter() - self._start
        strokes, within = divmod(seconds, STROKE_SECONDS + LOOK_SECONDS)
        if within > STROKE_SECONDS:
            return
        moved = strokes * STROKE_SECONDS + within
        turn = 2 * math.pi * moved / self._seconds
        y = self._center[0] + self._radius[0] * math.sin(2 * turn)
        x = self._center[1] + self._radius[1] * math.sin(turn)
        self._viewer.scene.camera.center = (0.0, y, x)


class PeakMemory:
    """Highest resident memory of this process while it is watched, in MiB."""

    def __init__(self, every: float = 0.05) -> None:
        self.peak_mib = 0.0
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(every,), daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Stop watching and return the peak."""
        self._stop.set()
        self._thread.join()
        return self.peak_mib

    def _watch(self, every: float) -> None:
        while not self._stop.wait(every):
            self.peak_mib = max(self.peak_mib, self._process.memory_info().rss / 2**20)
