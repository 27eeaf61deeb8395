"""The class that the next object gets."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from ..core.edits import AnnotationClass
from ..session import Session


class ActiveClass(QObject):
    """Which class is chosen, by a digit or in the list; always one of the session's."""

    changed = Signal(int)
    """Its id; 0 while there are no classes."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._id = 0
        session.events.classes.connect(self._on_classes)
        self._on_classes()

    @property
    def id(self) -> int:
        """Id of the class; 0 for none."""
        return self._id

    @property
    def row(self) -> AnnotationClass | None:
        """Its name and colour."""
        return next((one for one in self._session.classes if one.id == self._id), None)

    def choose(self, class_id: int) -> None:
        """Choose a class by its id."""
        if class_id != self._id and any(one.id == class_id for one in self._session.classes):
            self._id = class_id
            self.changed.emit(class_id)

    def choose_digit(self, digit: int) -> None:
        """Choose by the digit that the list shows: 1 for the first class."""
        classes = self._session.classes
        if 1 <= digit <= len(classes):
            self.choose(classes[digit - 1].id)

    def _on_classes(self) -> None:
        known = [one.id for one in self._session.classes]
        if self._id not in known:
            self._id = known[0] if known else 0
        # A new name or colour of the same class is news, too.
        self.changed.emit(self._id)
