"""The journal of an annotation layer: every edit with both sides, and the table of objects.

An edit is recorded before its pixels are written, in one transaction, as a row an edit and a
record a chunk. What was recorded but not written (the process was killed in between) is an
operation with a number above ``applied``; doing it again is harmless, because a record holds
whole chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from ..core.edits import Edit, ObjectChange, ObjectRow
from .chunks import PackedChange
from .database import Database
from .steps import drop_undone

Direction = Literal["do", "undo", "redo"]


@dataclass(frozen=True)
class Operation:
    """An edit that was done, undone or done again.

    Attributes
    ----------
    number : int
    edit : int
        :attr:`~napari_pathfm.io.steps.HistoryStep.number`.
    direction : str
        "do", "undo" or "redo".
    """

    number: int
    edit: int
    direction: Direction


class Journal:
    """Edits and objects of one layer in the project's database.

    Parameters
    ----------
    database : Database
    slide_id : str
    layer : str
        Name of the layer.
    """

    def __init__(self, database: Database, slide_id: str, layer: str) -> None:
        self._database = database
        self._key = (slide_id, layer)

    def register(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Make the layer's row if there is none; return its ``(height, width)``."""
        found = self.shape()
        if found is None:
            with self._database.transaction("The annotation layer could not be made") as database:
                database.execute(
                    "INSERT INTO layers (slide_id, name, height, width) VALUES (?, ?, ?, ?)",
                    (*self._key, *shape),
                )
        return found or shape

    def shape(self) -> tuple[int, int] | None:
        """``(height, width)`` of the layer, level-0 pixels; ``None`` if it was never made."""
        rows = self._database.rows(
            "SELECT height, width FROM layers WHERE slide_id = ? AND name = ?", self._key
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def record(self, edit: Edit, changes: Iterable[PackedChange], author: str) -> Operation:
        """Write a new edit, whole or not at all; what was undone before it is dropped.

        Raises
        ------
        ProjectError
            The disk is full, ...; nothing is changed.
        """
        made = datetime.now(UTC).isoformat()
        with self._database.transaction("The edit could not be saved") as database:
            drop_undone(database, *self._key)
            number = database.execute(
                "INSERT INTO edits (slide_id, layer, text, author, made, done) "
                "VALUES (?, ?, ?, ?, ?, 1)",
                (*self._key, edit.text, author, made),
            )
            database.execute_many(
                "INSERT INTO edit_chunks VALUES (?, ?, ?, ?, ?)",
                ((number, c.row, c.col, c.before_blob, c.after_blob) for c in changes),
            )
            database.execute_many(
                "INSERT INTO edit_objects VALUES (?, ?, ?, ?)",
                ((number, change.id, *_to_json(change)) for change in edit.objects),
            )
            return self._operate(number, "do", edit.objects)

    def switch(
        self, number: int, direction: Direction, objects: Iterable[ObjectChange]
    ) -> Operation:
        """Record that an edit is undone or done again; `objects` as they are to be applied."""
        with self._database.transaction(f"The {direction} could not be saved") as database:
            database.execute(
                "UPDATE edits SET done = ? WHERE number = ?", (direction == "redo", number)
            )
            return self._operate(number, direction, objects)

    def _operate(
        self, number: int, direction: Direction, objects: Iterable[ObjectChange]
    ) -> Operation:
        # Runs inside a transaction: the table of objects changes with the journal.
        objects = tuple(objects)
        self._database.execute_many(
            "DELETE FROM objects WHERE slide_id = ? AND layer = ? AND id = ?",
            ((*self._key, change.id) for change in objects if change.after is None),
        )
        self._database.execute_many(
            f"INSERT OR REPLACE INTO objects VALUES ({', '.join('?' * 15)})",
            ((*self._key, *_to_row(c.after)) for c in objects if c.after is not None),
        )
        operation = self._database.execute(
            "INSERT INTO operations (edit, direction) VALUES (?, ?)", (number, direction)
        )
        return Operation(operation, number, direction)

    def load(self, number: int) -> Edit:
        """Return an edit of the journal; its chunks are unpacked only when they are asked for."""
        ((text,),) = self._database.rows("SELECT text FROM edits WHERE number = ?", (number,))
        chunks = self._database.rows(
            "SELECT chunk_row, chunk_col, before, after FROM edit_chunks WHERE edit = ?", (number,)
        )
        objects = self._database.rows(
            "SELECT before, after FROM edit_objects WHERE edit = ?", (number,)
        )
        return Edit(
            self._key[1],
            text,
            tuple(PackedChange(*row) for row in chunks),
            tuple(_from_json(old, new) for old, new in objects),
        )

    def pending(self) -> list[Operation]:
        """Operations that were recorded and whose chunks may not be on disk, oldest first."""
        rows = self._database.rows(
            "SELECT operations.number, edit, direction FROM operations "
            "JOIN edits ON edits.number = edit "
            "JOIN layers ON layers.slide_id = edits.slide_id AND layers.name = edits.layer "
            "WHERE edits.slide_id = ? AND edits.layer = ? AND operations.number > applied "
            "ORDER BY operations.number",
            self._key,
        )
        return [Operation(*row) for row in rows]

    def mark_applied(self, operation: int) -> None:
        """Note that the chunks of all operations up to this one are on disk; 0 for none."""
        # Should a power cut take this row, the edit is applied once more: no need to wait for
        # the disk.
        with self._database.transaction("The edit could not be finished", lazy=True) as database:
            database.execute(
                "UPDATE layers SET applied = ? WHERE slide_id = ? AND name = ?",
                (operation, *self._key),
            )

    def newest_chunk(self, row: int, col: int) -> bytes | None:
        """Bytes of a level-0 chunk after the last done edit that touched it."""
        rows = self._database.rows(
            "SELECT after FROM edit_chunks JOIN edits ON number = edit WHERE slide_id = ? "
            "AND layer = ? AND done AND chunk_row = ? AND chunk_col = ? "
            "ORDER BY number DESC LIMIT 1",
            (*self._key, row, col),
        )
        return rows[0][0] if rows else None

    def objects(self) -> dict[int, ObjectRow]:
        """Return the table of objects."""
        rows = self._database.rows(
            "SELECT id, class_id, how, model, prompts, score, corrected, author, area, "
            "y0, x0, y1, x1 FROM objects WHERE slide_id = ? AND layer = ? ORDER BY id",
            self._key,
        )
        return {row[0]: _from_row(row) for row in rows}

    def largest_id(self) -> int:
        """Largest id of an object that the journal knows; 0 for none."""
        rows = self._database.rows(
            "SELECT max(id) FROM edit_objects JOIN edits ON number = edit "
            "WHERE slide_id = ? AND layer = ?",
            self._key,
        )
        return rows[0][0] or 0


def _facts(row: ObjectRow) -> dict[str, Any]:
    # Whoever made the row may have used numpy's numbers, which neither SQLite nor JSON takes.
    return {
        "id": int(row.id),
        "class_id": int(row.class_id),
        "how": row.how,
        "model": row.model,
        "prompts": row.prompts,
        "score": float(row.score),
        "corrected": bool(row.corrected),
        "author": row.author,
        "area": int(row.area),
        "box": tuple(int(corner) for corner in row.box),
    }


def _to_row(row: ObjectRow) -> tuple[Any, ...]:
    *facts, box = _facts(row).values()
    return (*facts, *box)


def _from_row(row: tuple[Any, ...]) -> ObjectRow:
    number, class_id, how, model, prompts, score, corrected, author, area, *box = row
    y0, x0, y1, x1 = box
    return ObjectRow(
        number,
        class_id,
        how,
        model,
        prompts,
        score,
        bool(corrected),
        author,
        area,
        (y0, x0, y1, x1),
    )


def _to_json(change: ObjectChange) -> tuple[str | None, str | None]:
    """Both sides as JSON; of a row that was there before only what is new is kept of the second.

    A new class for a hundred thousand objects would otherwise be their prompts twice.
    """
    before = None if change.before is None else _facts(change.before)
    after = None if change.after is None else _facts(change.after)
    if before is not None and after is not None:
        after = {name: value for name, value in after.items() if value != before[name]}
    return (
        None if before is None else json.dumps(before),
        None if after is None else json.dumps(after),
    )


def _from_json(before: str | None, after: str | None) -> ObjectChange:
    old = None if before is None else json.loads(before)
    new = None if after is None else {**(old or {}), **json.loads(after)}
    return ObjectChange(_from_facts(old), _from_facts(new))


def _from_facts(facts: dict[str, Any] | None) -> ObjectRow | None:
    return None if facts is None else ObjectRow(**{**facts, "box": tuple(facts["box"])})
