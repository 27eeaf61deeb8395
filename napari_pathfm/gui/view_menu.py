"""What helps to look at a slide, in one menu: panels stay as they are."""

from __future__ import annotations

from qtpy.QtGui import QAction
from qtpy.QtWidgets import QMenu, QPushButton, QWidget

from .follow import follow
from .navigator import open_navigator
from .properties import open_properties
from .workspace import Workspace


class ViewMenu(QPushButton):
    """Opens the navigator, the properties, rulers, points and stains of a slide."""

    def __init__(self, place: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._place = place
        self.setText("View")
        self.setToolTip("Navigator, properties, ruler, points, stains")
        menu = QMenu(self)
        menu.addAction("Navigator", self._navigate)
        menu.addAction("Slide properties…", self._tell_properties)
        self.beside = QAction("Side by side", menu)
        self.beside.setCheckable(True)
        self.beside.setToolTip("All open slides at one scale; a click chooses one")
        self.beside.toggled.connect(place.side_by_side.switch)
        menu.addAction(self.beside)
        self.profile = QAction("Colours as the scanner's profile says (sRGB)", menu)
        self.profile.setCheckable(True)
        self.profile.toggled.connect(place.colours.switch)
        menu.addAction(self.profile)
        menu.setToolTipsVisible(True)
        menu.addSeparator()
        menu.addAction("Ruler", place.measuring.rule)
        menu.addAction("Points", place.measuring.mark)
        menu.addSeparator()
        menu.addAction("Haematoxylin alone", self._haematoxylin)
        menu.addAction("Eosin alone", self._eosin)
        self.setMenu(menu)
        place.colours.changed.connect(self._on_colours)
        follow(self, (place.session.events.slide, self._on_slide))
        self._on_slide()
        self._on_colours()

    def _navigate(self) -> None:
        open_navigator(self._place.viewer)

    def _tell_properties(self) -> None:
        open_properties(self._place)

    def _haematoxylin(self) -> None:
        self._place.stains.toggle("haematoxylin")

    def _eosin(self) -> None:
        self._place.stains.toggle("eosin")

    def _on_slide(self) -> None:
        self.setEnabled(self._place.session.slide is not None)

    def _on_colours(self) -> None:
        possible, why = self._place.colours.facts()
        self.profile.blockSignals(True)
        self.profile.setChecked(self._place.colours.on)
        self.profile.blockSignals(False)
        self.profile.setEnabled(possible)
        self.profile.setToolTip(f"{why}. Models always see the pixels of the file.")
