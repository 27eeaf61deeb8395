"""Slides in the colours that their scanner's profile means, on request."""

from __future__ import annotations

from napari import Viewer
from qtpy.QtCore import QObject, Signal

from ..core.slide import SlideError
from ..io.colours import InSRGB, profile_name
from ..session import Session
from . import notify
from .follow import follow
from .layers import SlideLayers


class ColourProfile(QObject):
    """Shows the slide that is worked on by its ICC profile, or as it is in the file."""

    changed = Signal()
    """Another slide, or other colours of it."""

    def __init__(
        self, viewer: Viewer, session: Session, layers: SlideLayers, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._layers = viewer, session, layers
        follow(self, (session.events.slide, self._on_slide))

    @property
    def on(self) -> bool:
        """Whether the slide is shown in sRGB."""
        slide = self._session.slide
        layer = self._layers.layer(slide) if slide is not None else None
        return layer is not None and bool(layer.metadata["pathfm"].get("srgb"))

    def facts(self) -> tuple[bool, str]:
        """Whether the slide can be shown so, and the profile's name or why it cannot."""
        slide = self._session.slide
        if slide is None:
            return False, "Open a slide first"
        try:
            return True, profile_name(slide.icc_profile)
        except SlideError as error:
            return False, str(error)

    def switch(self, on: bool) -> None:
        """Show the slide by its profile, or as it is in the file."""
        slide = self._session.slide
        layer = self._layers.layer(slide) if slide is not None else None
        if slide is None or layer is None or on == self.on:
            return
        ours = layer.metadata["pathfm"]
        try:
            ours["loader"].show(InSRGB(slide) if on else slide)
        except SlideError as error:
            notify.fail("The colour profile", error)
        else:
            ours["srgb"] = on
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        self.changed.emit()

    def _on_slide(self) -> None:
        self.changed.emit()
