"""Objects that were found on a slide, drawn into compressed chunks until they are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK
from ..io.chunks import Ids, chunks_in, pack, unpack
from .candidate import Candidate, clipped
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
            stamp = _Stamp(len(self.scores), *clipped(*candidate.level0_mask(), self._shape))
            for place in chunks_in(*stamp.box):
                touched[place].append(stamp)
        for place, stamps in touched.items():
            old = unpack(self._blobs.get(place))
            chunk = np.zeros((CHUNK, CHUNK), np.uint32) if old is None else old.copy()
            for stamp in stamps:
                stamp.onto(chunk, place)
            blob = pack(chunk)
            if blob is not None:
                self._blobs[place] = blob


class _Stamp(NamedTuple):
    """The pixels of one object, level-0 pixels."""

    number: int
    y: int
    x: int
    mask: NDArray[np.bool_]

    @property
    def box(self) -> tuple[int, int, int, int]:
        height, width = self.mask.shape
        return self.y, self.x, self.y + height, self.x + width

    def onto(self, chunk: Ids, place: tuple[int, int]) -> None:
        """Draw it into the pixels of a chunk that are free."""
        y0, x0, y1, x1 = self.box
        top, left = place[0] * CHUNK, place[1] * CHUNK
        a, b, c, d = max(y0, top), max(x0, left), min(y1, top + CHUNK), min(x1, left + CHUNK)
        window = chunk[a - top : c - top, b - left : d - left]
        window[self.mask[a - y0 : c - y0, b - x0 : d - x0] & (window == 0)] = self.number
