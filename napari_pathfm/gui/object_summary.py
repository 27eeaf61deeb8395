"""Number and area of the objects that are shown, by class, to be read, copied and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHeaderView,
    QMenu,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..analysis.find_objects import Found
from ..analysis.object_csv import summary, write_objects, write_summary
from ..core.edits import AnnotationClass
from . import notify
from .colors import swatch
from .keys import let_keys_through
from .runner import Runner


class ObjectSummary(QWidget):
    """A small table, and a button that writes it or all the rows above it."""

    def __init__(self, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runner = runner
        self._found: Found | None = None
        self._classes: Sequence[AnnotationClass] = ()
        self._mpp: float | None = None
        self.lines: list[tuple[str, str, str]] = []
        self.table = _Table(self)
        self.save_button = QPushButton("Save table…")
        self.save_button.setToolTip("Write what is shown as CSV, or copy the summary")
        menu = QMenu(self)
        for text, action in (
            ("Objects shown…", self._on_save_objects),
            ("Summary by class…", self._on_save_summary),
            ("Copy summary", self.copy),
        ):
            made = menu.addAction(text)
            if made is not None:
                made.triggered.connect(lambda _=False, act=action: act())
        self.save_button.setMenu(menu)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addWidget(self.save_button)

    def show_found(
        self, found: Found, classes: Sequence[AnnotationClass], mpp: float | None
    ) -> None:
        """Sum up what is shown now."""
        self._found, self._classes, self._mpp = found, classes, mpp
        self.lines = summary(found, classes, mpp)
        colors = {one.name: one.color for one in classes}
        head, *rows = self.lines
        self.table.setHorizontalHeaderLabels(head)
        self.table.setRowCount(len(rows))
        for row, line in enumerate(rows):
            for place, text in enumerate(line):
                item = QTableWidgetItem(f"{int(text):,}" if place else text)
                if place:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                elif text in colors and row < len(rows) - 1:
                    item.setIcon(swatch(colors[text]))
                self.table.setItem(row, place, item)

    def copy(self) -> None:
        """Put the summary on the clipboard, for a spreadsheet."""
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText("\n".join("\t".join(line) for line in self.lines))

    def save_objects(self, path: Path) -> None:
        """Write the rows that are shown."""
        if self._found is not None:
            job = write_objects(path, self._found, self._classes, self._mpp)
            self._runner.start(job, f"Writing {path.name}", _tell)

    def save_summary(self, path: Path) -> None:
        """Write the summary."""
        try:
            _tell(write_summary(path, self.lines))
        except OSError as error:
            notify.fail(f"Writing {path.name}", error)

    def _on_save_objects(self) -> None:
        path = self._ask("objects.csv")
        if path is not None:
            self.save_objects(path)

    def _on_save_summary(self) -> None:
        path = self._ask("summary.csv")
        if path is not None:
            self.save_summary(path)

    def _ask(self, name: str) -> Path | None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Save table", name, "CSV (*.csv)")
        return Path(chosen) if chosen else None


class _Table(QTableWidget):
    def __init__(self, owner: ObjectSummary) -> None:
        super().__init__(0, 3)
        self._owner = owner
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setMaximumHeight(120)
        self.setTabKeyNavigation(False)  # else nobody could leave it by the keyboard
        self.setToolTip("What is shown, by class; Ctrl+C copies it")
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and columns is not None:
            rows.hide()
            rows.setDefaultSectionSize(22)
            columns.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        let_keys_through(self)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.matches(QKeySequence.StandardKey.Copy):
            self._owner.copy()
        else:
            super().keyPressEvent(event)


def _tell(path: Path) -> None:
    notify.tell(f"Saved {path}")
