"""The classes of a project as one frozen value, and what can be done to it.

An object keeps the class that it was given for good. That a class is merged into another, or
deleted, is known here alone: :attr:`Classes.lookup` says what a class that was given is by now.
So a merge costs the same for ten objects and for ten million, and taking it back touches none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .edits import AnnotationClass

IDS = range(1, 255)
"""Ids that a class may have."""


@dataclass(frozen=True)
class Classes:
    """The classes of a project.

    Attributes
    ----------
    rows : tuple of AnnotationClass
        In the user's order.
    merged : tuple of (int, int)
        Class that is no more, and the one that its objects went to (which may be no more either);
        0 for none. Sorted.
    """

    rows: tuple[AnnotationClass, ...] = ()
    merged: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        ids = [one.id for one in self.rows]
        if len(set(ids)) < len(ids):
            raise ValueError("two classes have the same id: give each its own")

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the classes that there are."""
        return tuple(one.id for one in self.rows)

    @cached_property
    def lookup(self) -> NDArray[np.uint8]:
        """``(256,)`` uint8: what an object that was given a class is now; 0 for no class.

        A class that nobody has ever heard of is itself.
        """
        table, into = np.arange(256, dtype=np.uint8), dict(self.merged)
        for number in into:
            end = number
            while end in into:
                end = into[end]
            table[number] = end
        table.flags.writeable = False
        return table

    def given(self, class_id: int) -> tuple[int, ...]:
        """Return all classes that an object of this one may have been given; itself first."""
        others = [old for old, _ in self.merged if self.lookup[old] == class_id != old]
        return (class_id, *others)

    def get(self, class_id: int) -> AnnotationClass:
        """Return a class.

        Raises
        ------
        ValueError
            There is none of this id.
        """
        found = next((one for one in self.rows if one.id == class_id), None)
        if found is None:
            raise ValueError(f"there is no class {class_id} (any more): choose one of the list")
        return found

    def added(self, *new: AnnotationClass) -> Classes:
        """Return the classes with further ones at the end.

        Raises
        ------
        ValueError
            A name or an id is taken.
        """
        classes = self
        for one in new:
            name = classes._own_name(one.name, one.id)
            classes = replace(classes, rows=(*classes.rows, replace(one, name=name)))
        return classes

    def renamed(self, class_id: int, name: str) -> Classes:
        """Return the classes with another name for one.

        Raises
        ------
        ValueError
            The name is empty or taken, or there is no such class.
        """
        return self._with(replace(self.get(class_id), name=self._own_name(name, class_id)))

    def recolored(self, class_id: int, color: str) -> Classes:
        """Return the classes with another colour (``"#rrggbb"``) for one."""
        return self._with(replace(self.get(class_id), color=color))

    def ordered(self, ids: Iterable[int]) -> Classes:
        """Return the classes in another order.

        Raises
        ------
        ValueError
            `ids` are not those of the classes.
        """
        ids = tuple(ids)
        if sorted(ids) != sorted(self.ids):
            raise ValueError("the classes have changed meanwhile: order them again")
        return replace(self, rows=tuple(self.get(number) for number in ids))

    def without(self, class_id: int, into: int = 0) -> Classes:
        """Return the classes without one; its objects and tiles go to another, or to none (0).

        Raises
        ------
        ValueError
            One of them is not there, or they are the same.
        """
        self.get(class_id)
        if into == class_id:
            raise ValueError("a class cannot be merged with itself: choose another one")
        if into:
            self.get(into)
        rows = tuple(one for one in self.rows if one.id != class_id)
        return Classes(rows, tuple(sorted((*self.merged, (class_id, into)))))

    def replaced(self, rows: Iterable[AnnotationClass]) -> Classes:
        """Return other classes; objects of those that are left out keep the number alone."""
        rows = tuple(rows)
        back = {one.id for one in rows}
        return Classes(rows, tuple(pair for pair in self.merged if pair[0] not in back))

    def _with(self, changed: AnnotationClass) -> Classes:
        rows = tuple(changed if one.id == changed.id else one for one in self.rows)
        return replace(self, rows=rows)

    def _own_name(self, name: str, class_id: int) -> str:
        name = name.strip()
        if not name or any(one.name == name and one.id != class_id for one in self.rows):
            raise ValueError("a class needs a name of its own: type another one")
        return name
