"""The layers on which the user says what object is meant, and the one that shows the answer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Layer, Points, Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from ..analysis.candidate import Candidate
from ..core.prompts import MaskPrompt, Prompts
from ..core.slide import Slide
from .keys import Keys, bind
from .layers import slide_transform
from .scratch import Scratch
from .view import from_data, to_data, view_downsample

POINTS = "prompts: points"
BOXES = "prompts: box"
SCRATCH = "object in work"
POSITIVE, NEGATIVE = "#00ff00", "#ff0000"
BOX_COLOR = "#00e5ff"
SYMBOLS = {True: "disc", False: "x"}
"""Signs differ in shape, too: not everybody tells green from red."""

SCRIBBLE_POINTS, SCRIBBLE_PX = 4, 30.0
"""Points that a scribble stands for at most, and pixels of the screen between them."""

POINT_PX = 14.0
LINE_PX = 2.5
STRAY_PX = 6.0
"""Sizes on the screen."""


class PromptLayers(QObject):
    """Points, box and scratch layer over one slide.

    Parameters
    ----------
    viewer : Viewer
    slide : Slide
    keys : mapping
        Bound on each of the layers.
    """

    prompted = Signal()
    """The user has finished a point or a box, or moved or removed one."""

    removed = Signal()
    """The user has removed one of the layers."""

    hovered = Signal(float, float)
    """The pointer is at ``(y, x)``, level-0 pixels, where a click would set a point."""

    left = Signal()
    """A click would set no point any more."""

    _due = Signal()

    def __init__(
        self, viewer: Viewer, slide: Slide, keys: Keys, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self.slide = viewer, slide
        self._pressed = self._quiet = self._changed = self._awaited = False
        self._mask: MaskPrompt | None = None  # of an object that is segmented again
        self._scratch = Scratch(slide, SCRATCH, POSITIVE)
        # A timer would come after the next frame.
        self._due.connect(self._tidy, Qt.ConnectionType.QueuedConnection)
        self.scratch = self._scratch.layer
        self.boxes = self._make_boxes()
        self.points = self._make_points()
        active = viewer.layers.selection.active
        for layer in (self.scratch, self.boxes, self.points):
            viewer.add_layer(layer)
            bind(layer, keys)
        if active is not None and active in viewer.layers:
            viewer.layers.selection.active = active
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_mode)
        self.set_positive(True)

    # -- tools --------------------------------------------------------------------------------

    def take_box(self) -> None:
        """The next drag draws a box."""
        self._viewer.layers.selection.active = self.boxes
        _reveal(self.boxes)
        self.boxes.current_edge_width = LINE_PX * view_downsample(self._viewer, self.slide)
        self.boxes.mode = "add_rectangle"

    def take_scribble(self) -> None:
        """The next drag draws a line on the object, or beside it."""
        self.take_box()
        self.boxes.mode = "add_path"

    def take_point(self) -> None:
        """The next clicks set points."""
        self._viewer.layers.selection.active = self.points
        self._show_points()
        self.points.mode = "add"

    def _show_points(self) -> None:
        _reveal(self.points)
        with self.points.block_update_properties():
            self.points.current_size = POINT_PX * view_downsample(self._viewer, self.slide)

    @property
    def positive(self) -> bool:
        """Sign of the next point."""
        return bool(self.points.feature_defaults["positive"].iloc[0])

    def set_positive(self, positive: bool) -> None:
        """Choose the sign of the next points; those that are there keep theirs."""
        with self.points.block_update_properties():
            self.points.feature_defaults = {"positive": positive}
            self.points.current_symbol = SYMBOLS[positive]
            self.points.current_border_color = POSITIVE if positive else NEGATIVE
            self.points.current_face_color = "transparent"

    # -- what is there ------------------------------------------------------------------------

    def prompts(self) -> Prompts:
        """What the user has said so far, level-0 pixels."""
        points = from_data(np.asarray(self.points.data, float).reshape(-1, 2))
        positive = self.points.features["positive"].to_numpy(bool)
        return Prompts(points, positive, self._box(), self._mask)

    def _box(self) -> Any:
        if not len(self.boxes.data):
            return None
        corners = from_data(np.asarray(self.boxes.data[-1])[:, -2:])
        low, high = corners.min(0), corners.max(0)
        return np.concatenate([low, high]) if (high - low >= 1).all() else None

    def put(self, prompts: Prompts) -> None:
        """Show these prompts instead of those that are there; the tool stays as it is."""
        self.clear()
        positive, self._quiet, self._mask = self.positive, True, prompts.mask
        self._show_points()
        for place, sign in zip(prompts.points, prompts.positive, strict=True):
            self.set_positive(bool(sign))
            self.points.add(to_data(place)[None])
        if prompts.box is not None:
            _reveal(self.boxes)
            width = LINE_PX * view_downsample(self._viewer, self.slide)
            corners = to_data(np.asarray(prompts.box).reshape(2, 2))
            self.boxes.add_rectangles(corners, edge_width=width)
        self.set_positive(positive)
        self._quiet = False

    def clear(self) -> None:
        """Remove all prompts and the object in work."""
        self.clear_prompts()
        self.show(None, POSITIVE)

    def clear_prompts(self) -> None:
        """Remove all prompts; the object in work stays on screen."""
        self._quiet, self._mask = True, None
        self.points.data = np.zeros((0, 2))
        self.boxes.data = []
        self._quiet = False

    def show(self, candidate: Candidate | None, color: str, preview: bool = False) -> None:
        """Show a candidate in the colour of its class to be, fainter as a preview; or nothing."""
        self._scratch.show(candidate, color, preview)

    def hide(self, candidate: Candidate) -> None:
        """Show nothing, if this is what is shown."""
        if self._scratch.shown is candidate:
            self.show(None, POSITIVE)

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        self._quiet, self._awaited = True, False
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_mode)
        for layer in (self.points, self.boxes, self.scratch):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All of them."""
        return self.points, self.boxes, self.scratch

    # -- making -------------------------------------------------------------------------------

    def _make_points(self) -> Points:
        layer = Points(
            ndim=2,
            name=POINTS,
            visible=False,  # until it is used: every layer shown makes moving the view slower
            features={"positive": np.zeros(0, bool)},
            face_color="transparent",
            border_width=0.25,
            **slide_transform(self.slide),
        )
        layer.events.data.connect(self._on_change)
        layer.events.mode.connect(self._on_mode)
        layer.mouse_drag_callbacks.append(self._on_press)
        layer.mouse_move_callbacks.append(self._on_move)
        return layer

    def _make_boxes(self) -> Shapes:
        layer = Shapes(
            ndim=2,
            name=BOXES,
            visible=False,
            face_color="transparent",
            edge_color=BOX_COLOR,
            **slide_transform(self.slide),
        )
        layer.events.data.connect(self._on_change)
        layer.mouse_drag_callbacks.append(self._on_press)
        return layer

    # -- what happens -------------------------------------------------------------------------

    def _on_press(self, layer: Layer, event: Any) -> Generator[None, None, None]:
        if self._awaited:
            self._tidy()  # a click before counts by itself, though the window had no time for it
        self._pressed = True
        yield
        while event.type == "mouse_move":
            yield
        self._pressed = False
        if self._changed:
            self._tidy_soon()

    def _on_move(self, layer: Points, event: Any) -> None:
        if layer.mode == "add" and not self._pressed:
            y, x = from_data(np.asarray(layer.world_to_data(event.position))[-2:])
            self.hovered.emit(float(y), float(x))

    def _on_mode(self, _: Any) -> None:
        if self.points.mode != "add" or self._viewer.layers.selection.active is not self.points:
            self.left.emit()

    def _on_change(self, event: Any) -> None:
        if not self._quiet and str(event.action) not in ("adding", "changing", "removing"):
            self._changed = True
            self._tidy_soon()

    def _on_removed(self, event: Any) -> None:
        if any(event.value is layer for layer in self.layers):
            QTimer.singleShot(0, self.removed.emit)

    def _tidy_soon(self) -> None:
        if not self._awaited:
            self._awaited = True
            self._due.emit()

    def _tidy(self) -> None:
        awaited, self._awaited = self._awaited, False
        # napari tells of a box at its first pixel; it counts when the button is released.
        if self._pressed or not awaited:
            return
        self._changed = False
        if "path" in self.boxes.shape_type:
            self._take_scribbles()
        last = len(self.boxes.data) - 1
        if last >= 0 and self._is_stray(np.asarray(self.boxes.data[last])):
            self._remove_boxes({last})
            return
        if last > 0:
            self._remove_boxes(set(range(last)))
        self.prompted.emit()

    def _is_stray(self, corners: NDArray[np.floating]) -> bool:
        """Whether a box is what napari makes of a click without a drag."""
        size = np.ptp(corners[:, -2:], axis=0) / view_downsample(self._viewer, self.slide)
        return bool((size < STRAY_PX).all())

    def _take_scribbles(self) -> None:
        """Turn lines into points along them, of the sign that is chosen."""
        lines = [n for n, kind in enumerate(self.boxes.shape_type) if kind == "path"]
        apart = SCRIBBLE_PX * view_downsample(self._viewer, self.slide)
        self._quiet = True
        _reveal(self.points)
        for number in lines:
            self.points.add(_along(np.asarray(self.boxes.data[number])[:, -2:], apart))
        self._quiet = False
        self._remove_boxes(set(lines))

    def _remove_boxes(self, numbers: set[int]) -> None:
        self._quiet = True
        self.boxes.selected_data = numbers
        self.boxes.remove_selected()
        self._quiet = False


def _reveal(layer: Layer) -> None:
    if not layer.visible:  # else napari would put down the tool that is in the hand
        layer.visible = True


def _along(line: NDArray[np.floating], apart: float) -> NDArray[np.float64]:
    """Place points on a line, evenly: ``(K, 2)``."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    travelled = np.concatenate([[0.0], steps.cumsum()])
    count = int(np.clip(round(travelled[-1] / apart), 1, SCRIBBLE_POINTS))
    wanted = (np.arange(count) + 0.5) / count * travelled[-1]
    return np.stack([np.interp(wanted, travelled, line[:, axis]) for axis in (0, 1)], 1)
