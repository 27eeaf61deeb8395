"""Which objects the object table shows: one class or all, and terms that are typed."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QLineEdit, QWidget

from ..analysis.find_objects import check_filter
from ..session import Session
from .colors import swatch
from .follow import follow

HELP = (
    "What to show; several terms with commas between them must all hold:\n"
    "area > 50, score < 0.5, id = 12\n"
    "corrected, not corrected\n"
    "hand, prompt, prediction, import\n"
    "a class, a model, who made it"
)


class ObjectFilter(QWidget):
    """One row: a class and a line of text."""

    changed = Signal()
    """Something else is to be shown."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.class_box = QComboBox()
        self.class_box.setToolTip("Only objects of this class")
        self.text = QLineEdit()
        self.text.setPlaceholderText("area > 50, not corrected …")
        self.text.setToolTip(HELP)
        self.text.setClearButtonEnabled(True)
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.hide()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.class_box, 0, 0)
        grid.addWidget(self.text, 0, 1)
        grid.addWidget(self.problem, 1, 0, 1, 2, Qt.AlignmentFlag.AlignTop)
        grid.setColumnStretch(1, 1)
        self.class_box.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.text.textChanged.connect(self._on_text)
        follow(self, (session.events.classes, self._on_classes))
        self._on_classes()

    def value(self) -> tuple[str, int | None]:
        """Text and class id (``None`` for any) to show; the last text that made sense."""
        return self._good, self.class_box.currentData()

    _good = ""

    def _on_text(self, text: str) -> None:
        try:
            check_filter(text)
        except ValueError as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        self.problem.hide()
        self._good = text
        self.changed.emit()

    def _on_classes(self) -> None:
        chosen = self.class_box.currentData()
        self.class_box.blockSignals(True)
        self.class_box.clear()
        self.class_box.addItem("all classes", None)
        for one in self._session.classes:
            self.class_box.addItem(swatch(one.color), one.name, one.id)
        self.class_box.addItem("no class", 0)
        self.class_box.setCurrentIndex(max(0, self.class_box.findData(chosen)))
        self.class_box.blockSignals(False)
        self.changed.emit()
