"""Which objects of an annotation layer are meant, in what order, and what they add up to.

A filter is what a user types: terms with commas between them, all of which must hold.
``area > 50``, ``score < 0.5``, ``id = 12`` compare a column; ``corrected`` is a column of its own;
any other word is looked for in the class, in what made the object, and among the ids; ``not``
turns a term round.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.edits import AnnotationClass
from ..core.jobs import Job, Progress
from ..core.objects import WORDS
from ..io.objects import ClassSums, ObjectTable

COLUMNS = ("id", "class", "area", "made by", "score", "corrected")
HOW = {"prompt": "prompt", "brush": "hand", "import": "import", "predict": "prediction"}
"""What made an object, for people."""

Mask = NDArray[np.bool_]

_COMPARE: dict[str, Callable[[NDArray[np.float64], float], Mask]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_TERM = re.compile(r"(id|score|area)\s*(<=|>=|!=|==|<|>|=)\s*(.*)")


@dataclass(frozen=True)
class Query:
    """What to show of a layer's objects.

    Attributes
    ----------
    text : str
        What the user typed; empty for all.
    class_id : int or None
        Only of this class (0: without one); ``None`` for any.
    column : str
        One of :data:`COLUMNS`, by which they are sorted.
    descending : bool
    """

    text: str = ""
    class_id: int | None = None
    column: str = "id"
    descending: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """The answer to a :class:`Query`.

    Attributes
    ----------
    table : ObjectTable
        The objects that were asked.
    ids : ndarray
        ``(K,)`` uint32 in the order asked for.
    sums : ClassSums
        Number and area of them, by class.
    """

    table: ObjectTable
    ids: NDArray[np.uint32]
    sums: ClassSums


def find_objects(
    table: ObjectTable, classes: Sequence[AnnotationClass], mpp: float | None, query: Query
) -> Job[Found]:
    """Filter and sort the objects of a layer; a million take about a tenth of a second.

    Parameters
    ----------
    table : ObjectTable
    classes : sequence of AnnotationClass
        For their names.
    mpp : float or None
        Micrometres per level-0 pixel: areas are then meant in square micrometres.
    query : Query

    Raises
    ------
    ValueError
        The filter cannot be understood.
    """
    yield Progress(0, 3, "looking at the objects")
    shown = _chosen(table, classes, mpp, query)
    yield Progress(1, 3, "sorting the objects")
    order = _order(table, classes, query, shown)
    yield Progress(2, 3, "adding up the objects")
    counts = np.bincount(table.column("class_id")[shown], minlength=256)
    areas = np.bincount(table.column("class_id")[shown], table.column("area")[shown], 256)
    return Found(table, table.column("id")[order], ClassSums(counts, areas.astype(np.int64)))


def check_filter(text: str) -> None:
    """Refuse a filter that cannot be understood.

    Raises
    ------
    ValueError
        With what may be written.
    """
    for term in _terms(text):
        _, rest = _negation(term)
        found = _TERM.fullmatch(rest)
        if found:
            _number(found[3], rest)


def _chosen(
    table: ObjectTable, classes: Sequence[AnnotationClass], mpp: float | None, query: Query
) -> NDArray[np.intp]:
    shown = np.ones(len(table), bool)
    if query.class_id is not None:
        shown &= table.column("class_id") == query.class_id
    for term in _terms(query.text):
        wanted, rest = _negation(term)
        shown &= _holds(table, classes, mpp, rest) == wanted
    return np.flatnonzero(shown)


def _terms(text: str) -> Iterable[str]:
    return [term.strip().lower() for term in re.split(r",|\band\b", text) if term.strip()]


def _negation(term: str) -> tuple[bool, str]:
    return (False, term[4:].strip()) if term.startswith("not ") else (True, term)


def _holds(
    table: ObjectTable, classes: Sequence[AnnotationClass], mpp: float | None, term: str
) -> Mask:
    found = _TERM.fullmatch(term)
    if found:
        name, sign, number = found[1], found[2].replace("==", "="), _number(found[3], term)
        values = table.column(name).astype(np.float64)
        if name == "area" and mpp:
            values *= mpp**2
        return _COMPARE[sign](values, number)
    if term == "corrected":
        corrected: Mask = table.column("corrected")
        return corrected
    return _mentions(table, classes, term)


def _number(text: str, term: str) -> float:
    try:
        return float(text.replace("µm²", "").replace("px", "").strip())
    except ValueError:
        raise ValueError(
            f"“{term}” needs a number after the sign: write for example area > 50"
        ) from None


def _mentions(table: ObjectTable, classes: Sequence[AnnotationClass], word: str) -> Mask:
    meant = np.zeros(256, bool)
    meant[[one.id for one in classes if word in one.name.lower()]] = True
    meant[0] |= word == "no class"
    found: Mask = meant[table.column("class_id")]
    for name in ("how", "model", "author"):
        codes = table.column(name)
        used = np.flatnonzero(np.bincount(codes))
        said = [code for code in used.tolist() if word in _said(name, code)]
        if said:
            found = found | np.isin(codes, said)
    if word.isdecimal():
        found = found | (table.column("id") == int(word))
    return found


def _said(name: str, code: int) -> str:
    text = WORDS.text(code)
    return (HOW.get(text, text) if name == "how" else text).lower()


def _order(
    table: ObjectTable,
    classes: Sequence[AnnotationClass],
    query: Query,
    shown: NDArray[np.intp],
) -> NDArray[np.intp]:
    if query.column == "id":
        order = shown
    else:
        order = shown[np.argsort(_keys(table, classes, query.column)[shown], kind="stable")]
    return order[::-1] if query.descending else order


def _keys(table: ObjectTable, classes: Sequence[AnnotationClass], column: str) -> NDArray[Any]:
    if column == "class":
        names = {one.id: one.name.lower() for one in classes}
        ranks = _ranks([names.get(number, "") for number in range(256)])
        return np.take(ranks, table.column("class_id"))
    if column == "made by":
        how, model = table.column("how"), table.column("model")
        width = int(model.max(initial=0)) + 1
        pairs = how.astype(np.int64) * width + model
        used = np.flatnonzero(np.bincount(pairs))
        ranks = np.zeros(int(used.max(initial=0)) + 1, np.uint16)
        ranks[used] = _ranks([made_by(*divmod(pair, width)).lower() for pair in used.tolist()])
        places: NDArray[Any] = ranks[pairs]
        return places
    keys: NDArray[Any] = table.column(column)
    return keys


def _ranks(names: Sequence[str]) -> NDArray[np.uint16]:
    # Few different ones: as small numbers they are sorted by counting.
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([places[name] for name in names], np.uint16)


def made_by(how: int, model: int) -> str:
    """What made an object, for people: ``"prompt (litemedsam)"``; codes of :data:`WORDS`."""
    text = WORDS.text(how)
    return HOW.get(text, text) + (f" ({WORDS.text(model)})" if model else "")
