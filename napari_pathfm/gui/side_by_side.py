"""Several slides beside each other at one scale, each under its name; a click chooses one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Layer, Points
from qtpy.QtCore import QObject, QTimer, Signal

from ..core.slide import Slide
from ..io.reader import SlideReader
from ..session import Session
from .layers import OVERLAY, SlideLayers, slide_scale, slide_transform

NAMES = "slide names"
COLOR = "#56b4e9"
GAP = 0.05
"""Between two slides, as a part of the widest."""

CLICK_PX = 4
"""A pointer that has moved farther since it was pressed has dragged."""


def left_edges(slides: Sequence[Slide]) -> dict[str, float]:
    """Lay slides in a row; world units from the left edge of the first to that of each, by id."""
    widths = [slide.levels[0].shape[1] * slide_scale(slide) for slide in slides]
    gap = GAP * max(widths, default=0.0)
    starts = np.cumsum([0.0, *(width + gap for width in widths)])
    return {slide.id: float(start) for slide, start in zip(slides, starts, strict=False)}


class SideBySide(QObject):
    """Lays all open slides in a row while it is on.

    What lies over a slide belongs to the one that is worked on, and that has its corner at the
    origin of the world. So when another one is chosen, all slides move and the camera with them.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    layers : SlideLayers
    """

    changed = Signal(bool)

    def __init__(
        self, viewer: Viewer, session: Session, layers: SlideLayers, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._layers = viewer, session, layers
        self._row: dict[str, float] = {}
        self._at = ""
        layers.together.connect(self._arrange)
        viewer.mouse_drag_callbacks.append(self._on_press)

    @property
    def on(self) -> bool:
        """Whether slides lie beside each other."""
        return not self._layers.alone

    def switch(self, on: bool) -> None:
        """Lay the slides beside each other, or all at one place again."""
        if on == self.on:
            return
        self._layers.alone, self._row = not on, {}
        if not on:
            self._name(())
            for slide in self._session.slides:
                self._move(slide, 0.0)
        self._layers.arrange()
        self.changed.emit(on)

    def _arrange(self) -> None:
        slide, slides = self._session.slide, self._session.slides
        if slide is None:
            self._row = {}
            self._name(())
            return
        row, before = left_edges(slides), self._row
        for each in slides:
            self._move(each, row[each.id] - row[slide.id])
        self._name([(0.0, row[each.id] - row[slide.id]) for each in slides])
        if row.keys() != before.keys():
            shown = [layer for each in slides if (layer := self._layers.layer(each))]
            self._viewer.reset_view(layers=shown)
        elif slide.id != self._at:
            camera = self._viewer.scene.camera
            _, y, x = camera.center
            camera.center = (0.0, y, x - (row[slide.id] - row[self._at]))
        self._row, self._at = row, slide.id

    def slide_at(self, y: float, x: float) -> SlideReader | None:
        """Return the slide that lies at a place in world units."""
        for slide in self._session.slides:
            height, width = np.array(slide.levels[0].shape) * slide_scale(slide)
            left = self._row.get(slide.id, np.inf) - self._row.get(self._at, 0.0)
            if 0 <= y < height and 0 <= x - left < width:
                return slide
        return None

    def _move(self, slide: Slide, left: float) -> None:
        layer = self._layers.layer(slide)
        if layer is not None:
            layer.visible = True
            layer.translate = (0.0, left)

    def _name(self, corners: Sequence[tuple[float, float]]) -> None:
        slide, names = self._session.slide, _titles(self._session.slides)
        shown = next((one for one in self._viewer.layers if _is_names(one)), None)
        if shown is not None and corners and list(shown.features["name"]) == names:
            shown.data = corners
            return
        if shown is not None:
            self._viewer.layers.remove(shown)
        if slide is None or not corners:
            return
        active = self._viewer.layers.selection.active
        layer = Points(
            corners,
            name=NAMES,
            size=1,
            opacity=1.0,
            face_color="transparent",
            border_color="transparent",
            features={"name": np.array(names, object)},
            text={"string": "{name}", "anchor": "upper_left", "size": 10, "color": COLOR},
            units=slide_transform(slide)["units"],
            metadata={"pathfm": {**OVERLAY["pathfm"], "names": True}},
        )
        self._viewer.add_layer(layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def _on_press(self, _: Any, event: Any) -> Generator[None, None, None]:
        if not self.on or event.button != 1:
            return
        pressed = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.array(event.pos) - pressed).max() > CLICK_PX:
            return
        slide = self.slide_at(*np.asarray(event.position)[-2:])
        if slide is not None and slide is not self._session.slide:
            # napari still hands the release to the layer that is active.
            QTimer.singleShot(0, partial(self._choose, slide))

    def _choose(self, slide: SlideReader) -> None:
        layer = self._layers.layer(slide)
        if layer is not None:
            self._viewer.layers.selection.active = layer


def _titles(slides: Sequence[Slide]) -> list[str]:
    # Every other one is a line higher, for narrow slides have long names, too.
    known = [f"{one.name}{'' if one.mpp else ' (pixel size not known)'}" for one in slides]
    return [
        f"{name}\n\N{NO-BREAK SPACE}" if number % 2 else name for number, name in enumerate(known)
    ]


def _is_names(layer: Layer) -> bool:
    return bool(layer.metadata.get("pathfm", {}).get("names"))
