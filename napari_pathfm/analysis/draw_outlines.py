"""Outlines into chunks: larger objects below, smaller ones above."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK
from ..core.jobs import Job, Progress
from ..io.interop.fill import Spans, count_pixels, spans
from ..io.interop.geojson_reader import GeoJsonFile
from ..io.interop.outline_table import OutlineTable, join, spread
from .drawing import ClassFacts, DrawnChunk, DrawnObjects

OUTSIDE = "outside the slide"
EMPTY = "without the centre of any pixel inside: too small or too thin"

PIXELS_AT_ONCE = 1 << 22
"""Pixels that are drawn together, however many objects lie on one another."""


class OutlineDrawing:
    """Outlines that are all on the slide.

    Parameters
    ----------
    table : OutlineTable
    objects : DrawnObjects
        Of the table.
    shape : tuple of int
        ``(height, width)`` of the slide.
    """

    def __init__(self, table: OutlineTable, objects: DrawnObjects, shape: tuple[int, int]) -> None:
        self.objects = objects
        self._table, self._shape = table, shape
        boxes = table.boxes()
        ends = np.array([*shape, *shape])
        whole = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], 1).clip(0, ends)
        self._low = whole[:, :2].astype(np.int64) // CHUNK
        self._high = -(-whole[:, 2:].astype(np.int64) // CHUNK)
        self.total = _touched(self._low, self._high, shape)

    def chunks(self) -> Iterator[DrawnChunk]:
        """See :meth:`Drawing.chunks`; row by row."""
        below = np.argsort(-self.objects.areas, kind="stable")
        which, band = spread(self._low[below, 0], self._high[below, 0])
        for row, part in _grouped(band):
            yield from self._band(row, below[which[part]])

    def close(self) -> None:
        """See :meth:`Drawing.close`."""

    def _band(self, row: int, objects: NDArray[np.int64]) -> Iterator[DrawnChunk]:
        """Draw objects, the lowest first, into one row of chunks."""
        top, (height, width) = row * CHUNK, self._shape
        found = spans(self._table, objects, top, min(top + CHUNK, height), width)
        piece, col = spread(found.starts // CHUNK, (found.stops - 1) // CHUNK + 1)
        for number, part in _grouped(col):
            mine, left = piece[part], number * CHUNK
            inside = Spans(
                found.objects[mine],
                found.rows[mine] - top,
                (found.starts[mine] - left).clip(0),
                (found.stops[mine] - left).clip(max=CHUNK),
            )
            yield DrawnChunk(row, number, self._paint(inside, objects))

    def _paint(self, found: Spans, objects: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Draw spans of one chunk; `objects` are those that they count, the lowest first."""
        canvas = np.zeros(CHUNK * CHUNK, np.uint32)
        ground = _covering(found)
        if ground >= 0:
            canvas[:] = objects[ground] + 1
            hidden = np.unique(found.objects[found.objects < ground])
            if len(hidden):
                self.objects.overlapping[objects[[*hidden, ground]]] = True
            found = Spans(*(each[found.objects > ground] for each in found))
        if len(found.rows):
            self._paint_over(canvas, found._replace(objects=objects[found.objects]))
        return canvas.reshape(CHUNK, CHUNK)

    def _paint_over(self, canvas: NDArray[np.uint32], found: Spans) -> None:
        begin = found.rows * CHUNK
        lengths = np.cumsum(found.stops - found.starts)
        cuts = np.searchsorted(lengths, np.arange(PIXELS_AT_ONCE, lengths[-1], PIXELS_AT_ONCE))
        for start, stop in zip([0, *cuts], [*cuts, len(begin)], strict=True):
            part = slice(start, stop)
            span, pixels = spread(begin[part] + found.starts[part], begin[part] + found.stops[part])
            numbers = (found.objects[part][span] + 1).astype(np.uint32)
            below = canvas[pixels]
            canvas[pixels] = numbers  # of several for one pixel the last one stays
            above = canvas[pixels]
            self._note(below, numbers, (below > 0) & (below != numbers))
            self._note(above, numbers, above != numbers)

    def _note(
        self, one: NDArray[np.uint32], other: NDArray[np.uint32], where: NDArray[np.bool_]
    ) -> None:
        if where.any():
            self.objects.overlapping[one[where] - 1] = True
            self.objects.overlapping[other[where] - 1] = True


