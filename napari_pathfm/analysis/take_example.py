"""Objects of an annotation layer become examples of what is to be segmented elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.slide import Slide
from ..io.examples import Example
from ..io.masks import AnnotationLayer
from .window import read_ids, read_window

EXAMPLE_PX = 448
"""Side of an example's image: what SegGPT sees of one."""

MARGIN = 2.0
"""Side of an example in sizes of its object: it fills about half of it."""

ENLARGE = 4.0
"""Level-0 pixels are enlarged at most so many times; small objects are shown with more around. With
2.0 a nucleus is no larger than a token, and a quarter as many of them are found."""


def take_examples(
    slide: Slide, layer: AnnotationLayer, objects: Sequence[int], name: str
) -> tuple[Example, ...]:
    """Take an example round each of some objects; what is around counts as not meant.

    Where an object has a class, the others of that class nearby are meant as well, so that what
    looks the same and is marked already does not count against it.

    Parameters
    ----------
    slide : Slide
    layer : AnnotationLayer
    objects : sequence of int
        Ids, at least one.
    name : str
        Of the example.

    Raises
    ------
    ValueError
        There is no such object.
    """
    if not objects:
        raise ValueError("Choose an object first: it is what the example shows.")
    return tuple(_example(slide, layer, number, objects, name) for number in objects)


def _example(
    slide: Slide, layer: AnnotationLayer, number: int, objects: Sequence[int], name: str
) -> Example:
    row = layer.objects.get(number)
    if row is None:
        raise ValueError(
            f"The layer {layer.name!r} has no object {number}: choose one of its table of objects."
        )
    y0, x0, y1, x1 = row.box
    side = max(MARGIN * max(y1 - y0, x1 - x0), EXAMPLE_PX / ENLARGE)
    downsample = side / EXAMPLE_PX
    place = ((y0 + y1 - side) / 2, (x0 + x1 - side) / 2, downsample, EXAMPLE_PX)
    ids = read_ids(layer, *place)
    mask = np.isin(ids, _meant(layer, ids, row.class_id, objects))
    return Example(name, slide.name, read_window(slide, *place), mask, downsample, slide.mpp)


def _meant(
    layer: AnnotationLayer, ids: NDArray[np.uint32], class_id: int, objects: Sequence[int]
) -> NDArray[np.int64]:
    """Ids of the given objects, and of those in a window that have the same class."""
    here = np.setdiff1d(ids, [0])
    rows, _ = layer.objects.find(here)
    alike = here[rows["class_id"] == class_id] if class_id else here[:0]
    return np.union1d(alike, objects).astype(np.int64)
