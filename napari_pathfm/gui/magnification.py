"""The magnification of the view: what it is, and its steps on buttons and keys."""

from __future__ import annotations

from functools import partial

import numpy as np
from app_model.types import KeyCode, KeyMod
from napari import Viewer
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QWidget

from ..session import Session
from . import notify
from .camera import CameraWatch, zoom_about
from .follow import follow
from .keys import bind
from .status_text import StatusText

STEPS = (1, 2, 5, 10, 20, 40)

DIGITS = (
    KeyCode.Digit1,
    KeyCode.Digit2,
    KeyCode.Digit3,
    KeyCode.Digit4,
    KeyCode.Digit5,
    KeyCode.Digit6,
)
"""With Ctrl (Cmd on a Mac); digits alone choose classes."""

OBJECTIVE_UM = 10.0
"""Micrometres per pixel at 1x: an objective of 40x gives 0.25 um."""

POINTER_EDGE = 0.5
"""Half of the view, as a part of it: a pointer farther from the middle is not over the view."""


class Magnification(QObject):
    """Magnification of a viewer as a microscope has it, by micrometres per pixel of the screen."""

    def __init__(self, viewer: Viewer, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        keys = zip(DIGITS, STEPS, strict=True)
        bind(viewer, {KeyMod.CtrlCmd | key: partial(self.step_here, step) for key, step in keys})

    @property
    def known(self) -> bool:
        """Whether there is a slide that says how large its pixels are."""
        slide = self._session.slide
        return slide is not None and slide.mpp is not None

    def value(self) -> float:
        """What it is now; world units are micrometres."""
        return float(OBJECTIVE_UM * self._viewer.scene.camera.zoom)

    def text(self) -> str:
        """What it is now, in words that are short; pixels where micrometres are not known."""
        if self.known:
            return f"{self.value():.3g}×"
        return f"{self._viewer.scene.camera.zoom:.0%}" if self._session.slide is not None else ""

    def step_here(self, power: float) -> None:
        """Change it about the pointer, or about the middle if that is elsewhere."""
        self.step(power, self._pointer())

    def step(self, power: float, pointer: tuple[float, float] | None = None) -> None:
        """Change it about a place in world units, or about the middle of the view."""
        if self.known:
            zoom_about(self._viewer, power / OBJECTIVE_UM, pointer)
        elif self._session.slide is not None:
            notify.tell("Enter the pixel size in step 1 first: magnification follows from it.")

    def _pointer(self) -> tuple[float, float] | None:
        if not self._viewer.mouse_over_canvas:
            return None
        camera, size = self._viewer.scene.camera, np.asarray(self._viewer.canvas.size)
        y, x = np.asarray(self._viewer.cursor.position)[-2:]
        offset = (np.array((y, x)) - np.asarray(camera.center)[-2:]) * camera.zoom
        # napari keeps where the pointer was last, also while something else moves the view
        inside = bool((np.abs(offset) <= size * POINTER_EDGE).all())
        return (float(y), float(x)) if inside else None


class MagnificationBar(QWidget):
    """A button a step, and the magnification that is shown."""

    def __init__(
        self,
        magnification: Magnification,
        session: Session,
        watch: CameraWatch,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._magnification = magnification
        self.buttons: dict[int, QToolButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 2, 4, 2)
        row.setSpacing(2)
        for number, step in enumerate(STEPS, 1):
            button = QToolButton()
            button.setText(f"{step}×")
            button.setToolTip(f"Look at {step}× (Ctrl+{number}: about the pointer)")
            button.clicked.connect(partial(self._on_clicked, step))
            self.buttons[step] = button
            row.addWidget(button)
        # A text that is drawn in a place of its own: labels have the window laid out anew.
        self.shown = StatusText()
        self.shown.setFixedHeight(self.shown.fontMetrics().lineSpacing())
        row.addWidget(self.shown, 1)
        watch.moved.connect(self.update_text)
        follow(self, (session.events.slide, self._on_slide))
        self._on_slide()

    def update_text(self) -> None:
        """Show the present magnification."""
        text = self._magnification.text()
        self.shown.setText(f"now {text}" if text else "")

    def _on_clicked(self, step: int) -> None:
        self._magnification.step(step)

    def _on_slide(self) -> None:
        for button in self.buttons.values():
            button.setEnabled(self._magnification.known)
        self.update_text()
