"""Objects on their way into an annotation layer, drawn chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

ClassFacts = tuple[str, str]
"""Name and colour (``"#rrggbb"``, empty for none) of a class."""


class DrawnChunk(NamedTuple):
    """What objects draw into one chunk of the layer.

    Attributes
    ----------
    row, col : int
        Number of the chunk.
    numbers : ndarray
        ``(512, 512)`` uint32: 1 for the first object, ...; 0 where nothing is drawn.
    """

    row: int
    col: int
    numbers: NDArray[np.uint32]


@dataclass(eq=False)
class DrawnObjects:
    """What is known of objects before they are drawn.

    Attributes
    ----------
    areas : ndarray
        ``(N,)`` int64 level-0 pixels.
    classes : ndarray
        ``(N,)`` int64: number in `class_names`; -1 for none.
    class_names : list of ClassFacts
    left_out : Counter
        What is not drawn, by the reason.
    notes : list of str
        What else the user should know.
    overlapping : ndarray
        ``(N,)`` bool: objects that have met another one so far.
    """

    areas: NDArray[np.int64]
    classes: NDArray[np.int64]
    class_names: list[ClassFacts]
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    overlapping: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.overlapping = np.zeros(len(self.areas), bool)

    def __len__(self) -> int:
        return len(self.areas)


class Drawing(Protocol):
    """Objects, and how they are drawn."""

    @property
    def objects(self) -> DrawnObjects:
        """What is drawn."""

    @property
    def total(self) -> int:
        """Chunks that may have something in them."""

    def chunks(self) -> Iterator[DrawnChunk]:
        """Draw, each chunk once."""

    def close(self) -> None:
        """Let go of files; may be called twice."""
