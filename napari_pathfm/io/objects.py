"""The object table of an annotation layer in memory: a snapshot that never changes.

Rows lie in pages of 1024 ids, as on disk. The table after an edit shares all pages with the one
before it but those that the edit touches, so a stroke costs the same among a million objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.objects import (
    NO_ROWS,
    ROW,
    ObjectArray,
    ObjectRow,
    RowChanges,
    Rows,
    Texts,
    distinct,
    find,
    row_of,
)
from .object_pages import PAGE_BITS, changed_pages, pages_of

FEW_PAGES = 100
"""Up to so many pages are asked one by one; for more, whole columns are put together."""


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Objects of each class.

    Attributes
    ----------
    count : ndarray
        ``(256,)`` int64: number of objects by class id, 0 for no class.
    area : ndarray
        ``(256,)`` int64: their level-0 pixels.
    """

    count: NDArray[np.int64]
    area: NDArray[np.int64]


class ObjectTable(Mapping[int, ObjectRow]):
    """Rows of objects by id, in ascending order; a row is made when it is asked for.

    Parameters
    ----------
    pages : dict
        Rows with ascending ids by the number of their page; is not copied.
    texts : callable
        Gives prompts by their key.
    """

    _lookup: NDArray[np.uint8] | None = None

    def __init__(self, pages: dict[int, Rows], texts: Texts) -> None:
        self._pages, self.texts = pages, texts
        self._count = sum(len(rows) for rows in pages.values())
        self._columns: dict[str, NDArray[Any]] = {}

    def seen(self, lookup: NDArray[np.uint8]) -> ObjectTable:
        """Return the same objects with other classes.

        Parameters
        ----------
        lookup : ndarray
            ``(256,)`` uint8: new class by old class.
        """
        table = copy(self)
        table._lookup = lookup
        return table

    def fresh(self) -> ObjectTable:
        """Return the same objects without the columns that were put together already."""
        table = copy(self)
        table._columns = {}
        return table

    def _as_seen(self, rows: Rows) -> Rows:
        if self._lookup is None:
            return rows
        rows = rows.copy()
        rows["class_id"] = self._seen(rows["class_id"])
        return rows

    def _seen(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return classes if self._lookup is None else self._lookup[classes]

    def __getitem__(self, number: int) -> ObjectRow:
        one = self._one(number)
        if one is None:
            raise KeyError(number)
        return row_of(self._as_seen(one)[0], self.texts)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int | np.integer) and self._one(int(number)) is not None

    def __iter__(self) -> Iterator[int]:
        for page in sorted(self._pages):
            yield from self._pages[page]["id"].tolist()

    def __len__(self) -> int:
        return self._count

    def brief(self, number: int) -> ObjectRow | None:
        """Return a row without its prompts, so without a look at the database; or ``None``."""
        one = self._one(number)
        return None if one is None else row_of(self._as_seen(one)[0], lambda _: "")

    def _one(self, number: int) -> Rows | None:
        rows = self._pages.get(number >> PAGE_BITS)
        if rows is None:
            return None
        at, found = find(rows, np.array([number], np.uint32))
        return rows[at] if found[0] else None

    @property
    def largest_id(self) -> int:
        """Largest id; 0 for an empty table."""
        return int(self._pages[max(self._pages)]["id"][-1]) if self._pages else 0

    @property
    def pages(self) -> Mapping[int, Rows]:
        """Rows by page; equal pages of two tables are the same object."""
        return self._pages

    def column(self, name: str) -> NDArray[Any]:
        """All values of a column of :data:`~napari_pathfm.core.objects.ROW`, by ascending id.

        The array is made at the first call and then kept: do not change it.
        """
        found = self._columns.get(name)
        if found is None:
            parts = [self._pages[page][name] for page in sorted(self._pages)]
            found = np.concatenate(parts) if parts else np.zeros(0, ROW[name])
            found.flags.writeable = False
            self._columns[name] = found
        return self._seen(found) if name == "class_id" else found

    def all(self) -> ObjectArray:
        """Return all rows."""
        parts = [self._pages[page] for page in sorted(self._pages)]
        rows = np.concatenate(parts) if parts else NO_ROWS.rows
        return ObjectArray(self._as_seen(rows), self.texts)

    def find(self, ids: NDArray[np.integer]) -> tuple[Rows, NDArray[np.bool_]]:
        """Look ids up.

        Parameters
        ----------
        ids : ndarray
            ``(K,)``, ascending.

        Returns
        -------
        rows : ndarray
            ``(K,)``; zeros where there is no such object.
        found : ndarray
            ``(K,)`` bool.
        """
        numbers = np.asarray(ids, np.uint32)
        out, found = np.zeros(len(ids), ROW), np.zeros(len(ids), bool)
        for number, part in pages_of(numbers):
            rows = self._pages.get(number)
            if rows is not None:
                at, hit = find(rows, numbers[part])
                out[part][hit] = rows[at[hit]]
                found[part] = hit
        return self._as_seen(out), found

    def class_of(self, ids: NDArray[np.integer], missing: int = 0) -> NDArray[np.uint8]:
        """Classes ``(K,)`` of ascending ids; `missing` where there is no such object."""
        numbers = np.asarray(ids, np.uint32)
        parts = list(pages_of(numbers))
        if len(parts) > FEW_PAGES:
            return _values(self.column("id"), self.column("class_id"), numbers, missing)
        out = np.full(len(numbers), missing, np.uint8)
        for page, part in parts:
            rows = self._pages.get(page)
            if rows is not None:
                own = np.ascontiguousarray(rows["id"])
                out[part] = _values(own, self._seen(rows["class_id"]), numbers[part], missing)
        return out

    def select(self, ids: Iterable[int] | NDArray[np.integer]) -> ObjectArray:
        """Return the rows of some objects, by ascending id.

        Raises
        ------
        KeyError
            With the id of which there is no object.
        """
        given = ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int64)
        wanted = distinct(given)
        rows, found = self.find(wanted)
        found &= (wanted >= 0) & (wanted < 1 << 32)
        if not found.all():
            raise KeyError(int(wanted[~found][0]))
        return ObjectArray(rows, self.texts)

    def touching(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[np.uint32]:
        """Ascending ids of the objects whose boxes meet a box of level-0 pixels."""
        near = (self.column("y0") < y1) & (self.column("y1") > y0)
        near &= (self.column("x0") < x1) & (self.column("x1") > x0)
        return self.column("id")[near]

    def sums(self) -> ClassSums:
        """Number and area of the objects of each class."""
        classes, areas = self.column("class_id"), self.column("area")
        # Sums of doubles are exact up to 2**53 pixels, a hundred thousand whole slides.
        area = np.bincount(classes, areas, 256).astype(np.int64)
        return ClassSums(np.bincount(classes, minlength=256), area)

    def with_changes(self, changes: RowChanges) -> ObjectTable:
        """Return the table after a change, with classes as they were given."""
        pages = self._pages.copy()
        for number, rows in changed_pages(self._pages, changes):
            if rows is not None:
                pages[number] = rows
            else:
                pages.pop(number, None)
        return ObjectTable(pages, self.texts)

    def agrees(self, changes: RowChanges) -> bool:
        """Whether the rows are what a change says they were before it; not for a seen one."""
        rows, found = self.find(changes.ids)
        return rows[found].tobytes() == changes.before.rows.tobytes()


def _values(
    own: NDArray[np.uint32], values: NDArray[np.uint8], ids: NDArray[np.uint32], missing: int
) -> NDArray[np.uint8]:
    if not len(own):
        return np.full(len(ids), missing, np.uint8)
    at = np.minimum(np.searchsorted(own, ids), len(own) - 1)
    return np.where(own[at] == ids, values[at], np.uint8(missing))


NO_OBJECTS = ObjectTable({}, lambda _: "")
"""The table of a layer with nothing in it."""
