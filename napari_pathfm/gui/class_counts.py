"""How many objects of the annotation layer each class has, and their area."""

from __future__ import annotations

from qtpy.QtCore import QModelIndex, QObject, QRect, Qt, QTimer, Signal
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

from ..core.jobs import Job, Progress
from ..io.masks import AnnotationLayer
from ..io.objects import ClassSums
from ..session import Session
from .follow import follow
from .runner import Runner

SETTLE_MS = 300
SLOT = "class counts"
COUNT = Qt.ItemDataRole.UserRole + 1
"""Role of an item's number of objects, as text."""


class ClassCounts(QObject):
    """Counts in a worker, some time after the layer has changed.

    Parameters
    ----------
    session : Session
    runner : Runner
    """

    counted = Signal()
    """The counts are new."""

    _table_changed = Signal()

    def __init__(self, session: Session, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._store: AnnotationLayer | None = None
        self._sums: ClassSums | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SETTLE_MS)
        self._timer.timeout.connect(self._count)
        self._table_changed.connect(self._timer.start)
        follow(self, (session.events.annotations, self._on_annotations))
        self._on_annotations()

    def text(self, class_id: int) -> str:
        """Number of objects of a class; empty while it is not known."""
        return f"{self._sums.count[class_id]:,}" if self._sums is not None else ""

    def tip(self, class_id: int) -> str:
        """Number and area, for people; empty while they are not known."""
        if self._sums is None:
            return ""
        slide, count = self._session.slide, int(self._sums.count[class_id])
        mpp, area = slide.mpp if slide is not None else None, int(self._sums.area[class_id])
        size = f"{area * mpp**2:,.0f} µm²" if mpp else f"{area:,} pixels"
        return f"{count:,} object{'' if count == 1 else 's'}, {size} in this layer"

    def _on_annotations(self) -> None:
        if self._store is not None:
            self._store.table_changed.disconnect(self._on_table)
        self._store, self._sums = self._session.annotations, None
        if self._store is not None:
            follow(self, (self._store.table_changed, self._on_table))
            self._timer.start()
        self.counted.emit()

    def _on_table(self) -> None:
        # Called in whatever thread writes.
        self._table_changed.emit()

    def _count(self) -> None:
        if self._store is not None:
            job = _count_job(self._store)
            self._runner.start(job, "Counting objects", self._show, slot=SLOT)

    def _show(self, sums: ClassSums) -> None:
        if self._store is not None:
            self._sums = sums
            self.counted.emit()


def _count_job(store: AnnotationLayer) -> Job[ClassSums]:
    yield Progress(0, 0, "Counting objects")
    return store.objects.sums()


class Counted(QStyledItemDelegate):
    """Draws the number of objects at the end of a class's line."""

    def setEditorData(self, editor: QWidget | None, index: QModelIndex) -> None:
        """Fill in the name once: a number that comes later must not undo what was typed."""
        if editor is not None and not editor.property("filled"):
            editor.setProperty("filled", True)
            super().setEditorData(editor, index)

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Draw a line, and the number over its end."""
        super().paint(painter, option, index)
        text = index.data(COUNT)
        if painter is None or not text:
            return
        painter.save()
        painter.setPen(option.palette.placeholderText().color())
        place = QRect(option.rect).adjusted(0, 0, -6, 0)
        end = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(place, end, str(text))
        painter.restore()
