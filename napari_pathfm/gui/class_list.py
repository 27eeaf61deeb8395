"""The classes of the project: their digits, names and colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QColorDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..core.edits import AnnotationClass
from ..session import Session
from . import notify
from .active import ActiveClass
from .keys import let_keys_through

COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#8c564b")
"""Given to new classes in turn; colour-blind people can tell them apart (Okabe and Ito)."""


class ClassList(QWidget):
    """Shows the classes, chooses the active one, adds, renames and recolours."""

    def __init__(
        self, session: Session, active: ActiveClass, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._active = session, active
        self._shown: tuple[AnnotationClass, ...] = ()
        self.list = QListWidget()
        self.list.setMaximumHeight(96)
        self.list.setToolTip("The next object gets the chosen class. Double-click to rename.")
        self.add_button = QPushButton("Add class")
        self.color_button = QPushButton("Colour…")
        row = QHBoxLayout()
        row.addWidget(self.add_button)
        row.addWidget(self.color_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.list)
        column.addLayout(row)
        self.add_button.clicked.connect(self._on_add)
        self.color_button.clicked.connect(self._on_color)
        self.list.currentRowChanged.connect(self._on_row)
        self.list.itemChanged.connect(self._on_item)
        active.changed.connect(self._on_active)
        let_keys_through(self.list)
        self._fill()

    def add(self, name: str, color: str = "") -> None:
        """Add a class with the lowest free id."""
        classes = self._session.classes
        taken = {one.id for one in classes}
        free = next((number for number in range(1, 255) if number not in taken), None)
        if free is None:
            notify.warn("A project has at most 254 classes.")
            return
        made = AnnotationClass(free, name, color or COLORS[len(classes) % len(COLORS)])
        self._session.classes = (*classes, made)
        self._active.choose(free)

    def rename(self, class_id: int, name: str) -> None:
        """Give a class another name; an empty one or one that is taken is refused."""
        others = {one.name for one in self._session.classes if one.id != class_id}
        if not name.strip() or name.strip() in others:
            notify.warn("A class needs a name of its own.")
            self._fill()
            return
        self._change(class_id, lambda one: replace(one, name=name.strip()))

    def recolor(self, class_id: int, color: str) -> None:
        """Give a class another colour, ``"#rrggbb"``."""
        self._change(class_id, lambda one: replace(one, color=color))

    def _change(self, class_id: int, changed: Callable[[AnnotationClass], AnnotationClass]) -> None:
        self._session.classes = tuple(
            changed(one) if one.id == class_id else one for one in self._session.classes
        )

    def _on_active(self, *_: object) -> None:
        # New items in the middle of a double click would end it before its second half.
        if self._shown != self._session.classes:
            self._fill()
            return
        rows = [one.id for one in self._shown]
        self.list.blockSignals(True)
        self.list.setCurrentRow(rows.index(self._active.id) if self._active.id in rows else -1)
        self.list.blockSignals(False)

    def _fill(self) -> None:
        self._shown = self._session.classes
        self.list.blockSignals(True)
        self.list.clear()
        for place, one in enumerate(self._session.classes):
            item = QListWidgetItem(_icon(one.color, place + 1), one.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            item.setData(Qt.ItemDataRole.UserRole, one.id)
            self.list.addItem(item)
            if one.id == self._active.id:
                self.list.setCurrentRow(place)
        self.list.blockSignals(False)
        self.color_button.setEnabled(bool(self._session.classes))

    def _on_row(self, row: int) -> None:
        if 0 <= row < len(self._session.classes):
            self._active.choose(self._session.classes[row].id)

    def _on_item(self, item: QListWidgetItem) -> None:
        self.rename(int(item.data(Qt.ItemDataRole.UserRole)), item.text())

    def _on_add(self) -> None:
        taken = {one.name for one in self._session.classes}
        number = len(taken) + 1
        while f"class {number}" in taken:
            number += 1
        self.add(f"class {number}")
        self.list.editItem(self.list.currentItem())

    def _on_color(self) -> None:
        row = self._active.row
        if row is None:
            return
        color = QColorDialog.getColor(QColor(row.color), self, f"Colour of {row.name}")
        if color.isValid():
            self.recolor(row.id, color.name())


def _icon(color: str, digit: int) -> QIcon:
    """A square of the class's colour with the digit that chooses it."""
    from qtpy.QtGui import QPainter

    pixmap = QPixmap(18, 18)
    pixmap.fill(QColor(color))
    if digit <= 9:
        painter = QPainter(pixmap)
        dark = QColor(color).lightness() < 140
        painter.setPen(QColor("white" if dark else "black"))
        painter.drawText(pixmap.rect(), Qt.AlignmentFlag.AlignCenter, str(digit))
        painter.end()
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)  # else the chosen class would look tinted
    return icon
