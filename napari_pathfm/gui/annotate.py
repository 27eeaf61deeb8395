"""The edit window: one plain Labels layer over the visible part of the annotation layer.

It holds the visible region and a margin at the level that is shown, is filled anew from the store
when the camera rests, and turns each stroke of napari's own tools into one edit.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from app_model.types import KeyCode
from napari import Viewer
from napari.layers import Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from ..core.slide import Slide
from ..io.masks import AnnotationLayer, HandStroke
from ..session import Session
from . import notify
from .active import ActiveClass
from .class_changes import ClassChanges
from .filling import Filler, Filling
from .history import History
from .keys import REDO, UNDO, Keys, bind
from .label_codes import Codes, class_colormap, code_of, object_of, with_room_for
from .layers import slide_scale
from .place import STEP, Place, clipped, place_for
from .runner import Runner
from .strokes import stroke_of
from .view import Region, look_at, view_downsample, visible_region

NAME = "annotations"
REST_MS = 120
"""The window is filled anew when the camera has rested so long."""

MOVING_MS = 60
"""While the camera moves, it is looked so often whether it has left the window."""

OBJECT_SHARE = 4
"""An object that is jumped to fills this part of the view, as its reciprocal."""


class EditWindow(QObject):
    """Shows ``session.annotations`` and takes the user's strokes.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    runner : Runner
        Writes the strokes.
    """

    object_chosen = Signal(int)
    """The object that the brush paints; 0 for none."""

    refilled = Signal()
    """The window has been filled from the store."""

    _store_changed = Signal()

    def __init__(
        self, viewer: Viewer, session: Session, runner: Runner, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        self.history = History(session, runner, self)
        self.active = ActiveClass(session, self)
        self.class_changes = ClassChanges(session, self.history, self)
        self.layer: Labels | None = None
        self.place: Place | None = None
        self._store: AnnotationLayer | None = None
        self._slide: Slide | None = None
        self._asleep = False
        self._highlighted = 0
        self._new = 0
        self._pressed = self._unfinished = self._stale = self._choosing = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.timeout.connect(self._on_rest)
        self._moving = QTimer(self)
        self._moving.setSingleShot(True)
        self._moving.setInterval(MOVING_MS)
        self._moving.timeout.connect(self._on_moving)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._refill_behind)
        self._filler = Filler(self)
        self._filler.filled.connect(self._on_filled)
        self._store_changed.connect(self._soon.start)
        self.history.dropped.connect(self.refill)
        self.active.changed.connect(self._on_class)
        camera = viewer.scene.camera.events
        for event in (camera.zoom, camera.center, viewer.canvas.events.size):
            event.connect(self._on_camera)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        session.events.annotations.connect(self._on_annotations)
        session.events.classes.connect(self._on_classes)
        self.keys: Keys = {
            UNDO: self.history.undo,
            REDO: self.history.redo,
            KeyCode.KeyD: self.paint,
            KeyCode.KeyE: self.erase,
            KeyCode.KeyM: self.new_object,
            **{str(digit): _choose(self.active, digit) for digit in range(1, 10)},
        }
        bind(viewer, self.keys)
        self._on_annotations()

    def close(self) -> None:
        """Write what waits, and let go of the thread."""
        self.history.flush()
        self._filler.close()

    def add_keys(self, keys: Keys) -> None:
        """Let further keys work on the viewer and on our layer, too."""
        self.keys = {**self.keys, **keys}
        bind(self._viewer, keys)
        self._bind_layers()

    def _bind_layers(self) -> None:
        for layer in self._viewer.layers:
            self._bind_slide(layer)
        if self.layer is not None:
            bind(self.layer, {**self.keys, KeyCode.Escape: self.cancel_tool})

    def _bind_slide(self, layer: Layer) -> None:
        # An Image or Vectors layer has other uses for the digits and for C.
        if layer.metadata.get("pathfm", {}).keys() & {"slide", "overlay"}:
            bind(layer, self.keys)

    def _on_inserted(self, event: Any) -> None:
        self._bind_slide(event.value)

    # -- what the user does -------------------------------------------------------------------

    def paint(self) -> None:
        """Take the brush."""
        self._mode("paint")

    def erase(self) -> None:
        """Take the eraser."""
        self._mode("erase")

    @property
    def chosen(self) -> int:
        """The object that strokes belong to; 0 for a new one."""
        store = self._session.annotations
        if self.layer is None or store is None:
            return 0
        number = object_of(int(self.layer.selected_label))
        return number if store.objects.brief(number) is not None else 0

    @property
    def region(self) -> Region | None:
        """``(y0, x0, y1, x1)`` of the view, level-0 pixels; ``None`` without a slide."""
        return visible_region(self._viewer, self._slide) if self._slide is not None else None

    def new_object(self) -> None:
        """The next stroke makes a new object of the active class."""
        if self._store is not None and self.layer is not None:
            self.highlight(0)
            self._new = self._store.new_id()
            self._select(code_of(self._new, self.active.id))

    def choose_object(self, number: int) -> None:
        """The next strokes belong to this object."""
        row = self._store.objects.brief(number) if self._store is not None else None
        if row is not None:
            self._select(code_of(number, row.class_id))

    def highlight(self, number: int) -> None:
        """Point an object out by its colour; 0 for none."""
        if number != self._highlighted:
            self._highlighted = number
            self.refill()

    def show_object(self, number: int) -> None:
        """Move the view to an object, point it out, and let the brush paint it."""
        store, slide = self._store, self._slide
        row = store.objects.brief(number) if store is not None else None
        if slide is None or row is None:
            return
        look_at(self._viewer, slide, row.box, OBJECT_SHARE)
        self.choose_object(number)
        self.highlight(number)

    @property
    def object_id(self) -> int:
        """Object that the brush paints; 0 for none."""
        return object_of(self.layer.selected_label) if self.layer is not None else 0

    def cancel_tool(self) -> None:
        """Drop a polygon or an outline that is not closed yet."""
        if self.layer is not None:
            mode = self.layer.mode
            self.layer.mode = "pan_zoom"
            self.layer.mode = mode
        self._finished()

    # -- showing ------------------------------------------------------------------------------

    def refill(self, *_: object) -> None:
        """Show what the store holds at the visible place, with what still waits laid over it."""
        filling = self._wanted()
        self._filler.drop()
        if filling is not None:
            self._on_filled(filling, filling.codes())

    def _refill_behind(self) -> None:
        """:meth:`refill`, with the reading in a thread."""
        filling = self._wanted()
        if filling is not None:
            self._filler.ask(filling)

    def _wanted(self) -> Filling | None:
        """What the window should show now; ``None`` if it must stay as it is."""
        store, layer, slide = self._store, self.layer, self._slide
        if store is None or layer is None or slide is None:
            return None
        if self._pressed or self._unfinished:
            self._stale = True
            return None
        self._sleep(layer, store)
        if self._asleep:
            return None
        self._stale = False
        region, scale = visible_region(self._viewer, slide), view_downsample(self._viewer, slide)
        strokes = tuple(self.history.strokes(store))
        place = place_for(store, region, scale)
        return Filling(store, place, strokes, self.active.id, self._highlighted)

    def _on_filled(self, filling: Filling, codes: Codes) -> None:
        if self.layer is None or filling.store is not self._store:
            return
        if self._pressed or self._unfinished:
            self._stale = True
            return
        self._show(self.layer, filling.place, codes)
        self.refilled.emit()

    def _sleep(self, layer: Labels, store: AnnotationLayer) -> None:
        # With nothing to show and nobody painting, drawing the layer would only slow the view.
        asleep = (
            not store.objects
            and not self.history.strokes(store)
            and self._viewer.layers.selection.active is not layer
        )
        if asleep != self._asleep:
            self._asleep = asleep
            layer.visible = not asleep
        if self._session.refusal:
            layer.mode, layer.editable = "pan_zoom", False

    def _on_active(self, event: Any) -> None:
        if self._asleep and self.layer is not None and event.value is self.layer:
            self.refill()

    def _show(self, layer: Labels, place: Place, codes: Codes) -> None:
        if place != self.place and self._slide is not None:
            scale, factor = slide_scale(self._slide), 2**place.level
            corner = np.array((place.y, place.x)) * factor + (factor - 1) / 2
            if self.place is None or place.level != self.place.level:
                layer.scale = (scale * factor,) * 2
            layer.translate = corner * scale
            self.place = place
        codes = with_room_for(int(layer.selected_label), codes)
        if (layer.data.shape, layer.data.dtype) == (codes.shape, codes.dtype):
            layer.data[...] = codes
            layer.refresh(thumbnail=False, extent=False)
        else:
            layer.data = codes
        _forget_history(layer)

    # -- what happens -------------------------------------------------------------------------

    def _on_annotations(self, *_: object) -> None:
        if self._store is not None:
            self._store.changed.disconnect(self._on_layer_changed)
            self._store.table_changed.disconnect(self._on_layer_changed)
        old, self.layer, self.place, self._highlighted = self.layer, None, None, 0
        if old is not None and old in self._viewer.layers:
            self._viewer.layers.remove(old)
        self._store, self._slide = self._session.annotations, self._session.slide
        self._pressed = self._unfinished = self._stale = False
        if self._store is not None and self._slide is not None:
            self._store.changed.connect(self._on_layer_changed)
            self._store.table_changed.connect(self._on_layer_changed)
            self._add_layer(self._slide)
            self.refill()
            self.new_object()
        self.history.changed.emit()

    def _add_layer(self, slide: Slide) -> None:
        active = self._viewer.layers.selection.active
        unit = "um" if slide.mpp else "pixel"
        layer = Labels(
            np.zeros((STEP, STEP), np.uint32),
            name=NAME,
            units=(unit, unit),
            opacity=0.5,
            colormap=class_colormap(self._session.classes),
            metadata={"pathfm": {"annotations": self._store, "project": self._session.project}},
        )
        layer.brush_size = 20
        layer.events.paint.connect(self._on_paint)
        layer.events.selected_label.connect(self._on_selected_label)
        layer.events.mode.connect(self._finished)
        layer.mouse_drag_callbacks.append(self._on_press)
        self.layer = layer
        self._asleep = False
        self._viewer.add_layer(layer)
        self._bind_layers()
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _on_removed(self, event: Any) -> None:
        if self.layer is not None and event.value is self.layer:
            QTimer.singleShot(0, self._put_back)

    def _put_back(self) -> None:
        # The layer is a view of what the project holds; without it nothing could be corrected.
        if self.layer is None or self._store is None or self.layer in self._viewer.layers:
            return
        self._on_annotations()
        notify.tell(f"“{NAME}” shows what the project holds: hide it with the eye beside its name.")

    def _on_press(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        # A polygon and an encircling stroke (right button) go on after this button is released,
        # in pixels of the window: until they are closed it must not move.
        if str(layer.mode) == "polygon" or (str(layer.mode) == "paint" and event.button == 2):
            self._unfinished = True
        self._pressed = True
        yield
        while event.type == "mouse_move":
            yield
        self._pressed = False
        if self._stale:
            self._timer.start()

    def _on_paint(self, event: Any) -> None:
        layer, place, store = self.layer, self.place, self._store
        if layer is None or place is None or store is None:
            return
        self._unfinished = False
        if self._filler.busy:
            # What is being read does not know of this stroke.
            self._filler.drop()
            self._stale = True
            self._timer.start()
        stroke = stroke_of(event.value, place.level, place.y, place.x)
        _forget_history(layer)
        if stroke is not None:
            text = str(layer.mode).replace("_", " ")
            self.history.paint(HandStroke(stroke, text, self.active.id))

    def _on_selected_label(self) -> None:
        layer, store = self.layer, self._store
        if self._choosing or layer is None or store is None:
            return
        code = int(layer.selected_label)
        number = object_of(code)
        row = store.objects.brief(number)
        if row is not None:
            self._select(code_of(number, row.class_id))
        elif code and number != self._new:
            # A number that is typed in, or napari's own "new label", means no object of ours.
            self.new_object()
        else:
            self.object_chosen.emit(number)

    def _select(self, code: int) -> None:
        if self.layer is None:
            return
        self._choosing = True
        roomy = with_room_for(code, self.layer.data)
        if roomy is not self.layer.data:
            self.layer.data = roomy
        self.layer.selected_label = code
        self._choosing = False
        self.object_chosen.emit(object_of(code))

    def _mode(self, mode: str) -> None:
        if self._session.refusal:
            notify.warn(f"Nothing can be painted: {self._session.refusal}.")
        elif self.layer is not None:
            self._viewer.layers.selection.active = self.layer
            self.layer.mode = mode

    def _on_class(self, _: int) -> None:
        self.new_object()

    def _on_classes(self, *_: object) -> None:
        if self.layer is not None:
            self.layer.colormap = class_colormap(self._session.classes)

    def _on_camera(self) -> None:
        self._timer.start()
        if not self._moving.isActive():
            self._moving.start()

    def _on_moving(self) -> None:
        # A pan may go on for long: the mask goes with it.
        slide, store = self._slide, self._store
        if slide is None or store is None or self._filler.busy or self._unfinished:
            return
        if not self._holds(clipped(visible_region(self._viewer, slide), store.shape)):
            self._refill_behind()

    def _on_rest(self) -> None:
        slide, store = self._slide, self._store
        if slide is None or store is None or self._pressed:
            return
        region = visible_region(self._viewer, slide)
        if self._unfinished and self.place is not None and not self.place.meets(region):
            self.cancel_tool()
        place = place_for(store, region, view_downsample(self._viewer, slide))
        same = self.place is not None and place.level == self.place.level
        if self._stale or not same or not self._holds(clipped(region, store.shape)):
            self._refill_behind()

    def _holds(self, region: Region) -> bool:
        return self.place is not None and self.place.holds(region)

    def _on_layer_changed(self, *_: object) -> None:
        # Called in whatever thread writes; what is being written by hand is on screen already.
        if self.history.writing is None:
            self._store_changed.emit()

    def _finished(self, *_: object) -> None:
        self._unfinished = False
        if self._stale:
            self._timer.start()


def _choose(active: ActiveClass, digit: int) -> Any:
    return lambda: active.choose_digit(digit)


def _forget_history(layer: Labels) -> None:
    # napari's undo would stamp old pixels at a place where the window no longer is; it has no
    # public way to forget them that keeps the tool.
    layer._reset_history()
