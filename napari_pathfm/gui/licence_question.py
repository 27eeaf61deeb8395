"""A question before the first use of a model that is not for commercial use."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..models import licences
from ..models.base import ModelSpec
from . import notify
from .model_facts import rich


class LicenceQuestion(QWidget):
    """Asks in its place in the panel, and blocks nothing; the answer is kept for the model."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._then: Callable[[], None] = lambda: None
        self._spec: ModelSpec | None = None
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setOpenExternalLinks(True)
        self.yes = QPushButton("Yes, it is")
        self.no = QPushButton("No")
        row = QHBoxLayout()
        row.addWidget(self.yes)
        row.addWidget(self.no)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        column.addLayout(row)
        self.yes.clicked.connect(self._agree)
        self.no.clicked.connect(self.hide)
        self.hide()

    def ask(self, spec: ModelSpec, then: Callable[[], None]) -> None:
        """Do something at once, or after the user has agreed to the licence."""
        if not licences.must_ask(spec):
            then()
            return
        self._spec, self._then = spec, then
        self.text.setText(
            f"{rich(licences.terms(spec))} Is yours research or teaching? This is asked once for "
            "each model."
        )
        self.show()

    def _agree(self) -> None:
        self.hide()
        if self._spec is not None:
            try:
                licences.agree(self._spec)
            except OSError as error:  # it will be asked again
                notify.fail("Keeping your answer", error)
            self._then()
