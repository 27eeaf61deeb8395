"""Between the session's classes and the project's: who changes them asks here."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, Signal

from ..core.classes import IDS, Classes
from ..core.edits import AnnotationClass
from ..io.classes import ClassBook
from ..io.steps import OF_CLASSES
from ..session import Session
from . import notify
from .history import History


def _nothing() -> None:
    """Follows where nobody waits."""


class ClassChanges(QObject):
    """Changes classes, each change one step of the history, and shows the session what became.

    While there is no project to keep them, the session's own classes are changed.

    Parameters
    ----------
    session : Session
    history : History
        Writes the changes in their turn.
    """

    merged = Signal()
    """Objects and tiles have other classes now."""

    _book_changed = Signal()

    def __init__(self, session: Session, history: History, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._history = session, history
        self._book: ClassBook | None = None
        self._known = Classes()
        self._book_changed.connect(self._on_book)
        session.events.project.connect(self._on_project)
        self._on_project()

    @property
    def now(self) -> Classes:
        """The classes as they are."""
        return self._book.now if self._book is not None else Classes(self._session.classes)

    def change(
        self,
        text: str,
        change: Callable[[Classes], Classes],
        done: Callable[[], None] = _nothing,
        failed: Callable[[], None] = _nothing,
    ) -> None:
        """Change the classes.

        Parameters
        ----------
        text : str
            For the history.
        change : callable
            From the classes as they are to the new ones; a ValueError's message is shown.
        done, failed : callable, optional
            Called at the end.
        """
        book, line = self._book, self._line()

        def write() -> None:
            if book is not None:
                book.change(text, change, line)

        self._do(text, change, write, done, failed)

    def add(
        self,
        name: str,
        color: str,
        done: Callable[[int], None],
        failed: Callable[[], None] = _nothing,
    ) -> None:
        """Add a class; `done` gets its id."""
        book, line, made = self._book, self._line(), [0]

        def change(now: Classes) -> Classes:
            made[0] = next((number for number in IDS if number not in now.ids), 0)
            return now.added(AnnotationClass(made[0], name, color))

        def write() -> None:
            if book is not None:
                made[0] = book.add([(name, color)], line)[0].id

        self._do(f"add class {name}", change, write, lambda: done(made[0]), failed)

    def _do(
        self,
        text: str,
        change: Callable[[Classes], Classes],
        write: Callable[[], None],
        done: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        try:
            after = change(self.now)  # what cannot be is said at once
        except ValueError as error:
            notify.warn(str(error))
            failed()
            return
        if self._session.refusal:
            notify.warn(f"{text}: {self._session.refusal}.")
            failed()
        elif self._book is None:
            self._session.classes = after.rows
            done()
        else:
            self._history.change_classes(text, write, done, failed)

    def _line(self) -> tuple[str, str]:
        layer = self._session.annotations
        return (layer.slide_id, layer.name) if layer is not None else OF_CLASSES

    def _on_project(self, *_: object) -> None:
        if self._book is not None:
            self._book.changed.disconnect(self._tell)
        project = self._session.project
        self._book = project.class_book if project is not None else None
        if self._book is not None:
            self._book.changed.connect(self._tell)
            self._known = self._book.now

    def _tell(self) -> None:
        # Called in whatever thread changes the classes.
        self._book_changed.emit()

    def _on_book(self) -> None:
        if self._book is None:
            return
        before, self._known = self._known, self._book.now
        self._session.classes = self._known.rows
        if self._known.merged != before.merged:
            self.merged.emit()
