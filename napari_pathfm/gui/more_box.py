"""Buttons for more than one object at a time, and the candidate that is asked about."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from ..session import Session
from .buttons import button
from .follow import follow
from .more import More

PLACES = "in view", "whole slide"
LIKE_IT = "as the object"
"""What the size says while it is that of the example."""


class MoreBox(QWidget):
    """“Everything here”, “More like this”, where and how large, “Segment each”; yes or no.

    Parameters
    ----------
    more : More
    session : Session
        Says how large a pixel is.
    """

    def __init__(self, more: More, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._more, self._session = more, session
        queue = more.queue
        self.everything_button = button(
            "Everything here [W]",
            more.everything,
            "Segment all objects that are about as large as the chosen or the newest one",
        )
        self.like_button = button(
            "More like this [L]",
            more.like_this,
            "Look for objects that resemble the chosen or the newest one, and ask about each",
        )
        self.each_button = button(
            "Segment each [U]",
            more.each,
            "Make an object of each box or point of the layer chosen in napari's list of layers",
        )
        self.where = QComboBox()
        self.where.addItems(PLACES)
        self.where.setToolTip("Where they are looked for")
        self.size_box = QDoubleSpinBox()
        self.size_box.setRange(0, 100_000)
        self.size_box.setDecimals(1)
        self.size_box.setSpecialValueText(LIKE_IT)
        self.size_box.setToolTip("Longer side of the objects; 0: as the chosen or the newest one")
        self.accept_button = button("Accept [Y]", queue.accept, "It is one: keep it")
        self.reject_button = button("Reject [R]", queue.reject, "It is none: the next one")
        self.all_button = button(
            "Accept all [Shift+Y]", queue.accept_all, "Keep this one and all that follow"
        )
        self.stop_button = button(
            "Stop [Shift+R]", queue.stop, "Reject this one and all that follow"
        )
        self.state = QLabel()
        self.asking = QWidget()
        _fill(
            QGridLayout(self.asking),
            (self.state,),
            (self.accept_button, self.reject_button),
            (self.all_button, self.stop_button),
        )
        grid = QGridLayout()
        _fill(
            grid,
            (self.everything_button, self.like_button),
            (self.where, self.size_box),
            (self.each_button,),
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(grid)
        column.addWidget(self.asking)
        self.where.currentIndexChanged.connect(self._on_where)
        self.size_box.valueChanged.connect(self._on_size)
        queue.changed.connect(self._on_queue)
        follow(self, (session.events.slide, self._on_slide))
        self._on_slide()
        self._on_queue()

    def _on_where(self, place: int) -> None:
        self._more.whole = bool(place)

    def _on_size(self, size: float) -> None:
        slide = self._session.slide
        mpp = slide.mpp if slide is not None else None
        self._more.size = size / (mpp or 1.0) or None

    def _on_slide(self) -> None:
        slide = self._session.slide
        self.size_box.setSuffix(" µm" if slide is not None and slide.mpp else " px")
        self._on_size(self.size_box.value())

    def _on_queue(self) -> None:
        queue, like = self._more.queue, self._more.queue.shown
        self.asking.setVisible(like is not None)
        if like is not None:
            place = f"{queue.place + 1} of {len(queue)}"
            self.state.setText(f"{place} · likeness {like.likeness:.2f}")


def _fill(grid: QGridLayout, *rows: tuple[QWidget, ...]) -> None:
    grid.setContentsMargins(0, 0, 0, 0)
    for number, row in enumerate(rows):
        for place, part in enumerate(row):
            grid.addWidget(part, number, place, 1, 2 if len(row) == 1 else 1)
