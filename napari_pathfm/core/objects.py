"""Rows of the object table: one as a dataclass, many as one array, and their changes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROW = np.dtype(
    [
        ("id", "<u4"),
        ("class_id", "u1"),
        ("corrected", "?"),
        ("how", "<i4"),
        ("model", "<i4"),
        ("author", "<i4"),
        ("score", "<f8"),
        ("prompts", "<i8"),
        ("area", "<i8"),
        ("y0", "<i4"),
        ("x0", "<i4"),
        ("y1", "<i4"),
        ("x1", "<i4"),
    ]
)
"""A row in an array. `how`, `model` and `author` are codes of :data:`WORDS`, `prompts` is the
:func:`text_key` of the text; the box is ``y0, x0, y1, x1``."""

BOX = ("y0", "x0", "y1", "x1")

Rows = NDArray[np.void]
"""``(N,)`` of :data:`ROW`."""

AnyInteger = TypeVar("AnyInteger", bound=np.integer)

Texts = Callable[[int], str]
"""Text of a key; raises ``KeyError`` for one that it does not know."""


class Words:
    """Short texts that many rows share, as numbers that hold as long as the process."""

    def __init__(self) -> None:
        self._texts = [""]
        self._codes = {"": 0}
        self._lock = threading.Lock()

    def code(self, text: str) -> int:
        """Number of a text, a new one if need be."""
        found = self._codes.get(text)
        if found is None:
            with self._lock:
                found = self._codes.setdefault(text, len(self._texts))
                if found == len(self._texts):
                    self._texts.append(text)
        return found

    def text(self, code: int) -> str:
        """Text of a number."""
        return self._texts[code]


WORDS = Words()


def text_key(text: str) -> int:
    """Key of a long text: 64 bits of its hash; 0 for the empty one.

    Whoever meets the same text again finds the same key, so texts are kept apart from the rows
    and are fetched only when somebody wants to read them.
    """
    if not text:
        return 0
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


@dataclass(frozen=True)
class ObjectRow:
    """One row of the object table.

    Attributes
    ----------
    id : int
        Value of its pixels in the mask, 1 to 2**32 - 1.
    class_id : int
        0 for no class yet.
    how : str
        "prompt", "brush", "import", "predict": what made it.
    model : str
        Name of the segmenter or encoder, empty for hand-made.
    prompts : str
        JSON of the prompts, empty for none.
    score : float
        The model's own estimate of its quality, 0 to 1; -1 if there is none.
    corrected : bool
        Whether a hand has changed it after a model had made it.
    author : str
    area : int
        Level-0 pixels.
    box : tuple of int
        ``(y0, x0, y1, x1)`` that holds it, level-0 pixels; may be larger than needed after an
        eraser, never smaller.
    """

    id: int
    class_id: int = 0
    how: str = "brush"
    model: str = ""
    prompts: str = ""
    score: float = -1.0
    corrected: bool = False
    author: str = ""
    area: int = 0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)

    def with_(self, **changes: Any) -> ObjectRow:
        """Return a copy with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class ObjectChange:
    """A row of the object table before and after; ``None`` where it does not exist."""

    before: ObjectRow | None
    after: ObjectRow | None

    @property
    def id(self) -> int:
        """Of the object.

        Raises
        ------
        ValueError
            The change is empty on both sides.
        """
        row = self.after or self.before
        if row is None:
            raise ValueError("a change of an object needs a row before or after")
        return row.id

    def inverse(self) -> ObjectChange:
        """Swap the sides."""
        return ObjectChange(self.after, self.before)


def _no_text(key: int) -> str:
    raise KeyError(key)


