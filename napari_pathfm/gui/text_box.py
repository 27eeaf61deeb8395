"""A line to write what tiles should show."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from ..models import catalog

NEEDS = "needs an encoder of texts"
OTHER_ENCODER = "Embed the slide with plip, quiltnet-b-32, conch or another encoder of texts"


def knows_words(encoder: str) -> bool:
    """Whether an encoder of this name embeds texts, too."""
    spec = catalog.encoder_specs().get(encoder)
    return spec is not None and spec.text


class TextBox(QWidget):
    """Asks for tiles in words, where the slide is embedded by an encoder that knows words."""

    asked = Signal(str)
    """What the user wrote."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._encoder: str | None = None
        self.line = QLineEdit()
        self.button = QPushButton("Search")
        self.button.setToolTip("Colours the slide by its likeness to the text")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(self.button)
        self.line.textChanged.connect(self._on_text)
        self.line.returnPressed.connect(self._ask)
        self.button.clicked.connect(self._ask)
        self.offer("")

    def offer(self, encoder: str) -> None:
        """Be ready for embeddings of an encoder; there are none if its name is empty."""
        if encoder == self._encoder:
            return
        self._encoder = encoder
        words = knows_words(encoder)
        self.line.setEnabled(words)
        self.line.setPlaceholderText("lymphocytes, H&E" if words else NEEDS)
        self.line.setToolTip(
            "What the tiles should show, as a caption would say it" if words else OTHER_ENCODER
        )
        self._on_text()

    def _on_text(self) -> None:
        self.button.setEnabled(self.line.isEnabled() and bool(self.line.text().strip()))

    def _ask(self) -> None:
        if self.button.isEnabled():
            self.asked.emit(self.line.text().strip())
