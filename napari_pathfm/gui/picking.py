"""Select tiles on the slide: a click takes one, a lasso a region."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from app_model.types import KeyCode
from napari import Viewer
from napari.layers import Shapes
from qtpy.QtCore import QObject, QTimer

from ..session import Session
from .keys import bind
from .layers import OVERLAY, SlideLayers, is_overlay, slide_of, slide_transform

LASSO = "select tiles"


class Picker(QObject):
    """Turns clicks and lassos on the slide into ``session.selection``."""

    def __init__(
        self, viewer: Viewer, session: Session, layers: SlideLayers, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._layers = viewer, session, layers
        viewer.mouse_drag_callbacks.append(self._on_press)

    def _on_press(self, viewer: Viewer, event: Any) -> Generator[None, None, None]:
        active, slide = viewer.layers.selection.active, self._session.slide
        shown = self._layers.layer(slide) if slide is not None else None
        if active is None or shown is None or event.button != 1 or str(active.mode) != "pan_zoom":
            return
        if slide_of(active) is None and not is_overlay(active):
            return
        start = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.array(event.pos) - start).max() > 4:
            return  # it was a pan
        y, x = shown.world_to_data(event.position)[-2:]
        self.pick(float(y), float(x), add="Shift" in event.modifiers)

    def pick(self, y: float, x: float, add: bool = False) -> None:
        """Select the tile at a level-0 position, or nothing where there is none."""
        grid = self._session.grid
        if grid is None:
            return
        tile = grid.at(y, x)
        picked = np.zeros(0, np.int64) if tile is None else np.array([tile])
        if add:
            picked = np.union1d(self._session.selection.tiles, picked)
        self._session.select(picked)

    def start_lasso(self) -> None:
        """Let the user draw round a region; its tiles are selected when the line is closed."""
        slide = self._session.slide
        if slide is None:
            return
        for earlier in [one for one in self._viewer.layers if one.name == LASSO]:
            self._viewer.layers.remove(earlier)  # never drawn, or left by Escape
        layer = Shapes(
            name=LASSO,
            edge_color="#f0e442",
            face_color="transparent",
            edge_width=3 / (self._viewer.scene.camera.zoom * (slide.mpp or 1.0)),
            ndim=2,
            metadata=OVERLAY,
            **slide_transform(slide),
        )
        self._viewer.add_layer(layer)
        layer.mode = "add_polygon_lasso"
        self._viewer.layers.selection.active = layer
        layer.mouse_drag_callbacks.append(self._on_lasso_release)
        bind(layer, {KeyCode.Escape: lambda: self._finish(layer, drawn=False)})

    def _on_lasso_release(self, layer: Shapes, event: Any) -> Generator[None, None, None]:
        yield
        while event.type == "mouse_move":
            yield
        QTimer.singleShot(0, lambda: self._finish(layer))

    def _finish(self, layer: Shapes, drawn: bool = True) -> None:
        grid, slide = self._session.grid, self._session.slide
        line = layer.data[-1] if drawn and len(layer.data) else None
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        if slide is not None:
            self._viewer.layers.selection.active = self._layers.layer(slide)
        if grid is not None and line is not None and len(line) > 2:
            self._session.select(grid.inside(np.asarray(line)[:, -2:]))
