"""Chooses the annotation layer that is edited, and what is shown beside it."""

from __future__ import annotations

from functools import partial

from qtpy.QtWidgets import (
    QAction,
    QComboBox,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMenu,
    QPushButton,
    QWidget,
)

from ..session import Session
from . import notify
from .annotation_layers import AnnotationLayers
from .keys import let_keys_through


class LayerSwitch(QWidget):
    """A box with the layers of the slide, a button for a new one, and a menu of the rest.

    Parameters
    ----------
    session : Session
    layers : AnnotationLayers
    """

    def __init__(
        self, session: Session, layers: AnnotationLayers, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._layers = session, layers
        self.box = QComboBox()
        self.box.setToolTip("The annotation layer that is painted on; each has its own objects")
        self.add_button = QPushButton("New…")
        self.add_button.setToolTip("Add an annotation layer to the slide: nuclei, regions, …")
        self.more_button = QPushButton("More")
        self.more_button.setToolTip("Rename the layer, or show others beside it as outlines")
        self.menu = QMenu(self)
        self.rename_action = QAction("Rename…", self)
        self.more_button.setMenu(self.menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Layer"))
        row.addWidget(self.box, 1)
        row.addWidget(self.add_button)
        row.addWidget(self.more_button)
        let_keys_through(self.box)
        self.box.textActivated.connect(layers.choose)
        self.add_button.clicked.connect(self._on_add)
        self.rename_action.triggered.connect(self._on_rename)
        layers.changed.connect(self._fill)
        self._fill()

    def add(self, name: str) -> None:
        """Make a layer and edit it; a name that is taken chooses that layer."""
        name = name.strip()
        if name:
            self._layers.choose(name)

    def _on_add(self) -> None:
        if self._session.refusal:
            notify.warn(f"A layer cannot be added: {self._session.refusal}.")
            return
        name, given = QInputDialog.getText(
            self, "New annotation layer", "Its name (nuclei, regions, …):"
        )
        if given:
            self.add(name)

    def _on_rename(self) -> None:
        if self._session.refusal:
            notify.warn(f"The layer cannot be renamed: {self._session.refusal}.")
            return
        old = self._layers.active
        name, given = QInputDialog.getText(self, "Rename the layer", "Its name:", text=old)
        if given and name.strip():
            self._layers.rename(name.strip())

    def _fill(self) -> None:
        layers = self._layers
        self.box.blockSignals(True)
        self.box.clear()
        self.box.addItems(layers.names)
        self.box.setCurrentText(layers.active)
        self.box.blockSignals(False)
        self.menu.clear()
        self.menu.addAction(self.rename_action)
        if len(layers.names) > 1:
            self.menu.addSection("Show as outlines")
        for name in layers.names:
            if name != layers.active:
                action = QAction(name, self.menu)
                action.setCheckable(True)
                action.setChecked(name in layers.beside)
                action.toggled.connect(partial(layers.show_beside, name))
                self.menu.addAction(action)
        self.setEnabled(bool(layers.names))
