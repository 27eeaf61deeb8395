"""Shows the segments of slides as they arrive, in any viewer that has a slide."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari import Viewer
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer

from ..io.loader import SegmentLoader
from .layers import slide_of, slide_scale

REFRESH_MS = 80
"""Newly decoded segments are shown in groups, at most this often."""

HOLD_SECONDS = 0.12
"""After a movement of the view nothing is read ahead for so long."""


class Sharpener(QObject):
    """Refreshes the slides of a viewer, and tells their loaders where the pointer is.

    It needs no session: a slide that napari opened is sharp before our dock is.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._waiting: set[Image] = set()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._refresh)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for event in (viewer.scene.camera.events.center, viewer.scene.camera.events.zoom):
            event.connect(self._on_moved)
        for layer in viewer.layers:
            self._adopt(layer)
        self._timer.start()

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
            # The loader calls from its threads: only a flag is set there, the timer does the rest.
            _loader(layer).loaded.connect(lambda *_: self._waiting.add(layer))
            self._waiting.add(layer)

    def _refresh(self) -> None:
        position = np.asarray(self._viewer.cursor.position)[-2:]
        for _ in range(len(self._waiting)):
            layer = self._waiting.pop()
            slide = slide_of(layer)
            if slide is None or layer not in self._viewer.layers:
                continue
            for shown in self._fed_by(_loader(layer)):
                shown.refresh(thumbnail=False, highlight=False, extent=False)
            y, x = position / slide_scale(slide)
            _loader(layer).focus = (float(y), float(x))

    def _fed_by(self, loader: SegmentLoader) -> list[Layer]:
        # The slide and the stains of it.
        layers = self._viewer.layers
        return [one for one in layers if one.metadata.get("pathfm", {}).get("loader") is loader]


def _loader(layer: Layer) -> SegmentLoader:
    loader: SegmentLoader = layer.metadata["pathfm"]["loader"]
    return loader


_sharpeners: WeakKeyDictionary[Viewer, Sharpener] = WeakKeyDictionary()


def keep_sharp(viewer: Viewer) -> Sharpener:
    """Return the sharpener of a viewer, made at the first call."""
    if viewer not in _sharpeners:
        _sharpeners[viewer] = Sharpener(viewer)
    return _sharpeners[viewer]
