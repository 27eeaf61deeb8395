"""Give the selected tiles a class, all at once."""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QWidget

from ..session import Session
from .colors import swatch
from .follow import follow
from .labelling import label_tiles


class LabelBox(QWidget):
    """A class to choose and a button that gives it to the selection."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.class_box = QComboBox()
        self.button = QPushButton("Label selection")
        self.button.setToolTip("Give the selected tiles this class")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.class_box)
        row.addWidget(self.button)
        self.button.clicked.connect(self.label_selection)
        follow(
            self,
            (session.events.classes, self._on_classes),
            (session.events.selection, self._on_selection),
        )
        self._on_classes()
        self._on_selection()

    def label_selection(self) -> None:
        """Give the selected tiles the chosen class, in the session and in the project."""
        tiles, code = self._session.selection.tiles, int(self.class_box.currentData())
        if len(tiles):
            label_tiles(self._session, {int(tile): code for tile in tiles})

    def _on_classes(self) -> None:
        chosen = self.class_box.currentData() or None  # "no label" was nobody's choice at first
        self.class_box.clear()
        for one in self._session.classes:
            self.class_box.addItem(swatch(one.color), one.name, one.id)
        self.class_box.addItem("no label", 0)
        self.class_box.setCurrentIndex(max(0, self.class_box.findData(chosen)))

    def _on_selection(self) -> None:
        self.button.setEnabled(len(self._session.selection) > 0)