@dataclass(frozen=True, eq=False)
class ObjectArray:
    """Many rows of the object table.

    Attributes
    ----------
    rows : ndarray
        ``(N,)`` :data:`ROW`, ascending ids, each once.
    texts : callable
        Gives the prompts of a row by their key; is asked only for rows that are taken out.
    """

    rows: Rows
    texts: Texts = _no_text

    @classmethod
    def of(cls, rows: Iterable[ObjectRow]) -> ObjectArray:
        """Gather single rows, in any order.

        Raises
        ------
        ValueError
            Two have the same id.
        """
        given = sorted(rows, key=lambda row: row.id)
        array = np.array([_packed(row) for row in given], ROW)
        if (array["id"][1:] == array["id"][:-1]).any():
            raise ValueError("two rows have the same id: give each object its own")
        return cls(array, {text_key(row.prompts): row.prompts for row in given}.__getitem__)

    @classmethod
    def new(
        cls,
        ids: ArrayLike,
        *,
        class_id: ArrayLike = 0,
        how: str = "brush",
        model: str = "",
        author: str = "",
        score: ArrayLike = -1.0,
    ) -> ObjectArray:
        """Describe many new objects at once; area and box are 0.

        Parameters
        ----------
        ids : array_like
            ``(N,)``, in any order, each once.
        class_id, score : array_like
            One for all, or ``(N,)`` in the order of `ids`.
        how, model, author : str
            Of all of them.

        Raises
        ------
        ValueError
            Two ids are the same, or the shapes disagree.
        """
        rows = np.zeros(np.shape(ids), ROW)
        rows["id"], rows["class_id"], rows["score"] = ids, class_id, score
        for name, text in (("how", how), ("model", model), ("author", author)):
            rows[name] = WORDS.code(text)
        rows = rows[np.argsort(rows["id"], kind="stable")]
        if (rows["id"][1:] == rows["id"][:-1]).any():
            raise ValueError("two rows have the same id: give each object its own")
        return cls(rows)

    @cached_property
    def ids(self) -> NDArray[np.uint32]:
        """``(N,)``, ascending."""
        return np.ascontiguousarray(self.rows["id"])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> ObjectRow:
        """The row at a place."""
        return row_of(self.rows[at], self.texts)

    def __iter__(self) -> Iterator[ObjectRow]:
        return (row_of(one, self.texts) for one in self.rows)

    def pick(self, which: Any) -> ObjectArray:
        """Rows by a mask, a slice or ascending places."""
        return ObjectArray(self.rows[which], self.texts)

    def with_(self, **columns: ArrayLike) -> ObjectArray:
        """Return a copy with other numbers: ``with_(class_id=3)``."""
        rows = self.rows.copy()
        for name, values in columns.items():
            rows[name] = values
        return ObjectArray(rows, self.texts)

    def find(self, ids: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Places of ids ``(K,)``, and which of them are there."""
        return find(self.rows, ids)


def distinct(values: NDArray[AnyInteger]) -> NDArray[AnyInteger]:
    """Sort whole numbers ``(N,)``, each once.

    numpy's ``unique`` puts them into a hash table first, which takes ten times as long where most
    of a million are different.
    """
    values = np.sort(values)
    first = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return values[first]


def find(rows: Rows, ids: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Places of ids ``(K,)`` in rows with ascending ids; any place for what is not there.

    Returns
    -------
    at : ndarray
        ``(K,)``.
    found : ndarray
        ``(K,)`` bool.
    """
    if not len(rows):
        return np.zeros(len(ids), np.intp), np.zeros(len(ids), bool)
    own = np.ascontiguousarray(rows["id"])
    at = np.minimum(np.searchsorted(own, ids), len(own) - 1)
    return at, own[at] == ids


def row_of(one: Any, texts: Texts) -> ObjectRow:
    """One row of an array as a dataclass; fetches its prompts."""
    number, class_id, corrected, how, model, author, score, prompts, area, *box = one.tolist()
    return ObjectRow(
        id=number,
        class_id=class_id,
        how=WORDS.text(how),
        model=WORDS.text(model),
        prompts=texts(prompts) if prompts else "",
        score=score,
        corrected=corrected,
        author=WORDS.text(author),
        area=area,
        box=(box[0], box[1], box[2], box[3]),
    )


def _packed(row: ObjectRow) -> tuple[Any, ...]:
    words = (WORDS.code(text) for text in (row.how, row.model, row.author))
    key = text_key(row.prompts)
    return (row.id, row.class_id, row.corrected, *words, row.score, key, row.area, *row.box)


NO_ROWS = ObjectArray(np.zeros(0, ROW))


@dataclass(frozen=True, eq=False)
class RowChanges(Sequence[ObjectChange]):
    """What an edit does to the object table; as a sequence, one change an object, by id.

    Attributes
    ----------
    before : ObjectArray
        The rows as they were; an object that is new is missing.
    after : ObjectArray
        The rows as they will be; an object that goes is missing.
    """

    before: ObjectArray = NO_ROWS
    after: ObjectArray = NO_ROWS

    @classmethod
    def of(cls, changes: Sequence[ObjectChange]) -> RowChanges:
        """Gather single changes, in any order.

        Raises
        ------
        ValueError
            Two are of the same object.
        """
        if isinstance(changes, RowChanges):
            return changes
        return cls(
            ObjectArray.of(each.before for each in changes if each.before is not None),
            ObjectArray.of(each.after for each in changes if each.after is not None),
        )

    @cached_property
    def ids(self) -> NDArray[np.uint32]:
        """All objects that it touches, ascending."""
        before, after = self.before.ids, self.after.ids
        if not len(before) or np.array_equal(before, after):
            return after
        return distinct(np.concatenate([before, after])) if len(after) else before

    def inverse(self) -> RowChanges:
        """Swap the sides."""
        return RowChanges(self.after, self.before)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> ObjectChange: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[ObjectChange, ...]: ...
    def __getitem__(self, at: int | slice) -> ObjectChange | tuple[ObjectChange, ...]:
        if isinstance(at, slice):
            return tuple(self._change(int(number)) for number in self.ids[at])
        return self._change(int(self.ids[at]))

    def __iter__(self) -> Iterator[ObjectChange]:
        return (self._change(int(number)) for number in self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def _change(self, number: int) -> ObjectChange:
        return ObjectChange(_one(self.before, number), _one(self.after, number))


def _one(rows: ObjectArray, number: int) -> ObjectRow | None:
    (at,), (found,) = rows.find(np.array([number], np.uint32))
    return rows[int(at)] if found else None
