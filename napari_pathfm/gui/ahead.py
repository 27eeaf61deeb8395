"""Gives slides the pixels of a view before it is drawn; napari looks for them after drawing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Layer
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, Qt, Signal

from .unlisted import unlisted

MOVES = (QEvent.Type.MouseMove, QEvent.Type.Wheel, QEvent.Type.NativeGesture)
"""What of the mouse may move the view; napari's camera hears of it when it is drawn."""


class Ahead(QObject):
    """Slices layers as soon as the view has moved, and so saves the frame with the old pixels.

    Parameters
    ----------
    viewer : Viewer
    layers : callable
        Returns the layers to slice.
    """

    slicing = Signal()
    """Layers are about to get the pixels of another view."""

    sliced = Signal()
    """Layers have the pixels of the view as far as they are there."""

    _moved = Signal()

    def __init__(self, viewer: Viewer, layers: Callable[[], list[Layer]], parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._layers = viewer, layers
        # napari offers no way to slice for a view, and the mouse moves vispy's camera alone.
        self._canvas: Any = viewer.window._qt_viewer.canvas
        self._corners: NDArray[np.floating] = np.zeros((2, 2))
        self._queued = False
        # Qt draws when all that was queued before is done, and draws once for all of it.
        self._moved.connect(self._slice, Qt.ConnectionType.QueuedConnection)
        self._canvas.native.installEventFilter(self)
        camera = viewer.scene.camera.events
        for event in (camera.center, camera.zoom, viewer.canvas.events.size):
            event.connect(self._on_moved)

    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        """Hear of the mouse before napari does."""
        if event is not None and event.type() in MOVES:
            self._on_moved()
        return False

    def _on_moved(self, _: Any = None) -> None:
        if not self._queued:
            self._queued = True
            self._moved.emit()

    def _slice(self) -> None:
        self._queued = False
        if self._viewer.canvas.grid.enabled or self._viewer.dims.ndisplay != 2:
            return
        corners = self._canvas._viewbox_corners_in_world[:, -2:]
        if np.array_equal(corners, self._corners):
            return
        self._corners, sliced = corners, self._layers()
        self.slicing.emit()
        seen, known = self._canvas.camera.zoom, self._viewer.scene.camera.zoom
        scale = 1 / (known if np.isclose(seen, known) else seen)
        for layer in self._viewer.layers:
            with unlisted(layer):
                layer.scale_factor = scale
                if layer in sliced:
                    size = self._canvas._current_viewbox_size[::-1]
                    layer._update_draw(scale, corners, size)
        self.sliced.emit()
