"""The line of steps that undo walks back: the edits of one layer and the project's class edits.

Each layer has a line of its own, and all lines share the class edits. An edit of a layer never
says what has become of a class (:mod:`napari_pathfm.core.classes` does), so the two kinds do not
depend on each other, and a class edit that is undone beside one layer leaves the edits of all
others as they are. What holds at any time: of the edits of a layer the first ones are done and the
rest is not, and the same is true of the class edits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .database import Database

OF_CLASSES = ("", "")
"""Slide and layer of a class edit."""


@dataclass(frozen=True)
class HistoryStep:
    """One edit of the history.

    Attributes
    ----------
    number : int
        Grows with time; unique in the project.
    text : str
        What was done.
    when : datetime
        UTC.
    author : str
    done : bool
        ``False`` while it is undone.
    of_classes : bool
        Whether it changed the project's classes rather than the layer.
    """

    number: int
    text: str
    when: datetime
    author: str
    done: bool
    of_classes: bool = False


class Steps:
    """The line of one layer.

    Parameters
    ----------
    database : Database
    slide_id : str
    layer : str
    """

    def __init__(self, database: Database, slide_id: str, layer: str) -> None:
        self._database = database
        self._keys = ((slide_id, layer), OF_CLASSES)

    def last_done(self) -> HistoryStep | None:
        """Return the step that undo takes back."""
        found = self._rows("AND done = 1 ORDER BY number DESC LIMIT 1")
        return max(found, key=_number, default=None)

    def first_undone(self) -> HistoryStep | None:
        """Return the step that redo does again."""
        found = self._rows("AND done = 0 ORDER BY number LIMIT 1")
        return min(found, key=_number, default=None)

    def history(self) -> list[HistoryStep]:
        """Return all steps, oldest first."""
        return sorted(self._rows(""), key=_number)

    def page(self, before: int | None, length: int) -> list[HistoryStep]:
        """Return some steps, newest first.

        Parameters
        ----------
        before : int or None
            Number of the step after them; ``None`` for the newest.
        length : int
            At most so many.
        """
        where = "ORDER BY number DESC LIMIT ?"
        if before is None:
            found = self._rows(where, length)
        else:
            found = self._rows(f"AND number < ? {where}", before, length)
        return sorted(found, key=_number, reverse=True)[:length]

    def distance(self, number: int) -> int:
        """How many steps are to be undone or done until `number` is the last one that is done."""
        sql = (
            "SELECT count(*) FROM edits WHERE slide_id = ? AND layer = ? "
            "AND (done = 1 AND number > ? OR done = 0 AND number <= ?)"
        )
        return sum(self._database.rows(sql, (*key, number, number))[0][0] for key in self._keys)

    def _rows(self, which: str, *values: Any) -> list[HistoryStep]:
        sql = (
            "SELECT number, text, made, author, done FROM edits "
            f"WHERE slide_id = ? AND layer = ? {which}"
        )
        return [
            HistoryStep(
                number, text, datetime.fromisoformat(made), author, bool(done), key == OF_CLASSES
            )
            for key in self._keys
            for number, text, made, author, done in self._database.rows(sql, (*key, *values))
        ]


def drop_undone(database: Database, slide_id: str, layer: str) -> None:
    """Forget what a new edit of a layer makes impossible to do again; inside a transaction.

    Class edits that are undone go with those of the layer. The ids of classes that they had made
    are free again if no edit that came later and no tile can know them.
    """
    for key in {(slide_id, layer), OF_CLASSES}:
        database.execute("DELETE FROM edits WHERE slide_id = ? AND layer = ? AND done = 0", key)
    database.execute(
        "DELETE FROM class_ids WHERE edit > (SELECT coalesce(max(number), 0) FROM edits) "
        "AND id NOT IN (SELECT class_id FROM tile_labels)"
    )


def _number(step: HistoryStep) -> int:
    return step.number
