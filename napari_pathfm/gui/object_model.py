"""The object table as Qt sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionRange,
    QModelIndex,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor

from ..analysis.find_objects import COLUMNS, HOW, Found
from ..core.edits import AnnotationClass, ObjectRow
from ..core.objects import distinct
from ..io.objects import NO_OBJECTS, ObjectTable

RANGES = 1000
"""A selection that a new order tears into more pieces is given up."""


class ObjectModel(QAbstractTableModel):
    """Shows the objects that were found; a row is made only when it is drawn."""

    order_chosen = Signal(str, bool)
    """A column's head was clicked: its name, and whether the largest come first."""

    def __init__(self) -> None:
        super().__init__()
        self._table = NO_OBJECTS
        self._ids: NDArray[np.uint32] = np.zeros(0, np.uint32)
        self._classes: dict[int, AnnotationClass] = {}
        self._mpp: float | None = None
        self._last: tuple[int, ObjectRow | None] = (0, None)

    @property
    def ids(self) -> NDArray[np.uint32]:
        """Objects ``(K,)`` in the order of the rows."""
        return self._ids

    def show(self, found: Found, classes: Sequence[AnnotationClass], mpp: float | None) -> None:
        """Show what was found; rows that stay where they are stay selected."""
        self._classes = {one.id: one for one in classes}
        self._mpp = mpp
        start, end = _alike(self._ids, found.ids)
        tail = self._ids[len(self._ids) - end :]
        if start + end < len(self._ids):
            self.beginRemoveRows(QModelIndex(), start, len(self._ids) - end - 1)
            self._ids = np.concatenate([self._ids[:start], tail])
            self.endRemoveRows()
        if start + end < len(found.ids):
            self.beginInsertRows(QModelIndex(), start, len(found.ids) - end - 1)
            self._ids = found.ids
            self.endInsertRows()
        self.update(found.table)
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(COLUMNS) - 1)

    def update(self, table: ObjectTable) -> None:
        """Read the rows that are there from another table; their order stays."""
        self._table, self._last = table, (0, None)
        if len(self._ids):
            last = self.index(len(self._ids) - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def id_at(self, row: int) -> int:
        """Object of a row."""
        return int(self._ids[row])

    def row_of(self, number: int) -> int | None:
        """Row of an object, ``None`` if it is not there."""
        found = np.flatnonzero(self._ids == number)
        return int(found[0]) if len(found) else None

    def ids_of(self, selection: QItemSelection) -> NDArray[np.uint32]:
        """Objects of the selected rows; not a row at a time, for all may be selected."""
        ranges = [selection[place] for place in range(len(selection))]
        parts = [self._ids[one.top() : one.bottom() + 1] for one in ranges]
        return distinct(np.concatenate([np.zeros(0, np.uint32), *parts]))

    def selection_of(self, ids: NDArray[np.uint32]) -> QItemSelection:
        """Selection of the rows of some objects; empty if they lie too far apart."""
        chosen = np.flatnonzero(np.isin(self._ids, ids))
        breaks = np.flatnonzero(np.diff(chosen) > 1)
        selection = QItemSelection()
        if len(chosen) and len(breaks) < RANGES:
            tops, bottoms = np.r_[0, breaks + 1], np.r_[breaks, len(chosen) - 1]
            for top, bottom in zip(chosen[tops].tolist(), chosen[bottoms].tolist(), strict=True):
                last = self.index(bottom, len(COLUMNS) - 1)
                selection.append(QItemSelectionRange(self.index(top, 0), last))
        return selection

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._ids)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if role != Qt.ItemDataRole.DisplayRole or orientation != Qt.Orientation.Horizontal:
            return None
        if COLUMNS[section] == "area":
            return "area (µm²)" if self._mpp else "area (px)"
        return COLUMNS[section]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        name = COLUMNS[index.column()]
        if role == Qt.ItemDataRole.TextAlignmentRole and name in ("id", "score", "area"):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DisplayRole:
            row = self._row(index.row())
            return "" if row is None else self._text(row, name)
        if role == Qt.ItemDataRole.DecorationRole and name == "class":
            row = self._row(index.row())
            known = None if row is None else self._classes.get(row.class_id)
            return QColor(known.color) if known else None
        if role == Qt.ItemDataRole.ToolTipRole and name == "made by":
            row = self._row(index.row())
            return "" if row is None else f"{row.model or 'by hand'} {row.author}".strip()
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self.order_chosen.emit(COLUMNS[column], order == Qt.SortOrder.DescendingOrder)

    def _row(self, place: int) -> ObjectRow | None:
        # A cell is asked for one thing after the other, and its neighbours next.
        number = int(self._ids[place])
        if self._last[0] != number:
            self._last = (number, self._table.brief(number))
        return self._last[1]

    def _class_name(self, row: ObjectRow) -> str:
        known = self._classes.get(row.class_id)
        return known.name if known else ""

    def _text(self, row: ObjectRow, name: str) -> str:
        if name == "id":
            return str(row.id)
        if name == "class":
            return self._class_name(row) or "–"
        if name == "made by":
            return HOW.get(row.how, row.how) + (f" ({row.model})" if row.model else "")
        if name == "score":
            return f"{row.score:.2f}" if row.score >= 0 else ""
        if name == "area":
            return f"{row.area * self._mpp**2:,.0f}" if self._mpp else f"{row.area:,}"
        return "yes" if row.corrected else ""


def _alike(old: NDArray[np.uint32], new: NDArray[np.uint32]) -> tuple[int, int]:
    """How many rows are the same at the beginning and, of the others, at the end."""
    length = min(len(old), len(new))
    other = old[:length] != new[:length]
    start = int(other.argmax()) if other.any() else length
    length -= start
    other = old[len(old) - length :] != new[len(new) - length :]
    return start, int(other[::-1].argmax()) if other.any() else length
