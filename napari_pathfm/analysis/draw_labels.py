"""Label images into chunks: each value an object, or each value a class.

The image is gone through twice, tile by tile: first to learn which objects there are, then to draw
them. So nothing is begun before all of it has been read once.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK
from ..core.jobs import Job, Progress
from ..core.slide import Level
from ..io.interop.label_image import LabelImage, Values, open_labels
from ..io.interop.label_scale import LabelScale, fit
from .drawing import DrawnChunk, DrawnObjects
from .label_numbers import ClassRegions, ObjectValues

Meaning = Literal["objects", "classes"]
"""What the values of an image are."""

TILE = 1024
"""Pixels of the image that are read at once, along each side."""

KEPT_TILES = 16

Place = tuple[int, int]


class Numbering(Protocol):
    """Makes numbers of objects, 1, 2, ..., out of the values of an image."""

    def take(self, place: Place, y: int, x: int, values: Values) -> bool:
        """Learn a tile, row by row; return whether there is anything in it."""

    def finish(self, image: LabelImage, downsample: float) -> DrawnObjects:
        """Return the objects."""

    def number(self, place: Place, values: Values) -> NDArray[np.uint32]:
        """Turn the values of a tile into numbers."""


class LabelDrawing:
    """A label image over a slide. Use :func:`read_labels`.

    Parameters
    ----------
    image : LabelImage
    scale : LabelScale
    shape : tuple of int
        ``(height, width)`` of the slide.
    numbering : Numbering
    """

    def __init__(
        self, image: LabelImage, scale: LabelScale, shape: tuple[int, int], numbering: Numbering
    ) -> None:
        self._image, self._scale, self._shape = image, scale, shape
        self._numbering = numbering
        self._tile = functools.lru_cache(KEPT_TILES)(self._numbers)
        self._rows, self._cols = (self._below_chunks(axis) for axis in (0, 1))
        rows, cols = (-(-side // TILE) for side in scale.shape)
        self._occupied = np.zeros((rows, cols), bool)
        self.objects: DrawnObjects
        self.total = 0

    def learn(self) -> Job[None]:
        """Go through the image once."""
        places = list(np.ndindex(*self._occupied.shape))
        text = f"Reading {self._image.name}"
        for done, (row, col) in enumerate(places):
            yield Progress(done, len(places), text, "tiles")
            values = self._read(row, col)
            self._occupied[row, col] = self._numbering.take(
                (row, col), row * TILE, col * TILE, values
            )
        self.objects = self._numbering.finish(self._image, self._scale.downsample)
        self._places = self._chunk_places()
        self.total = len(self._places)

    def chunks(self) -> Iterator[DrawnChunk]:
        """See :meth:`Drawing.chunks`; tile by tile."""
        for row, col in self._places:
            yield DrawnChunk(row, col, self._draw(row, col))

    def close(self) -> None:
        """See :meth:`Drawing.close`."""
        self._tile.cache_clear()  # it knows this object: only garbage collection would end it
        self._image.close()

    def _chunk_places(self) -> list[Place]:
        """Chunks with something in the tiles below them, in the order of these tiles."""
        found = []
        for row, ys in enumerate(self._rows):
            for col, xs in enumerate(self._cols):
                rows, cols = self._tiles(ys), self._tiles(xs)
                if self._occupied[rows, cols].any():
                    found.append((rows.start, cols.start, row, col))
        return [(row, col) for _, _, row, col in sorted(found)]

    def _below_chunks(self, axis: int) -> list[NDArray[np.int64]]:
        """Pixels of the image below those of each row (0) or column (1) of chunks."""
        side = self._shape[axis]
        starts = range(0, side, CHUNK)
        return [self._scale.pixels(at, min(at + CHUNK, side), axis) for at in starts]

    @staticmethod
    def _tiles(pixels: NDArray[np.int64]) -> slice:
        return slice(int(pixels[0]) // TILE, int(pixels[-1]) // TILE + 1)

    def _draw(self, row: int, col: int) -> NDArray[np.uint32]:
        ys, xs = self._rows[row], self._cols[col]
        y, x = int(ys[0]), int(xs[0])
        # Beyond the image's last pixel there is nothing.
        window = np.zeros((int(ys[-1]) - y + 1, int(xs[-1]) - x + 1), np.uint32)
        for tile_row in range(*self._tiles(ys).indices(self._occupied.shape[0])):
            for tile_col in range(*self._tiles(xs).indices(self._occupied.shape[1])):
                if self._occupied[tile_row, tile_col]:
                    _lay(
                        window,
                        self._tile(tile_row, tile_col),
                        tile_row * TILE - y,
                        tile_col * TILE - x,
                    )
        numbers = np.zeros((CHUNK, CHUNK), np.uint32)
        same = window.shape == (len(ys), len(xs))  # as large as the slide
        numbers[: len(ys), : len(xs)] = window if same else window[ys - y][:, xs - x]
        return numbers

    def _numbers(self, row: int, col: int) -> NDArray[np.uint32]:
        return self._numbering.number((row, col), self._read(row, col))

    def _read(self, row: int, col: int) -> Values:
        height, width = self._scale.shape
        y, x = row * TILE, col * TILE
        return self._image.read(
            self._scale.level, y, x, min(TILE, height - y), min(TILE, width - x)
        )


def read_labels(path: Path, levels: Sequence[Level], meaning: Meaning) -> Job[LabelDrawing]:
    """Open a label image that covers a slide, and learn which objects are in it.

    Parameters
    ----------
    path : Path
    levels : sequence of Level
        Of the slide.
    meaning : str
        "objects": each value is an object. "classes": each value is a class, and what hangs
        together (also by corners) is an object.

    Raises
    ------
    ValueError
        It cannot be read, is not of this slide, or has more than 254 classes.
    """
    image = open_labels(path)
    try:
        scale = fit(image.shapes, levels)
        numbering = ObjectValues() if meaning == "objects" else ClassRegions(scale.shape[1])
        drawing = LabelDrawing(image, scale, levels[0].shape, numbering)
        yield from drawing.learn()
    except BaseException:
        image.close()
        raise
    if scale.downsample != 1:
        drawing.objects.notes.append(
            f"the labels are 1/{scale.downsample:g} of the slide's size and were enlarged"
        )
    return drawing


def _lay(window: NDArray[np.uint32], tile: NDArray[np.uint32], y: int, x: int) -> None:
    """Copy the part of a tile, whose corner is at ``(y, x)`` of the window, that lies in it."""
    a, b = max(y, 0), max(x, 0)
    c, d = min(y + tile.shape[0], window.shape[0]), min(x + tile.shape[1], window.shape[1])
    if a < c and b < d:
        window[a:c, b:d] = tile[a - y : c - y, b - x : d - x]
