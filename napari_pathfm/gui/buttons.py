"""Buttons with a tip, and grids of them."""

from __future__ import annotations

from qtpy.QtWidgets import QGridLayout, QPushButton


def button(text: str, action: object, tip: str) -> QPushButton:
    """Return a button that calls `action`; its key, if it has one, stands in `text`."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda: action())  # type: ignore[operator]
    return made


def two_columns(*buttons: QPushButton) -> QGridLayout:
    """Lay buttons out row by row, two a row."""
    grid = QGridLayout()
    for place, each in enumerate(buttons):
        grid.addWidget(each, place // 2, place % 2)
    return grid
