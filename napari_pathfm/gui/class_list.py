"""The classes of the project: their digits, names, colours, and how many objects each has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import QPoint, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QDropEvent, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemDelegate,
    QAbstractItemView,
    QAction,
    QColorDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..core.edits import AnnotationClass
from ..core.jobs import Job, Progress
from ..io.classes import Uses, uses
from ..io.project import Project
from ..session import Session
from .active import ActiveClass
from .class_changes import ClassChanges
from .class_counts import COUNT, ClassCounts, Counted
from .class_dialog import ClassDialog
from .follow import follow
from .keys import let_keys_through
from .runner import Runner

COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#8c564b")
"""Given to new classes in turn; colour-blind people can tell them apart (Okabe and Ito)."""

NEW = 0
"""Stands for the id of a class whose name is being typed."""

ID = Qt.ItemDataRole.UserRole


class _Rows(QListWidget):
    dropped = Signal()

    def dropEvent(self, event: QDropEvent | None) -> None:
        super().dropEvent(event)
        QTimer.singleShot(0, self.dropped.emit)  # the drag ends first: it still knows the items


class ClassList(QWidget):
    """Shows the classes, chooses the active one and changes them.

    Parameters
    ----------
    session : Session
    active : ActiveClass
    changes : ClassChanges
        Takes the changes, so that each can be undone.
    runner : Runner
        Counts what a merge concerns.
    """

    def __init__(
        self,
        session: Session,
        active: ActiveClass,
        changes: ClassChanges,
        runner: Runner,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._active = session, active
        self._changes, self._runner = changes, runner
        self._shown: tuple[AnnotationClass, ...] = ()
        self.dialog: ClassDialog | None = None
        self.counts = ClassCounts(session, runner, self)
        self.list = _Rows()
        self.list.setMaximumHeight(120)
        self.list.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.list.setItemDelegate(Counted(self.list))
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.setToolTip(
            "The next object gets the chosen class; its digit chooses it, too. Double-click to "
            "rename, drag to put in another order."
        )
        self.add_button = QPushButton("Add class")
        self.menu = QMenu(self)
        self.menu_button = QPushButton("Change class")
        self.menu_button.setMenu(self.menu)
        row = QHBoxLayout()
        row.addWidget(self.add_button)
        row.addWidget(self.menu_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.list)
        column.addLayout(row)
        self.rename_action = self._action("Rename", self._on_rename)
        self.color_action = self._action("Colour…", self._on_color)
        self.merge_action = self._action("Merge into another…", partial(self._ask, True))
        self.delete_action = self._action("Delete…", partial(self._ask, False))
        self._connect()
        self._fill()

    def add(self, name: str, color: str = "") -> None:
        """Add a class and choose it."""
        color = color or COLORS[len(self._session.classes) % len(COLORS)]
        self._changes.add(name, color, self._active.choose, self._fill)

    def rename(self, class_id: int, name: str) -> None:
        """Give a class another name; an empty one or one that is taken is refused."""
        old = self._name(class_id)
        if name.strip() != old:
            text = f"rename class {old} to {name.strip()}"
            self._changes.change(text, lambda now: now.renamed(class_id, name), failed=self._fill)

    def recolor(self, class_id: int, color: str) -> None:
        """Give a class another colour, ``"#rrggbb"``."""
        text = f"colour of class {self._name(class_id)}"
        self._changes.change(text, lambda now: now.recolored(class_id, color))

    def remove(self, class_id: int, into: int = 0) -> None:
        """Take a class away; its objects and tiles go to another one, or to none (0)."""
        name = self._name(class_id)
        text = f"merge class {name} into {self._name(into)}" if into else f"delete class {name}"
        self._changes.change(text, lambda now: now.without(class_id, into))

    def reorder(self, ids: list[int]) -> None:
        """Put the classes in another order."""
        self._changes.change("order of classes", lambda now: now.ordered(ids), failed=self._fill)

    def _name(self, class_id: int) -> str:
        return next((one.name for one in self._session.classes if one.id == class_id), "")

    def _action(self, text: str, act: Callable[[], None]) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(lambda: act())
        self.menu.addAction(action)
        return action

    def _connect(self) -> None:
        self.add_button.clicked.connect(self._on_add)
        self.list.currentRowChanged.connect(self._on_row)
        self.list.dropped.connect(self._on_dropped)
        self.list.customContextMenuRequested.connect(self._on_menu)
        delegate = self.list.itemDelegate()
        if delegate is not None:
            delegate.closeEditor.connect(self._on_edited)
        self._active.changed.connect(self._on_active)
        self.counts.counted.connect(self._show_counts)
        follow(self, (self._session.events.project, self._on_project))
        let_keys_through(self.list)
        self._on_project()

    def _on_project(self) -> None:
        why = self._session.refusal
        for button in (self.add_button, self.menu_button):
            button.setEnabled(not why)
            button.setToolTip(f"Not now: {why}" if why else "")

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
            self.list.addItem(_item(one, place + 1))
            if one.id == self._active.id:
                self.list.setCurrentRow(place)
        self.list.blockSignals(False)
        self._show_counts()
        some = bool(self._session.classes)
        for action in (self.rename_action, self.color_action, self.delete_action):
            action.setEnabled(some)
        self.merge_action.setEnabled(len(self._session.classes) > 1)

    def _show_counts(self) -> None:
        self.list.blockSignals(True)
        for row in range(self.list.count()):
            item = self.list.item(row)
            if item is not None and item.data(ID) != NEW:
                item.setData(COUNT, self.counts.text(int(item.data(ID))))
                item.setToolTip(self.counts.tip(int(item.data(ID))))
        self.list.blockSignals(False)

    def _on_row(self, row: int) -> None:
        if 0 <= row < len(self._session.classes):
            self._active.choose(self._session.classes[row].id)

    def _on_dropped(self) -> None:
        items = (self.list.item(row) for row in range(self.list.count()))
        ids = [int(item.data(ID)) for item in items if item is not None]
        if ids != [one.id for one in self._session.classes]:
            self.reorder(ids)

    def _on_menu(self, place: QPoint) -> None:
        item = self.list.itemAt(place)
        if item is not None and not self._session.refusal:
            self.list.setCurrentItem(item)
            self.menu.popup(self.list.mapToGlobal(place))

    def _on_add(self) -> None:
        taken = {one.name for one in self._session.classes}
        number = len(taken) + 1
        while f"class {number}" in taken:
            number += 1
        color = COLORS[len(self._session.classes) % len(COLORS)]
        item = _item(AnnotationClass(1, f"class {number}", color), len(taken) + 1)
        item.setData(ID, NEW)
        self.list.addItem(item)
        self.list.scrollToItem(item)
        self.list.editItem(item)

    def _on_rename(self) -> None:
        self.list.editItem(self.list.currentItem())

    def _on_edited(self, _: QWidget, hint: QAbstractItemDelegate.EndEditHint) -> None:
        dropped = hint == QAbstractItemDelegate.EndEditHint.RevertModelCache
        for row in range(self.list.count()):
            item = self.list.item(row)
            if item is None or dropped:
                continue
            if int(item.data(ID)) == NEW:
                self.add(item.text())
            elif item.text() != self._name(int(item.data(ID))):
                self.rename(int(item.data(ID)), item.text())
        if dropped:
            self._fill()

    def _on_color(self) -> None:
        row = self._active.row
        if row is None:
            return
        color = QColorDialog.getColor(QColor(row.color), self, f"Colour of {row.name}")
        if color.isValid():
            self.recolor(row.id, color.name())

    def _ask(self, merge: bool) -> None:
        row, project = self._active.row, self._session.project
        if row is None:
            return
        others = [one for one in self._session.classes if one.id != row.id]
        dialog = self.dialog = ClassDialog(row, others, merge, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: self.remove(row.id, dialog.target()))
        dialog.finished.connect(self._on_answered)
        dialog.open()
        if project is not None:
            self._runner.start(
                _count_job(project, row.id), "Counting", self._on_counted, slot="class uses"
            )
        else:
            dialog.show_count(0, 0, 0)

    def _on_answered(self, _: int) -> None:
        self.dialog = None

    def _on_counted(self, found: Uses) -> None:
        if self.dialog is not None:
            self.dialog.show_count(found.objects, found.slides, found.tiles)


def _count_job(project: Project, class_id: int) -> Job[Uses]:
    yield Progress(0, 0, "Counting objects")
    return uses(project, class_id)


def _item(one: AnnotationClass, digit: int) -> QListWidgetItem:
    item = QListWidgetItem(_icon(one.color, digit), one.name)
    flags = item.flags() | Qt.ItemFlag.ItemIsEditable
    item.setFlags(flags & ~Qt.ItemFlag.ItemIsDropEnabled)  # a class is put between others
    item.setData(ID, one.id)
    return item


def _icon(color: str, digit: int) -> QIcon:
    """A square of the class's colour with the digit that chooses it."""
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
