"""Where the camera of a viewer looks: moving it, and hearing of it not too often."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari import Viewer
from qtpy.QtCore import QObject, QTimer, Signal

EVERY_MS = 100
"""While the view moves, those who only show where it is hear of it so often."""


class CameraWatch(QObject):
    """Tells at most ten times a second that the view has moved, and always of its last place."""

    moved = Signal()

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(EVERY_MS)
        self._timer.timeout.connect(self.moved)
        camera = viewer.scene.camera.events
        for event in (camera.center, camera.zoom, viewer.canvas.events.size):
            event.connect(self._on_event)

    def _on_event(self, _: Any = None) -> None:
        if not self._timer.isActive():
            self._timer.start()


def zoom_about(viewer: Viewer, zoom: float, pointer: tuple[float, float] | None = None) -> None:
    """Change the zoom so that one place of the view stays where it is.

    Parameters
    ----------
    viewer : Viewer
    zoom : float
        Pixels of the screen per world unit.
    pointer : tuple of float, optional
        ``(y, x)`` of that place, world units; the middle of the view if absent.
    """
    camera = viewer.scene.camera
    if pointer is not None:
        center, fixed = np.asarray(camera.center)[-2:], np.asarray(pointer)
        y, x = fixed + (center - fixed) * camera.zoom / zoom
        camera.center = (0.0, float(y), float(x))
    camera.zoom = zoom
