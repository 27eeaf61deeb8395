"""The classes of a project in its database, with every change of them.

A change is an edit like any other, of no slide and no layer, and stands in the history of every
layer. Nothing but the classes themselves is written (see :mod:`napari_pathfm.core.classes`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Literal

from psygnal import Signal

from ..core.classes import IDS, Classes
from ..core.edits import AnnotationClass
from .database import Database
from .object_pages import class_counts
from .steps import OF_CLASSES, drop_undone

if TYPE_CHECKING:
    from .project import Project


class ClassBook:
    """The classes of one project. All methods may be called from any thread.

    Parameters
    ----------
    database : Database
    author : str
        Who changes them.

    Attributes
    ----------
    changed : Signal
        Fired when the classes have changed, in whatever thread changed them.
    """

    changed: ClassVar[Signal] = Signal()

    def __init__(self, database: Database, author: str) -> None:
        self._database, self._author = database, author
        self._lock = threading.RLock()
        self.now = self._read()

    now: Classes
    """The classes as they are."""

    def reload(self) -> None:
        """Read the classes again, which another process may have changed."""
        self.now = self._read()

    def new_ids(self, count: int = 1) -> list[int]:
        """Return ids that no class has or had, as far as the history reaches; lowest first.

        Raises
        ------
        ValueError
            There are not so many.
        """
        taken = {number for (number,) in self._database.rows("SELECT id FROM class_ids")}
        free = [number for number in IDS if number not in taken]
        if len(free) < count:
            raise ValueError(
                f"a project can have {len(IDS)} classes in all, those counted that were merged or "
                f"deleted: {len(free)} are left, {count} are needed; use classes that are there"
            )
        return free[:count]

    def add(
        self, new: Iterable[tuple[str, str]], line: tuple[str, str] = OF_CLASSES
    ) -> tuple[AnnotationClass, ...]:
        """Add classes: one edit.

        Parameters
        ----------
        new : iterable of (name, color)
        line : (str, str)
            As for :meth:`change`.

        Raises
        ------
        ValueError
            A name is taken, or there are too many.
        ProjectError
            They cannot be written.
        """
        new = tuple(new)
        with self._lock:
            ids = self.new_ids(len(new))
            made = tuple(
                AnnotationClass(number, *facts) for number, facts in zip(ids, new, strict=True)
            )
            names = ", ".join(name for name, _ in new[:3]) + (", …" if len(new) > 3 else "")
            what = "class" if len(new) == 1 else f"{len(new)} classes:"
            self.change(f"add {what} {names}", lambda now: now.added(*made), line)
        return made

    def change(
        self,
        text: str,
        change: Callable[[Classes], Classes],
        line: tuple[str, str] = OF_CLASSES,
    ) -> None:
        """Change the classes: one edit; nothing happens if they stay the same.

        Parameters
        ----------
        text : str
            For the history.
        change : callable
            From the classes as they are to the new ones.
        line : (str, str)
            Slide and layer that are worked on: what was undone there cannot be done again.

        Raises
        ------
        ValueError
            `change` refuses.
        ProjectError
            The project is read-only, the disk is full, ...; nothing is changed.
        """
        with self._lock:
            before, after = self.now, change(self.now)
            if after == before:
                return
            made = datetime.now(UTC).isoformat()
            with self._database.transaction("The classes could not be saved") as database:
                drop_undone(database, *line)
                number = database.execute(
                    "INSERT INTO edits (slide_id, layer, text, author, made, done) "
                    "VALUES (?, ?, ?, ?, ?, 1)",
                    (*OF_CLASSES, text, self._author, made),
                )
                database.execute(
                    "INSERT INTO class_edits VALUES (?, ?, ?)",
                    (number, _to_json(before), _to_json(after)),
                )
                self._write(after, number)
            self.now = after
        self.changed.emit()

    def replace(self, rows: tuple[AnnotationClass, ...]) -> None:
        """Take other classes instead of all: one edit, but for the first ones of a project.

        Raises
        ------
        ValueError
            Two have the same id.
        ProjectError
            They cannot be written.
        """
        with self._lock:
            if self._database.rows("SELECT id FROM class_ids LIMIT 1"):
                self.change("classes", lambda now: now.replaced(rows))
                return
            first = self.now.replaced(rows)
            with self._database.transaction("The classes could not be saved"):
                self._write(first, 0)
            self.now = first
        self.changed.emit()

    def switch(self, number: int, direction: Literal["undo", "redo"]) -> None:
        """Take the class edit `number` back, or do it again; it must be the next in that direction.

        Raises
        ------
        ProjectError
            It cannot be written; nothing is changed.
        """
        with self._lock:
            ((before, after),) = self._database.rows(
                "SELECT before, after FROM class_edits WHERE edit = ?", (number,)
            )
            now = _from_json(after if direction == "redo" else before)
            with self._database.transaction(f"The {direction} could not be saved") as database:
                database.execute(
                    "UPDATE edits SET done = ? WHERE number = ?", (direction == "redo", number)
                )
                self._write(now, number)
            self.now = now
        self.changed.emit()

    def _write(self, classes: Classes, edit: int) -> None:
        # Runs inside a transaction.
        database = self._database
        database.execute("DELETE FROM classes")
        database.execute_many(
            "INSERT INTO classes (id, name, color, position) VALUES (?, ?, ?, ?)",
            ((one.id, one.name, one.color, place) for place, one in enumerate(classes.rows)),
        )
        database.execute("DELETE FROM merged_classes")
        database.execute_many("INSERT INTO merged_classes VALUES (?, ?)", classes.merged)
        database.execute_many(
            "INSERT OR IGNORE INTO class_ids VALUES (?, ?)",
            ((one.id, edit) for one in classes.rows),
        )

    def _read(self) -> Classes:
        rows = self._database.rows("SELECT id, name, color FROM classes ORDER BY position")
        merged = self._database.rows("SELECT id, into_id FROM merged_classes ORDER BY id")
        return Classes(tuple(AnnotationClass(*row) for row in rows), tuple(merged))


@dataclass(frozen=True)
class Uses:
    """What is of a class, in all layers of all slides of a project."""

    objects: int
    slides: int
    tiles: int


def uses(project: Project, class_id: int) -> Uses:
    """Count what a merge or a deletion of a class concerns; takes a while in a large project."""
    given = list(project.class_book.now.given(class_id))
    counts = {key: int(c[given].sum()) for key, c in class_counts(project.database).items()}
    marks = ", ".join("?" * len(given))
    ((tiles,),) = project.database.rows(
        f"SELECT count(*) FROM tile_labels WHERE class_id IN ({marks})", given
    )
    slides = {slide for (slide, _), count in counts.items() if count}
    return Uses(sum(counts.values()), len(slides), tiles)


def _to_json(classes: Classes) -> str:
    return json.dumps({"rows": [astuple(one) for one in classes.rows], "merged": classes.merged})


def _from_json(text: str) -> Classes:
    facts = json.loads(text)
    return Classes(
        tuple(AnnotationClass(*row) for row in facts["rows"]),
        tuple((old, new) for old, new in facts["merged"]),
    )
