"""What was found becomes objects of a layer: one edit, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..core.edits import CHUNK
from ..core.jobs import Job, Progress
from ..core.objects import ObjectArray
from ..io.masks import AnnotationLayer
from ..io.painting import Paint
from .candidate import Candidate, commit_row
from .found_objects import FoundObjects

BLOCK = 256
"""Candidates that are drawn between two reports of progress."""


def keep_candidates(
    layer: AnnotationLayer,
    candidates: Sequence[Candidate],
    class_id: int,
    author: str,
    text: str,
    overwrite: bool = False,
) -> Job[int]:
    """Make candidates objects that know their prompts; closing the job changes nothing.

    Parameters
    ----------
    layer : AnnotationLayer
        Of the slide on which they were found.
    candidates : sequence of Candidate
        The first of two that meet is above.
    class_id : int
        0 for no class yet.
    author : str
    text : str
        For the history.
    overwrite : bool
        Whether they take pixels from objects that are there already.

    Returns
    -------
    int
        New objects: those of which nothing is above the others are none.

    Raises
    ------
    ProjectError
        It cannot be written: the layer is as before.
    """
    if not candidates:
        return 0
    found = FoundObjects(layer.shape, candidates[0].model)
    for start in range(0, len(candidates), BLOCK):
        yield Progress(start, len(candidates), text)
        found.draw(candidates[start : start + BLOCK])
    numbers = layer.new_ids(len(found))
    rows = ObjectArray.of(
        commit_row(candidate, number, class_id, author)
        for number, candidate in zip(numbers, candidates, strict=True)
    )
    return (yield from keep_found(layer, found, rows, text, overwrite))


def keep_found(
    layer: AnnotationLayer,
    found: FoundObjects,
    rows: ObjectArray,
    text: str,
    overwrite: bool = False,
) -> Job[int]:
    """Make what is drawn objects; see :func:`keep_candidates`.

    Parameters
    ----------
    rows : ObjectArray
        One each, in the order in which they were drawn, with ids of the layer that follow one
        another.
    """
    paints = _paints(layer, found, int(rows.ids[0]), overwrite)
    edit = yield from layer.edit_job(paints, text, rows, total=found.chunks)
    yield from layer.commit_job(edit)
    return int(np.isin(edit.rows.after.ids, rows.ids).sum())


def _paints(
    layer: AnnotationLayer, found: FoundObjects, first: int, overwrite: bool
) -> Iterator[Paint]:
    for row, col, numbers in found:
        y, x = row * CHUNK, col * CHUNK
        mask = numbers > 0
        if not overwrite:
            mask &= layer.read(0, y, x, CHUNK, CHUNK) == 0
        yield Paint.of(y, x, numbers + np.uint32(first - 1), mask, 1)
