"""All objects of the annotation layer: find, jump to, classify and delete them."""

from __future__ import annotations

from qtpy.QtCore import QItemSelectionModel, QModelIndex, Qt, QTimer, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from ..io.masks import AnnotationLayer
from ..session import Session
from . import notify
from .follow import follow
from .history import History
from .keys import let_keys_through
from .object_model import ObjectModel

SETTLE_MS = 150
"""Rows are read again when the layer has rested so long."""


class _Rows(QTableView):
    delete_pressed = Signal()

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class ObjectTable(QWidget):
    """The object table of ``session.annotations``.

    Parameters
    ----------
    session : Session
    history : History
        Takes the edits, so that each can be undone.
    """

    jump = Signal(int)
    """An object was clicked."""

    _table_changed = Signal()

    def __init__(self, session: Session, history: History, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._history = session, history
        self._store: AnnotationLayer | None = None
        self.model = ObjectModel()
        self.view = _Rows()
        self.view.setModel(self.model)
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setMinimumHeight(160)
        self.view.setTabKeyNavigation(False)  # else nobody could leave it by the keyboard
        self.view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        let_keys_through(self.view)
        rows, columns = self.view.verticalHeader(), self.view.horizontalHeader()
        if rows is not None and columns is not None:
            rows.setDefaultSectionSize(24)
            rows.hide()  # the number of an object is in its first column
            columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.count = QLabel()
        self.class_button = QPushButton("Class of selected")
        self.class_button.setMenu(QMenu(self))
        self.delete_button = QPushButton("Delete [Del]")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.count)
        column.addWidget(self.view)
        row = QHBoxLayout()
        row.addWidget(self.class_button)
        row.addWidget(self.delete_button)
        column.addLayout(row)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._connect()
        self._on_annotations()

    def selected(self) -> list[int]:
        """Objects of the selected rows."""
        selection = self.view.selectionModel()
        rows = selection.selectedRows() if selection is not None else []
        return [self.model.id_at(index.row()) for index in rows]

    def delete_selected(self) -> None:
        """Delete the selected objects and their pixels: one edit."""
        ids = self.selected()
        if not ids:
            notify.tell("Select objects in the table first.")
            return
        text = f"delete {_objects(ids)}"
        self._history.commit(text, lambda layer: layer.delete_edit(ids))

    def classify_selected(self, class_id: int) -> None:
        """Give the selected objects a class: one edit."""
        ids = self.selected()
        if not ids:
            notify.tell("Select objects in the table first.")
            return
        text = f"class of {_objects(ids)}"
        self._history.commit(text, lambda layer: layer.class_edit(ids, class_id))

    def refresh(self) -> None:
        """Read the rows again; what was selected stays selected."""
        kept = self.selected()
        slide = self._session.slide
        objects = self._store.objects if self._store is not None else {}
        self.model.show(objects, self._session.classes, slide.mpp if slide is not None else None)
        total = self.model.rowCount()
        self.count.setText(f"{total:,} object{'' if total == 1 else 's'}")
        if len(kept) <= 100:
            self._select(kept)

    def _select(self, ids: list[int]) -> None:
        selection = self.view.selectionModel()
        flags = QItemSelectionModel.SelectionFlag
        for number in ids:
            row = self.model.row_of(number)
            if row is not None and selection is not None:
                selection.select(self.model.index(row, 0), flags.Select | flags.Rows)

    def _connect(self) -> None:
        self._timer.timeout.connect(self.refresh)
        self._table_changed.connect(self._timer.start)
        events = self._session.events
        follow(self, (events.annotations, self._on_annotations), (events.classes, self._on_classes))
        self.view.clicked.connect(self._on_clicked)
        self.delete_button.clicked.connect(self.delete_selected)
        self.view.delete_pressed.connect(self.delete_selected)
        self._on_classes()

    def _on_annotations(self, *_: object) -> None:
        if self._store is not None:
            self._store.table_changed.disconnect(self._on_table_changed)
        self._store = self._session.annotations
        if self._store is not None:
            follow(self, (self._store.table_changed, self._on_table_changed))
        self.refresh()

    def _on_table_changed(self, *_: object) -> None:
        # Called in whatever thread writes.
        self._table_changed.emit()

    def _on_classes(self, *_: object) -> None:
        menu = self.class_button.menu()
        if menu is not None:
            menu.clear()
            for one in self._session.classes:
                action = menu.addAction(one.name)
                if action is not None:
                    action.triggered.connect(lambda _=False, c=one.id: self.classify_selected(c))
        self._timer.start()

    def _on_clicked(self, index: QModelIndex) -> None:
        self.jump.emit(self.model.id_at(index.row()))


def _objects(ids: list[int]) -> str:
    return f"object {ids[0]}" if len(ids) == 1 else f"{len(ids):,} objects"
