"""The journal of an annotation layer: every edit with both sides, and the table of objects.

An edit is recorded before its pixels are written, in one transaction, as a row an edit and a
record a chunk, what it does to the table of objects in one blob. What was recorded but not
written (the process was killed in between) is an operation with a number above ``applied``; doing
it again is harmless, because a record holds whole chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ..core.edits import Edit, ObjectChange
from ..core.objects import ObjectArray, RowChanges
from .chunks import PackedChange
from .database import Database
from .object_pages import ObjectPages, PromptTexts
from .objects import ObjectTable
from .row_blobs import pack, unpack
from .steps import drop_undone
from .waiting import drop as drop_stroke

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
        self._pages = ObjectPages(database, self._key)
        self._texts = PromptTexts(database)

    def register(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Make the layer's row; return its ``(height, width)``."""
        with self._database.transaction("The annotation layer could not be made") as database:
            database.execute(
                "INSERT INTO layers (slide_id, name, height, width) VALUES (?, ?, ?, ?)",
                (*self._key, *shape),
            )
        return shape

    def shape(self) -> tuple[int, int] | None:
        """``(height, width)`` of the layer, level-0 pixels; ``None`` if it was never made."""
        rows = self._database.rows(
            "SELECT height, width FROM layers WHERE slide_id = ? AND name = ?", self._key
        )
        return (rows[0][0], rows[0][1]) if rows else None

    def record(
        self, edit: Edit, changes: Iterable[PackedChange], author: str, stroke: int = 0
    ) -> Operation:
        """Write a new edit, whole or not at all; what was undone before it is dropped.

        `stroke` is the number of the waiting stroke that has become this edit; 0 for none.

        Raises
        ------
        ProjectError
            The disk is full, ...; nothing is changed.
        """
        made = datetime.now(UTC).isoformat()
        with self._database.transaction("The edit could not be saved") as database:
            drop_undone(database, *self._key)
            drop_stroke(database, stroke)
            number = database.execute(
                "INSERT INTO edits (slide_id, layer, text, author, made, done) "
                "VALUES (?, ?, ?, ?, ?, 1)",
                (*self._key, edit.text, author, made),
            )
            database.execute_many(
                "INSERT INTO edit_chunks VALUES (?, ?, ?, ?, ?)",
                ((number, c.row, c.col, c.before_blob, c.after_blob) for c in changes),
            )
            rows = edit.rows
            if rows:
                self._texts.keep(rows)
                database.execute(
                    "INSERT INTO edit_rows VALUES (?, ?, ?)",
                    (number, int(rows.ids[-1]), pack(rows.before.rows, rows.after.rows)),
                )
            return self._operate(number, "do", rows)

    def switch(self, number: int, direction: Direction, rows: Sequence[ObjectChange]) -> Operation:
        """Record that an edit is undone or done again; `rows` as they are to be applied."""
        with self._database.transaction(f"The {direction} could not be saved") as database:
            database.execute(
                "UPDATE edits SET done = ? WHERE number = ?", (direction == "redo", number)
            )
            return self._operate(number, direction, RowChanges.of(rows))

    def _operate(self, number: int, direction: Direction, rows: RowChanges) -> Operation:
        # Runs inside a transaction: the table of objects changes with the journal.
        self._pages.apply(rows)
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
        return Edit(
            self._key[1],
            text,
            tuple(PackedChange(*row) for row in chunks),
            self._rows(number),
        )

    def _rows(self, number: int) -> RowChanges:
        found = self._database.rows("SELECT rows FROM edit_rows WHERE edit = ?", (number,))
        if not found:
            return RowChanges()
        before, after = unpack(found[0][0])
        return RowChanges(ObjectArray(before, self._texts), ObjectArray(after, self._texts))

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

    def objects(self) -> ObjectTable:
        """Return the table of objects."""
        return ObjectTable(self._pages.read(), self._texts)

    def largest_id(self) -> int:
        """Largest id of an object that the journal knows; 0 for none."""
        rows = self._database.rows(
            "SELECT max(largest) FROM edit_rows JOIN edits ON number = edit "
            "WHERE slide_id = ? AND layer = ?",
            self._key,
        )
        return rows[0][0] or 0
