"""The object table on disk: pages of 1024 ids, each one compressed blob, columns one by one.

A row an object in SQL takes seconds to read and gigabytes of Python for a million nuclei; a
thousand pages take a tenth of a second, and a stroke still writes only the page that it touches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..core.objects import NO_ROWS, RowChanges, Rows, distinct, find
from .database import Database
from .row_blobs import pack, unpack

PAGE_BITS = 10
PAGE = 1 << PAGE_BITS
"""Ids of a page: ``PAGE * n`` to ``PAGE * n + PAGE - 1``."""


def pages_of(ids: NDArray[np.uint32]) -> Iterator[tuple[int, slice]]:
    """Yield the pages of ascending ids: the page's number and which of the ids are in it."""
    if not len(ids):
        return
    numbers = ids >> PAGE_BITS
    edges = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    bounds = [0, *edges.tolist(), len(ids)]
    for start, stop in pairwise(bounds):
        yield int(numbers[start]), slice(start, stop)


def changed_pages(
    page: Mapping[int, Rows], changes: RowChanges
) -> Iterator[tuple[int, Rows | None]]:
    """Yield the pages that a change of rows touches as they are after it, ``None`` if empty.

    Parameters
    ----------
    page : mapping
        Rows of a page before, by its number; what is missing is empty.
    changes : RowChanges
    """
    ids, rows = changes.ids, changes.after.rows
    parts = list(pages_of(ids))
    numbers = np.array([number for number, _ in parts], np.uint32)
    pages = changes.after.ids >> PAGE_BITS
    starts = np.searchsorted(pages, numbers).tolist()
    stops = np.searchsorted(pages, numbers, side="right").tolist()
    for (number, part), start, stop in zip(parts, starts, stops, strict=True):
        old = page.get(number)
        new = rows[start:stop] if old is None else _changed(old, ids[part], rows[start:stop])
        yield number, new if len(new) else None


def _changed(old: Rows, ids: NDArray[np.uint32], new: Rows) -> Rows:
    """A page in which the objects `ids` are replaced by `new`, those of them that are left."""
    at, known = find(old, new["id"])
    if known.all() and len(new) == len(ids):
        rows = old.copy()
        rows[at] = new
        return rows
    kept = old[~np.isin(old["id"], ids, assume_unique=True)]
    rows = np.concatenate([kept, new])
    return rows[np.argsort(rows["id"], kind="stable")]


class ObjectPages(Mapping[int, Rows]):
    """Pages of one layer's object table in the project's database.

    Parameters
    ----------
    database : Database
    key : tuple of str
        ``(slide_id, layer)``.
    """

    def __init__(self, database: Database, key: tuple[str, str]) -> None:
        self._database, self._key = database, key

    def __getitem__(self, number: int) -> Rows:
        found = self._database.rows(
            "SELECT rows FROM object_pages WHERE slide_id = ? AND layer = ? AND page = ?",
            (*self._key, number),
        )
        if not found:
            raise KeyError(number)
        return unpack(found[0][0])[1]

    def __iter__(self) -> Iterator[int]:
        found = self._database.rows(
            "SELECT page FROM object_pages WHERE slide_id = ? AND layer = ? ORDER BY page",
            self._key,
        )
        return (int(number) for (number,) in found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def read(self) -> dict[int, Rows]:
        """Return all pages by their numbers, ascending."""
        found = self._database.rows(
            "SELECT page, rows FROM object_pages WHERE slide_id = ? AND layer = ? ORDER BY page",
            self._key,
        )
        return {int(number): unpack(blob)[1] for number, blob in found}

    def apply(self, changes: RowChanges) -> None:
        """Write what a change leaves of the pages that it touches; inside a transaction."""
        for number, rows in changed_pages(self, changes):
            if rows is None:
                self._database.execute(
                    "DELETE FROM object_pages WHERE slide_id = ? AND layer = ? AND page = ?",
                    (*self._key, number),
                )
            else:
                self._database.execute(
                    "INSERT OR REPLACE INTO object_pages VALUES (?, ?, ?, ?)",
                    (*self._key, number, pack(NO_ROWS.rows, rows)),
                )


class PromptTexts:
    """Prompts in the project's database, by the key of their text."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, key: int) -> str:
        """Return the text of a key; ``KeyError`` if nobody has kept it."""
        found = self._database.rows("SELECT text FROM prompts WHERE key = ?", (key,))
        if not found:
            raise KeyError(key)
        return str(found[0][0])

    def keep(self, changes: RowChanges) -> None:
        """Keep the texts of new rows; inside a transaction."""
        new, old = (distinct(side.rows["prompts"]) for side in (changes.after, changes.before))
        keys = np.setdiff1d(new, old, assume_unique=True)
        self._database.execute_many(
            "INSERT OR IGNORE INTO prompts VALUES (?, ?)",
            ((key, changes.after.texts(key)) for key in keys.tolist() if key),
        )


def class_counts(database: Database) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Count the objects of each class, as it was given, in every layer of a project.

    Returns
    -------
    dict
        ``(256,)`` by class id for each ``(slide_id, layer)`` with objects in it.
    """
    counts: dict[tuple[str, str], NDArray[np.int64]] = {}
    for key in _layers(database):
        for rows in ObjectPages(database, key).read().values():
            found = np.bincount(rows["class_id"], minlength=256)
            counts[key] = counts.get(key, 0) + found
    return counts


def _layers(database: Database) -> list[tuple[str, str]]:
    return [
        (str(slide_id), str(name))
        for slide_id, name in database.rows("SELECT slide_id, name FROM layers ORDER BY rowid")
    ]