def read_outlines(path: Path, shape: tuple[int, int]) -> Job[OutlineDrawing]:
    """Read a GeoJSON file whose positions are level-0 pixels of a slide of ``(height, width)``.

    Raises
    ------
    ValueError
        It cannot be read.
    """
    file = GeoJsonFile(path)
    text = f"Reading {path.name}"
    yield Progress(0, file.size >> 10, text, "KiB")
    parts, left_out = [], Counter[str]()
    for table in file:
        part, why = _on_slide(table, shape)
        parts.append(part)
        left_out += why
        yield Progress(file.done >> 10, file.size >> 10, text, "KiB")
    tables, areas = [table for table, _ in parts], [area for _, area in parts]
    del parts
    return _drawing(tables, areas, file.classes, left_out + file.left_out, shape)


def draw_table(
    table: OutlineTable, classes: list[ClassFacts], shape: tuple[int, int]
) -> OutlineDrawing:
    """Make ready to draw outlines that are there already."""
    (part, areas), left_out = _on_slide(table, shape)
    return _drawing([part], [areas], classes, left_out, shape)


def _drawing(
    tables: list[OutlineTable],
    areas: list[NDArray[np.int64]],
    classes: list[ClassFacts],
    left_out: Counter[str],
    shape: tuple[int, int],
) -> OutlineDrawing:
    table = join(tables)
    pixels = np.concatenate([np.zeros(0, np.int64), *areas])
    return OutlineDrawing(table, DrawnObjects(pixels, table.classes, classes, left_out), shape)


def _on_slide(
    table: OutlineTable, shape: tuple[int, int]
) -> tuple[tuple[OutlineTable, NDArray[np.int64]], Counter[str]]:
    """Return the objects that have a pixel on the slide, how many each, and why not the others."""
    y0, x0, y1, x1 = table.boxes().T
    outside = (y1 <= 0) | (x1 <= 0) | (y0 >= shape[0]) | (x0 >= shape[1])
    pixels = count_pixels(table, *shape)
    left_out = Counter({OUTSIDE: int(outside.sum()), EMPTY: int((~outside & (pixels == 0)).sum())})
    kept = np.flatnonzero(pixels)
    part = table if len(kept) == len(table) else table.select(kept)
    return (part, pixels[kept]), +left_out


def _touched(low: NDArray[np.int64], high: NDArray[np.int64], shape: tuple[int, int]) -> int:
    """Count the chunks in boxes of chunks."""
    grid = np.zeros((shape[0] // CHUNK + 2, shape[1] // CHUNK + 2), np.int64)
    for rows, cols, step in (
        (low[:, 0], low[:, 1], 1),
        (high[:, 0], high[:, 1], 1),
        (low[:, 0], high[:, 1], -1),
        (high[:, 0], low[:, 1], -1),
    ):
        np.add.at(grid, (rows, cols), step)
    return int((grid.cumsum(0).cumsum(1) > 0).sum())


def _covering(found: Spans) -> int:
    """Return the highest object that covers the whole chunk; -1 if none does."""
    across = (found.starts == 0) & (found.stops == CHUNK)
    if np.count_nonzero(across) < CHUNK:
        return -1
    rows = np.unique(found.objects[across] * CHUNK + found.rows[across])
    whole = np.flatnonzero(np.bincount(rows // CHUNK) == CHUNK)
    return int(whole[-1]) if len(whole) else -1


def _grouped(keys: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each key and where it stands, in the order in which it is met there."""
    order = np.argsort(keys, kind="stable")
    if len(order):
        for part in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            yield int(keys[part[0]]), part
