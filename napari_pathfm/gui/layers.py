"""The slide as a napari layer: levels over the shared cache, refreshed as segments arrive.

World coordinates of the viewer are micrometres where the slide says how large a pixel is, level-0
pixels where it does not; data coordinates of every layer of ours are level-0 pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer

from ..core.slide import Slide
from ..io.loader import SegmentLoader
from ..io.reader import SlideReader
from ..io.reader_napari import LayerData
from ..session import Session

REFRESH_MS = 40
"""Newly decoded segments are shown in groups, at most this often."""


def slide_scale(slide: Slide) -> float:
    """World units per level-0 pixel: micrometres, or 1 where the slide has no mpp."""
    return slide.mpp or 1.0


def slide_transform(slide: Slide, downsample: float = 1.0) -> dict[str, Any]:
    """Keyword arguments that lay a layer over the slide.

    Parameters
    ----------
    slide : Slide
    downsample : float
        Level-0 pixels per pixel of the layer's data. Pixels of pyramids share their upper left
        corner, napari places the centre of a pixel at its coordinate: the translation makes up
        for the difference.
    """
    scale = slide_scale(slide)
    shift = (downsample - 1) / 2 * scale
    unit = "um" if slide.mpp else "pixel"
    return {
        "scale": (scale * downsample,) * 2,
        "translate": (shift, shift),
        "units": (unit, unit),
    }


def slide_of(layer: Layer) -> SlideReader | None:
    """Return the slide behind an image layer, ``None`` if it is no slide's."""
    ours = layer.metadata.get("pathfm", {})
    slide = ours.get("slide")
    return slide if isinstance(slide, SlideReader) else None


class SlideLayers(QObject):
    """Keeps one image layer for each open slide sharp, and tells the session which is worked on.

    Slides come in by the panel, by drag and drop, by ``File > Open`` or by the command line; all of
    them end as layers with our metadata, and only those are looked at.
    """

    def __init__(self, viewer: Viewer, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        self._waiting: set[Image] = set()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self._refresh)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        for layer in list(viewer.layers):
            self._adopt(layer)
        self._timer.start()

    def add(self, data: LayerData) -> Layer:
        """Show a slide, given as napari's readers give it."""
        levels, attributes, kind = data
        layer = self._viewer.add_layer(Layer.create(levels, attributes, kind))
        self._viewer.reset_view()
        return layer

    def layer(self, slide: Slide) -> Image | None:
        """Return the image layer of a slide."""
        for layer in self._viewer.layers:
            shown = slide_of(layer)
            if shown is not None and shown.id == slide.id:
                return layer
        return None

    def replace_slide(self, slide: SlideReader) -> None:
        """Show the same slide with another mpp."""
        layer = self.layer(slide)
        if layer is None:
            return
        layer.metadata["pathfm"]["slide"] = slide
        for name, value in slide_transform(slide).items():
            setattr(layer, name, value)
        self._viewer.reset_view()

    def _on_inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _adopt(self, layer: Layer) -> None:
        slide = slide_of(layer)
        if slide is None:
            return
        # The loader calls from its threads: only a flag is set there, the timer does the rest.
        loader: SegmentLoader = layer.metadata["pathfm"]["loader"]
        loader.loaded.connect(lambda *_: self._waiting.add(layer))
        self._session.show_slide(slide)

    def _on_removed(self, event: Any) -> None:
        slide = slide_of(event.value)
        if slide is None:
            return
        event.value.metadata["pathfm"]["loader"].close()
        session = self._session
        session.slides = tuple(s for s in session.slides if s.id != slide.id)
        if session.slide is not None and session.slide.id == slide.id:
            session.show_slide(session.slides[-1] if session.slides else None)
        slide.close()

    def _on_active(self, event: Any) -> None:
        slide = slide_of(event.value) if event.value is not None else None
        if slide is not None:
            self._session.show_slide(slide)

    def _refresh(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, set()
        for layer in waiting:
            if layer not in self._viewer.layers:
                continue
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        position = np.asarray(self._viewer.cursor.position)[-2:]
        for slide in self._session.slides:
            layer = self.layer(slide)
            if layer is not None:
                focus = position / slide_scale(slide)
                layer.metadata["pathfm"]["loader"].focus = (float(focus[0]), float(focus[1]))
