"""The chosen object as polygons, whose corners are moved with napari's own tools."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np
from app_model.types import KeyCode
from napari import Viewer
from napari.layers import Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QObject

from ..analysis.polygon import reshape_to, rings_of
from ..core.jobs import Job, Progress
from ..io.masks import AnnotationLayer
from ..session import Session
from . import notify
from .history import History
from .keys import bind
from .layers import OVERLAY, slide_transform
from .runner import Runner
from .view import from_data, to_data, view_downsample

NAME = "polygon of object"
COLOR, LINE_PX = "#f0e442", 2.5
SLOT = "polygon"

Found = tuple[int, list[NDArray[np.float64]]]


class PolygonEdit(QObject):
    """One object at a time: Enter keeps what was drawn, Escape forgets it.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    runner : Runner
    history : History
        Takes the edit.
    """

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        runner: Runner,
        history: History,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._runner = viewer, session, runner
        self._history = history
        self._number = 0
        self.layer: Shapes | None = None
        session.events.annotations.connect(self.cancel)

    def start(self, number: int) -> None:
        """Show an object as polygons; one that is being changed already is forgotten."""
        annotations = self._session.annotations
        if annotations is not None:
            self.cancel()
            job = _find(annotations, number)
            self._runner.start(job, "Drawing the outline", self._show, slot=SLOT)

    def finish(self) -> None:
        """Give the object the shape of the polygons: one edit."""
        if self.layer is None:
            return
        number, rings = self._number, [from_data(ring[:, -2:]) for ring in self.layer.data]
        self.cancel()
        build = partial(reshape_to, number=number, rings=rings)
        self._history.commit(f"reshape object {number}", build)

    def cancel(self, *_: object) -> None:
        """Take the polygons away; the object stays as it is."""
        self._runner.cancel(SLOT)
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            with contextlib.suppress(ValueError):
                self._viewer.layers.remove(layer)

    def _show(self, found: Found) -> None:
        slide = self._session.slide
        if slide is None:
            return
        self._number, rings = found
        layer = Shapes(
            [to_data(ring) for ring in rings],
            shape_type="polygon",
            name=f"{NAME} {self._number}",
            edge_color=COLOR,
            face_color="transparent",
            edge_width=LINE_PX * view_downsample(self._viewer, slide),
            ndim=2,
            metadata=OVERLAY,
            **slide_transform(slide),
        )
        self.layer = layer
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = layer
        layer.mode = "direct"
        bind(layer, {KeyCode.Enter: self.finish, KeyCode.Escape: self.cancel})
        notify.tell("Drag the corners. Enter keeps the new shape, Escape the old one.")


def _find(annotations: AnnotationLayer, number: int) -> Job[Found]:
    yield Progress(0, 1, "reading the object")
    return number, rings_of(annotations, number)
