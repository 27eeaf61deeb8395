"""The button that brings objects in, and what became of the last ones."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QMenu, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ..analysis.import_objects import ImportReport
from ..session import Session
from .follow import follow
from .importing import Importing


class ImportBar(QWidget):
    """Imports outlines, label images and shapes.

    Parameters
    ----------
    importing : Importing
    session : Session
    """

    def __init__(
        self, importing: Importing, session: Session, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.button = QPushButton("Import objects…")
        self.button.setToolTip("Outlines or masks that another program made, of this slide")
        menu = QMenu(self)
        menu.addAction("GeoJSON or label image…", importing.choose)
        menu.addAction("OME-Zarr labels (a folder)…", importing.choose_folder)
        menu.addAction("Shapes to objects", importing.take_shapes)
        self.button.setMenu(menu)
        self.result = QLabel()
        self.result.setWordWrap(True)
        policy = self.result.sizePolicy()
        policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)  # a long name is not wrapped
        self.result.setSizePolicy(policy)
        self.result.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.result)
        importing.finished.connect(self._tell)
        follow(self, (session.events.annotations, self._forget))

    def _tell(self, report: ImportReport) -> None:
        self.result.setText(report.summary())
        self.result.show()

    def _forget(self) -> None:
        self.result.hide()
