"""The history of the annotation layer: every step, and a click goes back or forth to it."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from ..core.jobs import Job, Progress
from ..io.masks import AnnotationLayer
from ..io.steps import HistoryStep
from ..session import Session
from .follow import follow
from .history import History
from .keys import let_keys_through
from .runner import Runner

PAGE = 200
"""Steps that are read at a time."""

KEPT = 1000
"""At most so many steps are read anew after a change; older ones when they are scrolled to."""

SETTLE_MS = 100
BEGINNING = "as it was at first"
COLUMNS = ("step", "when", "by")
UNDONE = QColor(128, 128, 128, 150)

Page = tuple[list[HistoryStep], bool]
"""Steps, newest first, and whether they reach the first one."""


class HistoryModel(QAbstractTableModel):
    """Steps, newest first; older ones are asked for when they are about to be seen."""

    wanted = Signal()
    """More steps are about to be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[HistoryStep] = []
        self.complete = True

    def show(self, page: Page) -> None:
        """Show these steps and no others."""
        self.beginResetModel()
        self.steps, self.complete = page
        self.endResetModel()

    def append(self, page: Page) -> None:
        """Show older steps, too."""
        steps, complete = page
        first = len(self.steps)
        last = first + len(steps) - 1 + (complete and not self.complete)
        if last >= first:
            self.beginInsertRows(QModelIndex(), first, last)
            self.steps, self.complete = [*self.steps, *steps], complete
            self.endInsertRows()

    def number(self, row: int) -> int:
        """Number of the step in a row; 0 for the beginning."""
        return self.steps[row].number if row < len(self.steps) else 0

    def current(self) -> int:
        """Row of the last step that is done."""
        return next((row for row, step in enumerate(self.steps) if step.done), len(self.steps))

    def canFetchMore(self, parent: QModelIndex) -> bool:
        return not self.complete

    def fetchMore(self, parent: QModelIndex) -> None:
        self.wanted.emit()

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        beginning = self.complete and bool(self.steps)
        return 0 if parent.isValid() else len(self.steps) + beginning

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = index.row()
        if role == Qt.ItemDataRole.FontRole and row == self.current():
            font = QFont()
            font.setBold(True)
            return font
        if row >= len(self.steps):
            first = role == Qt.ItemDataRole.DisplayRole and not index.column()
            return BEGINNING if first else None
        step = self.steps[row]
        if role == Qt.ItemDataRole.DisplayRole:
            when = step.when.astimezone().strftime("%d %b %H:%M")
            return (step.text, when, step.author)[index.column()]
        if role == Qt.ItemDataRole.ForegroundRole and not step.done:
            return UNDONE
        if role == Qt.ItemDataRole.ToolTipRole:
            state = "" if step.done else ", undone"
            return f"{step.text}: {step.when.astimezone():%c}, {step.author}{state}"
        return None


class HistoryPanel(QWidget):
    """The steps of ``session.annotations``; while it is hidden, nothing is read.

    Parameters
    ----------
    session : Session
    runner : Runner
        Reads the steps.
    history : History
        Goes to a step.
    """

    def __init__(
        self, session: Session, runner: Runner, history: History, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._runner, self._history = session, runner, history
        self._reading = False
        self.model = HistoryModel()
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setMinimumHeight(120)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.view.setTabKeyNavigation(False)
        self.view.setToolTip("Click on a step to go back or forth to it")
        let_keys_through(self.view)
        rows, columns = self.view.verticalHeader(), self.view.horizontalHeader()
        if rows is not None and columns is not None:
            rows.setDefaultSectionSize(22)
            rows.hide()
            columns.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.view)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self.refresh)
        self.view.clicked.connect(self._on_clicked)
        self.model.wanted.connect(self._read_on)
        history.changed.connect(self._on_changed)
        follow(self, (session.events.annotations, self._on_changed))

    def showEvent(self, event: object) -> None:
        """Read the steps when they are looked at."""
        super().showEvent(event)  # type: ignore[arg-type]
        self.refresh()

    def refresh(self) -> None:
        """Read the newest steps again."""
        layer = self._session.annotations
        if layer is None:
            self.model.show(([], True))
        elif self.isVisible():
            length = min(max(PAGE, len(self.model.steps)), KEPT)
            self._start(layer, None, length, self._show)

    def _on_changed(self) -> None:
        if self.isVisible():
            self._timer.start()

    def _read_on(self) -> None:
        layer = self._session.annotations
        if layer is not None and self.model.steps and not self._reading:
            self._reading = True
            self._start(layer, self.model.steps[-1].number, PAGE, self._append)

    def _start(self, layer: AnnotationLayer, before: int | None, length: int, done: Any) -> None:
        job = _page_job(layer, before, length)
        self._runner.start(job, "Reading the history", done, slot="history", failed=self._failed)

    def _show(self, page: Page) -> None:
        self._reading = False
        bar = self.view.verticalScrollBar()
        place = bar.value() if bar is not None else 0
        self.model.show(page)
        if bar is not None:
            bar.setValue(place)

    def _append(self, page: Page) -> None:
        self._reading = False
        self.model.append(page)

    def _failed(self, _: BaseException) -> None:
        # The project was closed meanwhile, or cannot be read: whoever writes to it tells.
        self._reading = False
        self.model.show(([], True))

    def _on_clicked(self, index: QModelIndex) -> None:
        if index.row() != self.model.current():
            self._history.go_to(self.model.number(index.row()))


def _page_job(layer: AnnotationLayer, before: int | None, length: int) -> Job[Page]:
    yield Progress(0, 0, "Reading the history")
    steps = layer.history_page(before, length)
    return steps, len(steps) < length
