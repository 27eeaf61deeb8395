"""Objects that were found on a slide, drawn into compressed chunks until they are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK
from ..io.chunks import Ids, chunks_in, pack, unpack
from .candidate import Candidate
from .drawing import DrawnChunk


class FoundObjects:
    """Objects in the order in which they were drawn; where two meet, the earlier one is above.

    A slide with a million nuclei takes some hundred megabytes.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` of level 0.
    model : str
        Name of the segmenter.

    Attributes
    ----------
    scores : list of float
        Of each object, 0 to 1.
    """

    def __init__(self, shape: tuple[int, int], model: str) -> None:
        self.model = model
        self.scores: list[float] = []
        self._shape = shape
        self._blobs: dict[tuple[int, int], bytes] = {}

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def chunks(self) -> int:
        """Number of chunks with something in them."""
        return len(self._blobs)

    def __iter__(self) -> Iterator[DrawnChunk]:
        for (row, col), blob in sorted(self._blobs.items()):
            numbers = unpack(blob)
            if numbers is not None:
                yield DrawnChunk(row, col, numbers)

    def draw(self, candidates: Sequence[Candidate]) -> None:
        """Draw candidates, the best of them first."""
        touched: defaultdict[tuple[int, int], list[_Stamp]] = defaultdict(list)
        for candidate in candidates:
            self.scores.append(candidate.score)
            stamp = _Stamp(len(self.scores), candidate.mask, *candidate.pixels_at(1))
            for place in chunks_in(*stamp.box(self._shape)):
                touched[place].append(stamp)
        for place, stamps in touched.items():
            old = unpack(self._blobs.get(place))
            chunk = np.zeros((CHUNK, CHUNK), np.uint32) if old is None else old.copy()
            for stamp in stamps:
                stamp.onto(chunk, place, self._shape)
            blob = pack(chunk)
            if blob is not None:
                self._blobs[place] = blob


class _Stamp(NamedTuple):
    """The pixels of one object, drawn chunk by chunk: on level 0 it may be gigabytes."""

    number: int
    mask: NDArray[np.bool_]
    y: int
    x: int
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]

    def box(self, shape: tuple[int, int]) -> tuple[int, int, int, int]:
        """What of it lies on a slide of this shape, level-0 pixels; all 0 for nothing."""
        y0, x0 = max(0, self.y), max(0, self.x)
        y1 = min(self.y + len(self.rows), shape[0])
        x1 = min(self.x + len(self.cols), shape[1])
        return (y0, x0, y1, x1) if y0 < y1 and x0 < x1 else (0, 0, 0, 0)

    def onto(self, chunk: Ids, place: tuple[int, int], shape: tuple[int, int]) -> None:
        """Draw it into the pixels of a chunk that are free."""
        y0, x0, y1, x1 = self.box(shape)
        top, left = place[0] * CHUNK, place[1] * CHUNK
        a, b, c, d = max(y0, top), max(x0, left), min(y1, top + CHUNK), min(x1, left + CHUNK)
        window = chunk[a - top : c - top, b - left : d - left]
        rows, cols = self.rows[a - self.y : c - self.y], self.cols[b - self.x : d - self.x]
        window[self.mask[np.ix_(rows, cols)] & (window == 0)] = self.number
