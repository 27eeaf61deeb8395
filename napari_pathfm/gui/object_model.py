"""The object table as Qt sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor

from ..core.edits import AnnotationClass, ObjectRow

COLUMNS = ("id", "class", "made by", "score", "area", "corrected")
HOW = {"prompt": "prompt", "brush": "hand", "import": "import", "predict": "prediction"}


class ObjectModel(QAbstractTableModel):
    """Rows of objects, sorted here: a proxy would ask for each cell in Python again."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[ObjectRow] = []
        self._classes: dict[int, AnnotationClass] = {}
        self._mpp: float | None = None
        self._column, self._descending = 0, False

    def show(
        self,
        objects: Mapping[int, ObjectRow],
        classes: Sequence[AnnotationClass],
        mpp: float | None,
    ) -> None:
        """Show other rows, in the order that was chosen."""
        self.beginResetModel()
        self._rows = list(objects.values())
        self._classes = {one.id: one for one in classes}
        self._mpp = mpp
        self._order()
        self.endResetModel()

    def id_at(self, row: int) -> int:
        """Object of a row."""
        return self._rows[row].id

    def row_of(self, number: int) -> int | None:
        """Row of an object, ``None`` if it is not there."""
        return next((row for row, one in enumerate(self._rows) if one.id == number), None)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

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
        row, name = self._rows[index.row()], COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, name)
        if role == Qt.ItemDataRole.DecorationRole and name == "class":
            known = self._classes.get(row.class_id)
            return QColor(known.color) if known else None
        if role == Qt.ItemDataRole.ToolTipRole and name == "made by":
            return f"{row.model or 'by hand'} {row.author}".strip()
        if role == Qt.ItemDataRole.TextAlignmentRole and name in ("id", "score", "area"):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._column, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self.beginResetModel()
        self._order()
        self.endResetModel()

    def _order(self) -> None:
        self._rows.sort(key=_KEYS[COLUMNS[self._column]](self), reverse=self._descending)

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


Key = Callable[[ObjectRow], Any]
_KEYS: dict[str, Callable[[ObjectModel], Key]] = {
    "id": lambda _: lambda row: row.id,
    "class": lambda model: model._class_name,
    "made by": lambda _: lambda row: (row.how, row.model),
    "score": lambda _: lambda row: row.score,
    "area": lambda _: lambda row: row.area,
    "corrected": lambda _: lambda row: row.corrected,
}
