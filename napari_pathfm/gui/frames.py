"""Frames that cost less, and let others pass, where the processor draws them.

That is so without a graphics card, and on many a remote desktop: Qt, Mesa and what runs meanwhile
share the cores. There a frame of a slide takes about half the time so, and the event loop answers
between the parts of one.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import ReferenceType

from napari import Viewer
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtGui import QGuiApplication

from .layers import slide_of
from .textures import fit_anew, keep_texture

Callback = tuple[ReferenceType[Any], str]
"""A method of something, as napari's events keep it."""

SOFTWARE = ("llvmpipe", "softpipe", "swrast")
"""What Mesa calls the drivers that draw with the processor."""

AS_IT_IS = {
    "clim": "vec4 as_it_is(vec4 color) { vec2 limits = $clim; return color; }",
    "gamma": "vec4 as_it_is(vec4 color) { float power = $gamma; return color; }",
}
"""Shader functions in place of vispy's; a compiler drops variables that nothing uses."""

LONGEST_BAR = 153.0
"""Pixels of the screen, as napari draws it, with the width of its line."""

LEVEL_LABEL = "_update_auto_label"
"""What napari's layer controls call at new pixels, to show from which level they are."""

REST_MS = 150
"""The level is shown when so long no new pixels came."""

STATUS_MS = 100
"""What is under the pointer is told so often at most: each time the whole window is laid together
anew, which takes a third of a core from a pointer that moves."""

LISTED = "thumbnail", "visible", "name", "loaded", "locked"
"""What napari's list of layers shows of a layer."""


class LightFrames(QObject):
    """Makes the frames of a viewer cheaper, and those of each slide in it.

    Parameters
    ----------
    viewer : Viewer
    parent : QObject
    """

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        # napari offers no other way to what draws.
        self._canvas: Any = viewer.window._qt_viewer.canvas
        self._in_software = draws_in_software(self._canvas)
        if self._in_software:
            compose_apart(self._canvas.native)
            draw_later(self._canvas.native)
            # napari's own listener, which makes the bar, was there before.
            viewer.canvas.overlays.scale_bar.events.visible.connect(self._on_scale_bar)
            self._tell_less_often(viewer)
        self._list_what_is_shown(viewer)
        self._level_labels: list[Callback] = []
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._show_levels)
        # After napari's own listener, which makes what draws the layer.
        viewer.layers.events.inserted.connect(self._on_inserted, position="last")
        for layer in viewer.layers:
            self._adopt(layer)

    def _on_inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _adopt(self, layer: Layer) -> None:
        if isinstance(layer, Image) and layer.rgb and slide_of(layer) is not None:
            choose = partial(self._choose_shader, layer)
            for event in (layer.events.gamma, layer.events.contrast_limits):
                event.connect(choose)
            choose()
            self._hold_level_label(layer)
            if self._in_software:
                node = self._canvas.layer_to_visual[layer].node
                keep_texture(node)
                layer.events.interpolation2d.connect(lambda _: fit_anew(node))

    def _tell_less_often(self, viewer: Viewer) -> None:
        tell = viewer.window._qt_window.status_thread.trigger_status_update
        self._status = QTimer(self)
        self._status.setSingleShot(True)
        self._status.setInterval(STATUS_MS)
        self._status.timeout.connect(tell)
        viewer.cursor.events.position.disconnect(tell)
        viewer.cursor.events.position.connect(self._on_pointer)

    def _on_pointer(self, _: Any) -> None:
        if not self._status.isActive():
            self._status.start()

    def _list_what_is_shown(self, viewer: Viewer) -> None:
        # napari paints the whole list at each event of a layer, new pixels among them.
        self._list: Any = viewer.window._qt_viewer.layers.model().sourceModel()
        viewer.layers.events.disconnect(self._list._process_event)
        viewer.layers.events.connect(self._on_layer)

    def _on_layer(self, event: Any) -> None:
        if event.type in LISTED:
            self._list._process_event(event)

    def _on_scale_bar(self) -> None:
        overlay = self._canvas.viewer.canvas.overlays.scale_bar
        for visual in self._canvas._viewer_overlay_to_visual.get(overlay, ()):
            steady(visual.node)

    def _choose_shader(self, layer: Image, _: Any = None) -> None:
        # vispy stretches each colour and raises it to a power, be it by 1: a fourth of a frame.
        node = self._canvas.layer_to_visual[layer].node
        templates = dict(type(node)._func_templates)
        if layer.gamma == 1 and tuple(layer.contrast_limits) == (0, 255):
            templates |= AS_IT_IS
        if templates != node._func_templates:
            node._func_templates = templates
            node._need_colortransform_update = True
            node.update()

    def _hold_level_label(self, layer: Image) -> None:
        # A frame in which anything beside the canvas is painted takes twice the time.
        pixels = layer.events.set_data
        for callback in tuple(pixels.callbacks):
            if isinstance(callback, tuple) and callback[1] == LEVEL_LABEL:
                pixels.disconnect(callback)
                self._level_labels.append(callback)
                pixels.connect(self._on_pixels)

    def _on_pixels(self, _: Any) -> None:
        self._rest.start()

    def _show_levels(self) -> None:
        self._level_labels = [held for held in self._level_labels if held[0]() is not None]
        for reference, name in self._level_labels:
            getattr(reference(), name)()


def draws_in_software(canvas: Any) -> bool:
    """Whether the processor draws what is on a canvas of napari."""
    from vispy.gloo import gl

    canvas._scene_canvas.set_current()
    renderer = str(gl.glGetParameter(gl.GL_RENDERER)).lower()
    return any(name in renderer for name in SOFTWARE)


def compose_apart(native: Any) -> None:
    """Give a canvas a window of its own within the window of X11.

    As a mere part of the window it has Qt lay the canvas and all docks over each other anew at
    each frame. Elsewhere than on X11 nothing is done.
    """
    if QGuiApplication.platformName() == "xcb":
        native.setAttribute(Qt.WidgetAttribute.WA_NativeWindow)
        native.winId()  # makes it


def steady(scale_bar: Any) -> None:
    """Keep the box of a scale bar as wide as the longest bar, with the bar in its middle.

    Else each step of the zoom gives the box another width, and its shader is compiled again: 10 ms.
    """
    layout = scale_bar._calculate_layout
    if layout.__name__ == "_calculate_layout":

        def wide(length: float) -> dict[str, float]:
            found: dict[str, float] = layout(length)
            return found | {"width": max(found["width"], LONGEST_BAR)}

        scale_bar._calculate_layout = wide


def draw_later(native: Any) -> None:
    """Let a canvas draw one turn of the event loop after it was asked to.

    So what a movement of the view asks for (the pixels of the place) is done in one turn and the
    frame in the next one, and whatever waits is served between them.
    """
    timer = QTimer(native)
    timer.setSingleShot(True)
    timer.setInterval(0)
    timer.timeout.connect(native.update)
    native._vispy_update = timer.start  # what vispy calls
