"""Segment everything of a size in a region: a lattice of points, crop by crop, one edit at the end.

After the automatic masks of Segment Anything (Kirillov et al., ICCV 2023,
https://github.com/facebookresearch/segment-anything), but without seams: each point is answered by
a crop in which the largest object that holds it lies whole (:mod:`.crop_grid`). What is found is
held drawn and compressed, and changes the layer only when all of it is there.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..core.inference import InferenceQueue, Priority, answered
from ..core.inference import queue as device_queue
from ..core.jobs import Job, Progress
from ..core.objects import ObjectArray
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..core.tiles import area_fraction
from ..io.masks import AnnotationLayer
from ..models.base import Segmenter
from .crop import Box, Crop
from .crop_cache import Seen
from .crop_grid import GLASS, LARGEST, Cell, cell_rows, counted, lattice, on_slide
from .distinct import Distinct
from .found_objects import FoundObjects
from .keep_objects import keep_found
from .proposals import Pace, Wanted, propose
from .segment import check_answers
from .taken import Taken
from .tissue import TissueMask

SPACING = 0.4
"""Distance of the points, in sizes of an object."""

TEXT = "looking for objects"


def find_everything(
    slide: Slide,
    segmenter: Segmenter,
    region: Box,
    wanted: Wanted,
    layer: AnnotationLayer | None = None,
    tissue: TissueMask | None = None,
    queue: InferenceQueue | None = None,
) -> Job[FoundObjects]:
    """Find all objects of about one size in a region; nothing is changed.

    Points on glass, and those on an object that is there already, are not asked.

    Parameters
    ----------
    slide : Slide
    segmenter : Segmenter
        Must answer points.
    region : Box
        ``(y0, x0, y1, x1)``, level-0 pixels; objects that reach out of it are found whole.
    wanted : Wanted
        Their size, and how sure the segmenter must be.
    layer : AnnotationLayer, optional
        What lies mostly on its objects is not found once more.
    tissue : TissueMask, optional
        Crops without tissue are not even read.
    queue : InferenceQueue, optional
        Default: the one of the segmenter's device.

    Raises
    ------
    ValueError
        The segmenter does not answer points, the region is empty, or the size is impossible.
    """
    check_answers(segmenter, Prompts(np.zeros((1, 2)), np.array([True])))
    rows = cell_rows(on_slide(region, slide), wanted.size, segmenter.input_px)
    search = _Search(slide, segmenter, wanted, layer, queue or device_queue(segmenter.device))
    total, done = counted(rows), 0
    for row in rows:
        for cell in row:
            progress = Progress(done, total, TEXT, "crops")
            yield progress
            if tissue is None or _has_tissue(tissue, cell):
                yield from search.look(cell, progress)
            done += 1
        search.draw(above=row[0].box[2] - LARGEST * wanted.size)
    search.draw()
    return search.found


class _Search:
    """What is known while a region is searched, row by row."""

    def __init__(
        self,
        slide: Slide,
        segmenter: Segmenter,
        wanted: Wanted,
        layer: AnnotationLayer | None,
        queue: InferenceQueue,
    ) -> None:
        self.found = FoundObjects(slide.levels[0].shape, segmenter.name)
        self._slide, self._segmenter, self._wanted = slide, segmenter, wanted
        self._taken, self._queue, self._pace = Taken(layer), queue, Pace(queue)
        self._distinct: Distinct | None = None

    def look(self, cell: Cell, progress: Progress) -> Job[None]:
        """Ask about the points of a cell that nothing is known of yet."""
        crop = cell.read(self._slide, self._segmenter.input_px)
        distinct = self._distinct = self._distinct or Distinct(self._wanted.size, crop.downsample)
        seen: Seen | None = None
        spacing = SPACING * self._wanted.size
        tissue = tissue_near(crop, spacing)
        for points in lattice(cell.box, spacing):
            points = points[tissue[tuple(crop.pixels(points).T)]]
            points = points[~distinct.covers(points)]
            points = points[~self._taken.holds(points)]
            if not len(points):
                continue
            if seen is None:
                encode = partial(self._segmenter.encode, crop.rgb)
                embedding = yield from answered(self._queue, encode, Priority.REST, progress)
                seen = Seen(crop, embedding)
            candidates = yield from propose(
                self._segmenter, seen, points, self._wanted, self._queue, self._pace, progress
            )
            for candidate in candidates:
                if not self._taken.covers(candidate):
                    distinct.add(candidate)

    def draw(self, above: float = np.inf) -> None:
        """Draw what no later crop can change any more."""
        if self._distinct is not None:
            self.found.draw(self._distinct.take(above))


def tissue_near(crop: Crop, near: float) -> NDArray[np.bool_]:
    """Where a crop has tissue within half of `near`, level-0 pixels: ``(h, h)`` bool."""
    from scipy.ndimage import maximum_filter

    stained = crop.rgb.min(2) < GLASS
    found: NDArray[np.bool_] = maximum_filter(stained, max(1, round(near / crop.downsample)))
    return found


def _has_tissue(tissue: TissueMask, cell: Cell) -> bool:
    y0, x0, y1, x1 = cell.box
    corner = np.array([[y0, x0]]).astype(np.int64)
    side = max(y1 - y0, x1 - x0)
    return bool(area_fraction(tissue.mask, corner, side, tissue.shape)[0] > 0)


def keep_everything(
    layer: AnnotationLayer,
    found: FoundObjects,
    class_id: int = 0,
    author: str = "",
    text: str = "",
) -> Job[int]:
    """Make what was found objects of a layer, by one edit; closing the job changes nothing.

    Pixels of objects that are there stay theirs.

    Parameters
    ----------
    layer : AnnotationLayer
        Of the slide that was searched.
    found : FoundObjects
    class_id : int
        0 for no class yet.
    author : str
    text : str
        For the history.

    Returns
    -------
    int
        New objects.

    Raises
    ------
    ProjectError
        It cannot be written: the layer is as before.
    """
    if not len(found):
        return 0
    numbers = layer.new_ids(len(found))
    rows = ObjectArray.new(
        np.arange(numbers.start, numbers.stop),
        class_id=class_id,
        how="predict",
        model=found.model,
        author=author,
        score=np.array(found.scores),
    )
    text = text or f"segment everything ({len(found):,} objects)"
    return (yield from keep_found(layer, found, rows, text))
