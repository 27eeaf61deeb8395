"""Objects of other programs become one edit of an annotation layer.

Where they lie on one another, or on what is there already, the smaller one is above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK, AnnotationClass, Edit
from ..core.jobs import Job
from ..core.objects import ObjectArray, RowChanges
from ..core.slide import Level
from ..io.classes import ClassBook
from ..io.interop.label_image import is_image
from ..io.masks import AnnotationLayer
from ..io.painting import Paint
from .draw_labels import Meaning, read_labels
from .draw_outlines import read_outlines
from .drawing import ClassFacts, Drawing, DrawnObjects

COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#8c564b")
"""For classes that come without one; colour-blind people can tell them apart (Okabe and Ito)."""

HIDDEN = "wholly beneath smaller ones"


@dataclass(frozen=True)
class ImportReport:
    """What became of the objects of a file.

    Attributes
    ----------
    source, layer : str
        Name of the file and of the annotation layer.
    objects : int
        New objects in the layer.
    overlapping : int
        Objects of the file that met another one; the smaller one is above.
    left_out : mapping
        What is not there, and why: a number by the reason.
    new_classes : tuple of str
    notes : tuple of str
    """

    source: str
    layer: str
    objects: int
    overlapping: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    new_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Tell people in a few sentences."""
        what = "new object" if self.objects == 1 else "new objects"
        text = [f"{self.objects:,} {what} in “{self.layer}”, from {self.source}."]
        if self.new_classes:
            text.append(f"New classes: {', '.join(self.new_classes)}.")
        if self.overlapping:
            text.append(f"{self.overlapping:,} overlap others: the smaller one is above.")
        if self.left_out:
            listed = "; ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
            text.append(f"Left out: {listed}.")
        text += [f"{note[:1].upper()}{note[1:]}." for note in self.notes]
        return " ".join(text)


def read_objects(path: Path, levels: Sequence[Level], meaning: Meaning = "objects") -> Job[Drawing]:
    """Read a file of objects; nothing is changed.

    Parameters
    ----------
    path : Path
        GeoJSON (also compressed), a label image (TIFF, PNG, ``.npy``) or OME-Zarr labels.
    levels : sequence of Level
        Of the slide that they belong to.
    meaning : str
        What the values of an image are, see :func:`~.draw_labels.read_labels`.

    Raises
    ------
    ValueError
        It cannot be read, or belongs to another slide.
    """
    if is_image(path):
        return (yield from read_labels(path, levels, meaning))
    return (yield from read_outlines(path, levels[0].shape))


def import_job(
    layer: AnnotationLayer, drawing: Drawing, book: ClassBook, source: str
) -> Job[ImportReport]:
    """Draw objects into a layer as one edit; closing the job before its end changes nothing.

    Classes are found by their names, and those that are missing are added (a step of the history
    of its own) just before the edit is written.

    Parameters
    ----------
    layer : AnnotationLayer
    drawing : Drawing
        Is closed afterwards.
    book : ClassBook
        Of the project.
    source : str
        Name of the file, for the history.

    Raises
    ------
    ValueError
        It cannot be read any longer, or there would be too many classes.
    ProjectError
        It cannot be written: the layer is as before; new classes may have been added.
    """
    objects = drawing.objects
    try:
        used = np.unique(objects.classes[objects.classes >= 0])
        wanted = [objects.class_names[number] for number in used]
        missing = missing_classes(book.now.rows, wanted)
        book.new_ids(len(missing))  # refuses too many before the work is done
        numbers = layer.new_ids(len(objects))
        ids = np.arange(numbers.start, numbers.stop)
        rows = ObjectArray.new(ids, how="import")
        paints = _paints(layer, drawing, numbers.start)
        edit = yield from layer.edit_job(paints, f"import {source}", rows, total=drawing.total)
        if missing:
            book.add(missing, (layer.slide_id, layer.name))
        of_object = class_ids(book.now.rows, wanted)[_places(used, objects.classes)]
        yield from layer.commit_job(_classified(edit, numbers.start, of_object))
    finally:
        drawing.close()
    made = int((edit.rows.after.ids >= numbers.start).sum())
    left_out = dict(objects.left_out)
    if made < len(objects):
        left_out[HIDDEN] = len(objects) - made
    return ImportReport(
        source,
        layer.name,
        made,
        int(objects.overlapping.sum()),
        left_out,
        tuple(name for name, _ in missing),
        tuple(objects.notes),
    )


def missing_classes(
    classes: Sequence[AnnotationClass], wanted: Sequence[ClassFacts]
) -> list[ClassFacts]:
    """Return those of `wanted` that a project does not have, once each, all with a colour.

    Upper and lower case are the same.
    """
    known = {one.name.casefold() for one in classes}
    missing: list[ClassFacts] = []
    for name, color in wanted:
        if name.casefold() not in known:
            known.add(name.casefold())
            number = len(classes) + len(missing)
            missing.append((name, color or COLORS[number % len(COLORS)]))
    return missing


def class_ids(
    classes: Sequence[AnnotationClass], wanted: Sequence[ClassFacts]
) -> NDArray[np.uint8]:
    """Return the id of each of `wanted`, by its name, and a 0 behind them: for no class (-1)."""
    known = {one.name.casefold(): one.id for one in reversed(classes)}
    known |= {one.name: one.id for one in classes}
    ids = [known.get(name) or known[name.casefold()] for name, _ in wanted]
    return np.array([*ids, 0], np.uint8)


def _places(used: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Place of each class in `used`; -1 for none."""
    return np.where(classes < 0, -1, np.searchsorted(used, classes))


def _paints(layer: AnnotationLayer, drawing: Drawing, first: int) -> Iterator[Paint]:
    for row, col, numbers in drawing.chunks():
        y, x = row * CHUNK, col * CHUNK
        mask = numbers > 0
        old = layer.read(0, y, x, CHUNK, CHUNK)
        _spare_smaller(layer, old, numbers, mask, drawing.objects)
        yield Paint.of(y, x, numbers + np.uint32(first - 1), mask, 1)


def _spare_smaller(
    layer: AnnotationLayer,
    old: NDArray[np.uint32],
    numbers: NDArray[np.uint32],
    mask: NDArray[np.bool_],
    objects: DrawnObjects,
) -> None:
    """Take pixels of smaller objects that are there already out of the mask."""
    both = mask & (old > 0)
    if not both.any():
        return
    below, above = old[both], numbers[both] - 1
    objects.overlapping[above] = True
    ids, place = np.unique(below, return_inverse=True)
    rows, _ = layer.objects.find(ids)
    mask[both] = rows["area"][place] >= objects.areas[above]


def _classified(edit: Edit, first: int, of_object: NDArray[np.uint8]) -> Edit:
    """Give the new objects of an edit their classes; `first` is the id of the first of them."""
    after = edit.rows.after
    new = after.ids >= first
    given = after.rows["class_id"].copy()
    given[new] = of_object[after.ids[new] - first]
    return replace(edit, objects=RowChanges(edit.rows.before, after.with_(class_id=given)))
