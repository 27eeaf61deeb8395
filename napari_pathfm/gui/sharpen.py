"""Shows the segments of slides as they arrive, in any viewer that has a slide."""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakKeyDictionary

from napari import Viewer
from napari.layers import Layer
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from ..io.loader import SegmentLoader
from .ahead import Ahead
from .frames import LightFrames
from .layers import slide_of
from .unlisted import unlisted

PART_MS = 120
"""So long a view waits for the last of its segments before it shows those that are there."""

AT_ONCE_SECONDS = 0.03
"""So long the first pixels after a rest wait for segments, if they are likely to come.

Enlarging a coarser level in their place takes longer than decoding them does from a disk at hand,
and costs a frame more. A view that goes on moving waits for nothing.
"""

HOLD_SECONDS = 0.12
"""After a movement of the view nothing is read ahead for so long."""


class Sharpener(QObject):
    """Refreshes the slides of a viewer, and tells their loaders where the pointer is.

    It needs no session: a slide that napari opened is sharp before our dock is.
    """

    _settled = Signal(object)
    _arrived = Signal(object)

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._waiting: set[SegmentLoader] = set()
        self._sliced_at = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PART_MS)
        self._timer.timeout.connect(self._refresh_waiting)
        # Loaders call from their threads.
        self._arrived.connect(self._on_arrived, Qt.ConnectionType.QueuedConnection)
        self._settled.connect(self._on_settled, Qt.ConnectionType.QueuedConnection)
        self._frames = LightFrames(viewer, self)
        self._ahead = Ahead(viewer, self._fed, self)
        self._ahead.slicing.connect(self._on_slicing)
        self._ahead.sliced.connect(self._on_sliced)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for event in (viewer.scene.camera.events.center, viewer.scene.camera.events.zoom):
            event.connect(self._on_moved)
        for layer in viewer.layers:
            self._adopt(layer)

    def close(self) -> None:
        """Stop, and stop the loaders of all slides."""
        self._timer.stop()
        for layer in self._viewer.layers:
            if slide_of(layer) is not None:
                _loader(layer).close()
        _sharpeners.pop(self._viewer, None)

    def _on_inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _on_moved(self) -> None:
        for layer in self._viewer.layers:
            if slide_of(layer) is not None:
                _loader(layer).hold(HOLD_SECONDS)

    def _on_removed(self, event: Any) -> None:
        if slide_of(event.value) is not None:
            _loader(event.value).close()

    def _adopt(self, layer: Layer) -> None:
        if slide_of(layer) is not None:
            loader = _loader(layer)
            loader.loaded.connect(lambda *_: self._hear(loader))
            loader.settled.connect(lambda: self._settled.emit(loader))
            self._hear(loader)

    def _hear(self, loader: SegmentLoader) -> None:
        # Of many segments that arrive one after the other, the first one counts.
        if loader not in self._waiting:
            self._waiting.add(loader)
            self._arrived.emit(loader)

    def _on_arrived(self, _: SegmentLoader) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _on_settled(self, loader: SegmentLoader) -> None:
        if loader in self._waiting:
            self._refresh(loader)

    def _on_slicing(self) -> None:
        now = time.monotonic()
        moving, self._sliced_at = now - self._sliced_at < HOLD_SECONDS, now
        for loader in self._loaders():
            loader.patient_until = 0.0 if moving else now + AT_ONCE_SECONDS
            loader.lacking = None

    def _on_sliced(self) -> None:
        for loader in self._loaders():
            loader.patient_until = 0.0
            if loader.lacking is False:  # what has come meanwhile is in the pixels
                self._waiting.discard(loader)

    def _loaders(self) -> set[SegmentLoader]:
        found = {_fed_by(layer) for layer in self._viewer.layers}
        return {loader for loader in found if loader is not None}

    def _refresh_waiting(self) -> None:
        for loader in tuple(self._waiting):
            self._refresh(loader)

    def _refresh(self, loader: SegmentLoader) -> None:
        self._waiting.discard(loader)
        for layer in self._viewer.layers:
            if _fed_by(layer) is loader:
                with unlisted(layer):
                    layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _fed(self) -> list[Layer]:
        # The slides and the stains of them; what is nearest to the pointer is read first.
        for layer in self._viewer.layers:
            if slide_of(layer) is not None:
                y, x = layer.world_to_data(self._viewer.cursor.position)[-2:]
                _loader(layer).focus = (float(y), float(x))
        return [layer for layer in self._viewer.layers if _fed_by(layer) is not None]


def _fed_by(layer: Layer) -> SegmentLoader | None:
    loader: SegmentLoader | None = layer.metadata.get("pathfm", {}).get("loader")
    return loader


def _loader(layer: Layer) -> SegmentLoader:
    loader: SegmentLoader = layer.metadata["pathfm"]["loader"]
    return loader


_sharpeners: WeakKeyDictionary[Viewer, Sharpener] = WeakKeyDictionary()


def keep_sharp(viewer: Viewer) -> Sharpener:
    """Return the sharpener of a viewer, made at the first call."""
    if viewer not in _sharpeners:
        _sharpeners[viewer] = Sharpener(viewer)
    return _sharpeners[viewer]
