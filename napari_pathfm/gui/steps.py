"""The steps of the work in their order, each closed with a reason until it can be done."""

from __future__ import annotations

from typing import Protocol

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea, QToolBox, QWidget

from ..session import Session
from . import notify
from .follow import follow


class Panel(Protocol):
    """A step's panel."""

    def blocked(self) -> str:
        """Why the step cannot be done yet; empty when it can."""


STYLE = """
QToolBox::tab { border: none; border-radius: 3px; background: rgba(128, 128, 128, 70); }
QToolBox::tab:selected { font-weight: bold; background: rgba(128, 128, 128, 130); }
QToolBox::tab:disabled { background: rgba(128, 128, 128, 25); }
"""


class Steps(QToolBox):
    """One page a step; the reason why a step is closed stands in its title."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._panels: list[tuple[str, Panel]] = []
        self.setStyleSheet(STYLE)
        names = ("slide", "grid", "embeddings", "labels", "annotations", "project")
        events = (getattr(session.events, name) for name in names)
        follow(self, *((event, self.update_titles) for event in events))

    def add(self, title: str, panel: QWidget) -> None:
        """Add the panel of the next step (a :class:`Panel`)."""
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(panel)
        self._panels.append((title, panel))  # type: ignore[arg-type]
        self.addItem(area, title)
        self.update_titles()

    def open(self, panel: QWidget) -> None:
        """Open the page of a panel."""
        for index, (_, candidate) in enumerate(self._panels):
            if id(candidate) == id(panel):
                self.setCurrentIndex(index)

    def ask_for(self, panel: QWidget) -> None:
        """Open the page of a panel, or tell the user why it is closed."""
        for title, candidate in self._panels:
            if id(candidate) == id(panel) and candidate.blocked():
                notify.tell(f"{title}: {candidate.blocked()}.")
                return
        self.open(panel)

    def update_titles(self) -> None:
        """Say at each step whether it can be done, and if not, why."""
        for index, (name, panel) in enumerate(self._panels):
            title, reason = f"{index + 1}  {name}", panel.blocked()
            self.setItemText(index, f"{title} – {reason}" if reason else title)
            self.setItemToolTip(index, reason)
            self.setItemEnabled(index, not reason)
