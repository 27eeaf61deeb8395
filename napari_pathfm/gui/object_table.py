"""All objects of the annotation layer: find, jump to, classify, delete and count them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (
    QAbstractItemModel,
    QItemSelectionModel,
    QModelIndex,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from ..analysis.find_objects import Found, Query, find_objects
from ..analysis.reshape import fill_holes, smooth, split
from ..core.edits import Edit
from ..core.jobs import Job, run
from ..io.masks import AnnotationLayer
from ..io.objects import NO_OBJECTS
from ..session import Session
from . import notify
from .follow import follow
from .history import History
from .keys import let_keys_through
from .object_filter import ObjectFilter
from .object_model import ObjectModel
from .object_summary import ObjectSummary
from .runner import Runner

VERBS: dict[str, Callable[..., Edit]] = {
    "Split": split,
    "Fill holes": fill_holes,
    "Smooth": smooth,
}
"""What can be done with the shape of an object."""

SETTLE_MS = 150
"""Rows are looked for again when the layer has rested so long."""


class ObjectView(QTableView):
    """The rows, fluent with a million of them."""

    delete_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setMinimumHeight(160)
        self.setTabKeyNavigation(False)  # else nobody could leave it by the keyboard
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        let_keys_through(self)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        if rows is not None and columns is not None:
            rows.setDefaultSectionSize(24)
            rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
            rows.hide()  # the number of an object is in its first column
            columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            # A few rows are measured; with none given, a view that is hidden measures all.
            columns.setResizeContentsPrecision(30)

    def setModel(self, model: QAbstractItemModel | None) -> None:
        super().setModel(model)
        columns = self.horizontalHeader()
        if columns is not None:
            # A head that shows whether its column is selected asks all rows of it, each in Python.
            columns.setSelectionModel(QItemSelectionModel(model, self))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.key() == Qt.Key.Key_Delete:
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class ObjectTable(QWidget):
    """The object table of ``session.annotations``.

    Filtering, sorting and adding up is a job; the window only shows its answer.

    Parameters
    ----------
    session : Session
    runner : Runner
    history : History
        Takes the edits, so that each can be undone.
    """

    jump = Signal(int)
    """An object was clicked."""

    as_polygon = Signal(int)
    """The shape of an object is to be changed corner by corner."""

    _table_changed = Signal()

    def __init__(
        self,
        session: Session,
        runner: Runner,
        history: History,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner, self._history = session, runner, history
        self._store: AnnotationLayer | None = None
        self._order = ("id", False)
        self.filter = ObjectFilter(session)
        self.model = ObjectModel()
        self.view = ObjectView()
        self.view.setModel(self.model)
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.count = QLabel()
        self.summary = ObjectSummary(runner)
        self.all_button = QPushButton("Select all")
        self.all_button.setToolTip("All rows that are shown")
        self.all_button.clicked.connect(self.view.selectAll)
        self.class_button = QPushButton("Set class")
        self.class_button.setToolTip("Give the selected objects a class")
        self.class_button.setMenu(QMenu(self))
        self.shape_button = QPushButton("Shape")
        self.shape_button.setToolTip("Merge the selected objects, or change the shape of each")
        self.shape_button.setMenu(self._shape_menu())
        self.delete_button = QPushButton("Delete [Del]")
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._connect()
        self._on_annotations()

    def selected(self) -> NDArray[np.uint32]:
        """Objects of the selected rows, ascending."""
        selection = self.view.selectionModel()
        if selection is None:
            return np.zeros(0, np.uint32)
        return self.model.ids_of(selection.selection())

    def delete_selected(self) -> None:
        """Delete the selected objects and their pixels: one edit."""
        ids = self._chosen()

        def write(layer: AnnotationLayer) -> Job[None]:
            edit = yield from layer.delete_job(ids)
            yield from layer.commit_job(edit)

        if len(ids):
            self._history.work(f"delete {_objects(ids)}", write)

    def classify_selected(self, class_id: int) -> None:
        """Give the selected objects a class: one edit."""
        ids = self._chosen()
        if len(ids):
            text = f"class of {_objects(ids)}"
            self._history.commit(text, lambda layer: layer.class_edit(ids, class_id))

    def merge_selected(self) -> None:
        """Make one object of the selected ones: one edit."""
        ids = self._chosen()
        if len(ids):
            text = f"merge {_objects(ids)}"
            self._history.commit(text, lambda layer: layer.merge_edit(ids.tolist()))

    def reshape_selected(self, name: str) -> None:
        """Change the shape of each selected object by one of :data:`VERBS`: an edit each."""
        verb = VERBS[name]
        for number in self._chosen().tolist():
            text = f"{name.lower()} object {number}"
            self._history.commit(text, partial(verb, number=number))

    def refresh(self) -> None:
        """Look for the objects again; what was selected stays selected."""
        self._timer.stop()
        if self._store is None:
            return
        text, class_id = self.filter.value()
        classes, mpp = self._session.classes, self._mpp
        query = Query(text, class_id, *self._order)
        job = find_objects(self._store.objects, classes, mpp, query)
        self._runner.start(job, "Looking at the objects", self._show, slot=self._slot)

    def _show(self, found: Found) -> None:
        kept, scroll = self.selected(), self.view.verticalScrollBar()
        place = scroll.value() if scroll is not None else 0
        self.model.show(found, self._session.classes, self._mpp)
        self._select(kept)
        if scroll is not None:
            scroll.setValue(place)
        shown, total = len(found.ids), len(found.table)
        objects = f"{total:,} object{'' if total == 1 else 's'}"
        self.count.setText(objects if shown == total else f"{shown:,} of {objects}")
        self.summary.show_found(found, self._session.classes, self._mpp)

    def _select(self, ids: NDArray[np.uint32]) -> None:
        selection = self.view.selectionModel()
        if selection is not None and len(ids) and len(self.selected()) < len(ids):
            flags = QItemSelectionModel.SelectionFlag
            selection.select(self.model.selection_of(ids), flags.ClearAndSelect)

    def _chosen(self) -> NDArray[np.uint32]:
        ids = self.selected()
        if self._store is not None:
            # What somebody has just deleted by hand may still be in the list.
            ids = ids[self._store.objects.find(ids)[1]]
        if not len(ids):
            notify.tell("Select objects in the table first.")
        return ids

    @property
    def _mpp(self) -> float | None:
        slide = self._session.slide
        return slide.mpp if slide is not None else None

    @property
    def _slot(self) -> str:
        return f"objects {id(self)}"

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.filter)
        column.addWidget(self.count)
        column.addWidget(self.view, 1)
        grid = QGridLayout()
        buttons = self.all_button, self.delete_button, self.class_button, self.shape_button
        for place, button in enumerate(buttons):
            grid.addWidget(button, place // 2, place % 2)
        column.addLayout(grid)
        column.addWidget(self.summary)

    def _shape_menu(self) -> QMenu:
        menu = QMenu(self)
        if merge := menu.addAction("Merge into one"):
            merge.triggered.connect(lambda _=False: self.merge_selected())
        for name in VERBS:
            if action := menu.addAction(name):
                action.triggered.connect(lambda _=False, name=name: self.reshape_selected(name))
        if corners := menu.addAction("Edit as polygon"):
            corners.triggered.connect(lambda _=False: self._edit_as_polygon())
        return menu

    def _edit_as_polygon(self) -> None:
        ids = self._chosen()
        if len(ids):
            self.as_polygon.emit(int(ids[0]))

    def _connect(self) -> None:
        self._timer.timeout.connect(self.refresh)
        self._table_changed.connect(self._on_new_table)
        events = self._session.events
        follow(self, (events.annotations, self._on_annotations), (events.classes, self._on_classes))
        self.filter.changed.connect(self._timer.start)
        self.model.order_chosen.connect(self._on_order)
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
        # At once: what is selected must never be taken for objects of another layer.
        self._runner.cancel(self._slot)
        self._show(run(find_objects(NO_OBJECTS, (), None, Query())))
        self.refresh()

    def _on_table_changed(self, *_: object) -> None:
        # Called in whatever thread writes.
        self._table_changed.emit()

    def _on_new_table(self) -> None:
        if self._store is not None:
            self.model.update(self._store.objects)  # the rows that are there say what is new now
        self._timer.start()

    def _on_order(self, column: str, descending: bool) -> None:
        self._order = (column, descending)
        self.refresh()

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


def _objects(ids: NDArray[np.uint32]) -> str:
    return f"object {ids[0]}" if len(ids) == 1 else f"{len(ids):,} objects"
