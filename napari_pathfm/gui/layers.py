"""Slides as napari layers, and which of them is worked on.

World coordinates of the viewer are micrometres where the slide says how large a pixel is, level-0
pixels where it does not; data coordinates of every layer of ours are level-0 pixels.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from napari import Viewer
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ..core.slide import Slide
from ..io.reader import SlideReader
from ..io.reader_napari import LayerData
from ..session import Session
from . import notify

OVERLAY: dict[str, Any] = {"pathfm": {"overlay": True}}
"""Metadata of what is drawn over a slide: keys and clicks on it are meant for the slide."""


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


def is_overlay(layer: Layer) -> bool:
    """Whether a layer is an outline, a heatmap or a line being drawn over a slide."""
    return bool(layer.metadata.get("pathfm", {}).get("overlay"))


class SlideLayers(QObject):
    """Keeps an image layer for each open slide, and tells the session which is worked on.

    Slides come in by the panel, by drag and drop, by ``File > Open`` or by the command line; all of
    them end as layers with our metadata, and only those are looked at. The slide that is worked on
    is shown alone, for all of them lie at the same place; or somebody lays them out.

    Attributes
    ----------
    alone : bool
        Whether only the slide that is worked on is shown.
    """

    together = Signal()
    """Slides that are not shown alone are to be laid out."""

    def __init__(self, viewer: Viewer, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        self._views: dict[str, tuple[Any, float]] = {}
        self.alone = True
        # A slide is as bright as napari's bar.
        viewer.canvas.overlays.scale_bar.box = True
        # A layer that is hidden while napari still adds another one makes OpenGL crash.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._arrange)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        for layer in list(viewer.layers):
            self._adopt(layer)

    def add(self, data: LayerData) -> Layer:
        """Show a slide, given as napari's readers give it."""
        levels, attributes, kind = data
        self._use_units(attributes["metadata"]["pathfm"]["slide"])
        return self._viewer.add_layer(Layer.create(levels, attributes, kind))

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
        self._use_units(slide)
        for name, value in slide_transform(slide).items():
            setattr(layer, name, value)
        if self.alone:
            self._viewer.reset_view(layers=[layer])
        else:
            self.arrange()

    def arrange(self) -> None:
        """Show what is to be shown, as soon as napari is done with what it does."""
        self._soon.start()

    def _on_inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _adopt(self, layer: Layer) -> None:
        slide = slide_of(layer)
        if slide is None:
            return
        if self.layer(slide) is not layer:
            # napari is still busy with adding it.
            QTimer.singleShot(0, partial(self._drop, layer))
            return
        self._work_on(slide)

    def _drop(self, layer: Layer) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
            shown = slide_of(layer)
            notify.tell(f"{shown.name if shown is not None else layer.name} is open already.")

    def _on_removed(self, event: Any) -> None:
        slide, session = slide_of(event.value), self._session
        if slide is None:
            return
        if slide in session.slides:
            session.slides = tuple(other for other in session.slides if other is not slide)
            if slide is session.slide:
                self._work_on(session.slides[-1] if session.slides else None)
            elif not self.alone:
                self.arrange()
        slide.close()

    def _on_active(self, event: Any) -> None:
        slide = slide_of(event.value) if event.value is not None else None
        if slide is not None and (slide in self._session.slides):
            self._work_on(slide)

    def _work_on(self, slide: SlideReader | None) -> None:
        before, camera = self._session.slide, self._viewer.scene.camera
        if slide is before:
            return
        if before is not None and self.alone:
            self._views[before.id] = camera.center, camera.zoom
        if slide is not None:
            self._use_units(slide)
        self._session.show_slide(slide)
        self._viewer.canvas.overlays.scale_bar.visible = slide is not None
        self.arrange()

    def _arrange(self) -> None:
        if self.alone:
            self._show_alone()
        else:
            self.together.emit()

    def _show_alone(self) -> None:
        slide = self._session.slide
        if slide is None:
            return
        for layer in self._viewer.layers:
            shown = slide_of(layer)
            if shown is not None:
                layer.visible = shown is slide
        camera = self._viewer.scene.camera
        if slide.id in self._views:
            camera.center, camera.zoom = self._views[slide.id]
        else:
            self._viewer.reset_view(layers=[self.layer(slide)])

    def _use_units(self, slide: SlideReader) -> None:
        # napari warns at every draw while units differ, though it be those of hidden layers.
        units = slide_transform(slide)["units"]
        for layer in self._viewer.layers:
            if layer.ndim == len(units):
                layer.units = units
