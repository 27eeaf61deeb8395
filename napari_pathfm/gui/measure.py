"""Rulers and points on a slide: layers of napari's own, in micrometres."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Layer, Points, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from ..core.slide import Slide
from ..session import Session
from . import notify
from .camera import CameraWatch
from .follow import follow
from .layers import slide_transform

RULER, POINTS = "ruler", "points"
COLOR = "#d55e00"
SCREEN_WIDTH = 3.0
SCREEN_SIZE = 12
"""Width of a ruler and size of a point in pixels of the screen."""


def length_text(pixels: float, mpp: float | None) -> str:
    """Say a length in level-0 pixels in the unit that suits it."""
    if mpp is None:
        return f"{pixels:,.0f} px"
    length = pixels * mpp
    return f"{length / 1e3:.2f} mm" if length >= 1e3 else f"{length:.1f} µm"


def path_length(line: NDArray[np.floating]) -> float:
    """Length of a line through ``(K, 2)`` points."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


class Measuring(QObject):
    """Makes the layers when they are first used, one of each for every slide."""

    def __init__(
        self, viewer: Viewer, session: Session, watch: CameraWatch, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        # napari may still be busy with adding the slide's layer.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._show_own)
        watch.moved.connect(self._fit_widths)
        follow(self, (session.events.slide, self._on_slide))

    def rule(self) -> None:
        """Let the user draw lines that say how long they are."""
        layer = self._layer(RULER)
        if layer is not None:
            layer.mode = "add_line"

    def mark(self) -> None:
        """Let the user set points."""
        layer = self._layer(POINTS)
        if layer is not None:
            layer.mode = "add"

    def _on_slide(self) -> None:
        self._soon.start()

    def _layer(self, kind: str) -> Layer | None:
        slide = self._session.slide
        if slide is None:
            notify.tell("Open a slide first.")
            return None
        layer = next((one for one in self._own(slide) if _kind(one) == kind), None)
        if layer is None:
            layer = self._ruler(slide) if kind == RULER else _points(slide)
            self._viewer.add_layer(layer)
        layer.visible = True
        self._viewer.layers.selection.active = layer
        return layer

    def _ruler(self, slide: Slide) -> Shapes:
        layer = Shapes(
            ndim=2,
            name=RULER,
            edge_color=COLOR,
            edge_width=self._width(slide),
            opacity=1.0,
            features={"length": np.array([], object)},
            feature_defaults={"length": ""},
            text={
                "string": "{length}",
                "color": COLOR,
                "size": 14,
                "anchor": "upper_left",
                "translation": (0, 0),
            },
            metadata=_ours(RULER, slide),
            **slide_transform(slide),
        )
        layer.events.data.connect(self._on_drawn)
        return layer

    def _on_drawn(self, event: Any) -> None:
        _measure(event.source, self._session.slide)

    def _own(self, slide: Slide) -> list[Layer]:
        return [layer for layer in self._viewer.layers if _slide_id(layer) == slide.id]

    def _show_own(self) -> None:
        # Another slide, or another mpp of this one.
        slide = self._session.slide
        if slide is None:
            return
        own = self._own(slide)
        for layer in self._viewer.layers:
            if _slide_id(layer) is not None:
                layer.visible = layer in own
        for layer in own:
            for name, value in slide_transform(slide).items():
                setattr(layer, name, value)
            _measure(layer, slide)
        self._fit_widths()

    def _width(self, slide: Slide) -> float:
        scale = slide_transform(slide)["scale"][0]
        return float(SCREEN_WIDTH / (self._viewer.scene.camera.zoom * scale))

    def _fit_widths(self) -> None:
        slide = self._session.slide
        for layer in self._own(slide) if slide is not None else ():
            if isinstance(layer, Shapes) and slide is not None:
                width = self._width(slide)
                if not np.isclose(layer.current_edge_width, width, rtol=0.05):
                    layer.current_edge_width = width
                    layer.edge_width = [width] * len(layer.data)


def _points(slide: Slide) -> Points:
    return Points(
        ndim=2,
        name=POINTS,
        size=SCREEN_SIZE,
        canvas_size_limits=(SCREEN_SIZE, SCREEN_SIZE),
        face_color="transparent",
        border_color=COLOR,
        border_width=0.2,
        metadata=_ours(POINTS, slide),
        **slide_transform(slide),
    )


def _measure(layer: Layer, slide: Slide | None) -> None:
    if not isinstance(layer, Shapes) or slide is None or _slide_id(layer) != slide.id:
        return
    lengths = [length_text(path_length(line), slide.mpp) for line in layer.data]
    if lengths != list(layer.features["length"]):
        layer.features = {"length": np.array(lengths, object)}
        layer.refresh_text()


def _ours(kind: str, slide: Slide) -> dict[str, Any]:
    return {"pathfm": {"measure": kind, "slide_id": slide.id}}


def _kind(layer: Layer) -> str | None:
    kind: str | None = layer.metadata.get("pathfm", {}).get("measure")
    return kind


def _slide_id(layer: Layer) -> str | None:
    slide_id: str | None = layer.metadata.get("pathfm", {}).get("slide_id")
    return slide_id
