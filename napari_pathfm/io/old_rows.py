"""What the migration from schema 1 calls: a row an object becomes pages, JSON becomes arrays."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from ..core.objects import NO_ROWS, ObjectArray, ObjectRow, text_key
from .row_blobs import pack


def add_functions(connection: sqlite3.Connection) -> None:
    """Make ``prompt_key``, ``pack_rows`` and ``pack_changes`` known to SQL."""
    connection.create_function("prompt_key", 1, text_key, deterministic=True)
    connection.create_aggregate("pack_rows", 13, _PackRows)  # type: ignore[arg-type]
    connection.create_aggregate("pack_changes", 2, _PackChanges)  # type: ignore[arg-type]


class _PackRows:
    """Columns of ``objects``, from `id` on, to the blob of a page."""

    def __init__(self) -> None:
        self._rows: list[ObjectRow] = []

    def step(self, *columns: Any) -> None:
        number, class_id, how, model, prompts, score, corrected, author, area, *box = columns
        self._rows.append(
            ObjectRow(
                number,
                class_id,
                how,
                model,
                prompts,
                score,
                bool(corrected),
                author,
                area,
                (box[0], box[1], box[2], box[3]),
            )
        )

    def finalize(self) -> bytes:
        return pack(NO_ROWS.rows, ObjectArray.of(self._rows).rows)


class _PackChanges:
    """Both sides of the rows of an edit, in JSON; of the second only what is new."""

    def __init__(self) -> None:
        self._before: list[ObjectRow] = []
        self._after: list[ObjectRow] = []

    def step(self, before: str | None, after: str | None) -> None:
        old = {} if before is None else json.loads(before)
        if before is not None:
            self._before.append(_row(old))
        if after is not None:
            self._after.append(_row({**old, **json.loads(after)}))

    def finalize(self) -> bytes:
        return pack(ObjectArray.of(self._before).rows, ObjectArray.of(self._after).rows)


def _row(facts: dict[str, Any]) -> ObjectRow:
    return ObjectRow(**{**facts, "box": tuple(facts["box"])})
