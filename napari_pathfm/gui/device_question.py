"""A choice, after the card that networks ran on has gone."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from .encoders import PROCESSOR


class DeviceQuestion(QWidget):
    """Asks in its place in the panel where to go on; until then nothing does."""

    answered = Signal(object)
    """Name of the device to go on with; ``None``: the best one there is."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.again = QPushButton("Try again")
        self.again.setToolTip("Load the model anew on the same card")
        self.processor = QPushButton("Go on with the processor")
        self.processor.setToolTip("Slower; until this window is closed")
        row = QHBoxLayout()
        row.addWidget(self.again)
        row.addWidget(self.processor)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        column.addLayout(row)
        self.again.clicked.connect(lambda: self._answer(None))
        self.processor.clicked.connect(lambda: self._answer(PROCESSOR))
        self.hide()

    def ask(self, why: str) -> None:
        """Show what has happened, and the choice."""
        self.text.setText(
            f"The graphics card does not answer any more. What is done is kept.\n{why}"
        )
        self.show()

    def _answer(self, device: str | None) -> None:
        self.hide()
        self.answered.emit(device)
