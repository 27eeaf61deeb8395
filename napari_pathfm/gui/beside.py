"""Other annotation layers of the slide, drawn as outlines beside the one that is edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from ..io.masks import AnnotationLayer
from ..session import Session
from .annotate import REST_MS
from .label_codes import class_colormap, encode
from .layers import OVERLAY, slide_scale
from .place import STEP, Place, place_for
from .view import view_downsample, visible_region

OUTLINE = 2
"""Pixels of the screen, about."""


class Beside(QObject):
    """Outlines of annotation layers that are looked at while another one is edited.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    """

    hidden = Signal(str)
    """The user took the layer of this name out of napari's list."""

    _store_changed = Signal()

    def __init__(self, viewer: Viewer, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        self._shown: dict[str, _Outlines] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.timeout.connect(self.refill)
        self._store_changed.connect(self._timer.start)
        camera = viewer.scene.camera.events
        for event in (camera.zoom, camera.center, viewer.canvas.events.size):
            event.connect(self._on_camera)
        viewer.layers.events.removed.connect(self._on_removed)
        session.events.classes.connect(self._on_classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers that are shown."""
        return tuple(self._shown)

    def show(self, layers: Sequence[AnnotationLayer]) -> None:
        """Show these layers and no others."""
        wanted = {layer.name: layer for layer in layers}
        for name, outlines in list(self._shown.items()):
            if wanted.get(name) is not outlines.store:
                del self._shown[name]
                outlines.store.changed.disconnect(self._tell)
                outlines.store.table_changed.disconnect(self._tell)
                if outlines.layer in self._viewer.layers:
                    self._viewer.layers.remove(outlines.layer)
        for name, layer in wanted.items():
            if name not in self._shown:
                self._shown[name] = self._add(layer)
        self.refill()

    def refill(self) -> None:
        """Draw what the layers hold where the view is now."""
        slide = self._session.slide
        if slide is None:
            return
        region = visible_region(self._viewer, slide)
        for outlines in self._shown.values():
            place = place_for(outlines.store, region, view_downsample(self._viewer, slide))
            outlines.fill(place, slide_scale(slide))

    def _add(self, store: AnnotationLayer) -> _Outlines:
        active, slide = self._viewer.layers.selection.active, self._session.slide
        unit = "um" if slide is not None and slide.mpp else "pixel"
        layer = Labels(
            np.zeros((STEP, STEP), np.uint32),
            name=f"{store.name} (beside)",
            units=(unit, unit),
            colormap=class_colormap(self._session.classes),
            metadata=OVERLAY,
        )
        layer.contour = OUTLINE
        self._viewer.add_layer(layer)
        if active is not None and active in self._viewer.layers:
            # The one that is painted on stays on top, and in the user's hands.
            self._viewer.layers.selection.active = active
        store.changed.connect(self._tell)
        store.table_changed.connect(self._tell)
        return _Outlines(store, layer)

    def _tell(self, *_: object) -> None:
        # Called in whatever thread writes.
        self._store_changed.emit()

    def _on_camera(self) -> None:
        if self._shown:
            self._timer.start()

    def _on_classes(self) -> None:
        for outlines in self._shown.values():
            outlines.layer.colormap = class_colormap(self._session.classes)

    def _on_removed(self, event: Any) -> None:
        for name, outlines in list(self._shown.items()):
            if event.value is outlines.layer:
                del self._shown[name]
                self.hidden.emit(name)


class _Outlines:
    """A layer and what napari draws of it."""

    def __init__(self, store: AnnotationLayer, layer: Labels) -> None:
        self.store, self.layer = store, layer

    def fill(self, place: Place, scale: float) -> None:
        factor, table = 2**place.level, self.store.objects
        ids = self.store.read(place.level, place.y, place.x, place.height, place.width)
        corner = np.array((place.y, place.x)) * factor + (factor - 1) / 2
        self.layer.scale = (scale * factor,) * 2
        self.layer.translate = corner * scale
        self.layer.data = encode(ids, table.class_of)
        self.layer.editable = False  # napari makes it so again with new data
