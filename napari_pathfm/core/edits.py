"""Reversible changes of an annotation layer.

An edit is the unit of undo: what a stroke, a committed click, an import or a bulk change did to
chunks of the mask and to rows of the object table. It holds both sides of every change, so that
undoing is the same act as doing, the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 512
"""Side of a chunk of an annotation layer, in pixels."""


@dataclass(frozen=True)
class AnnotationClass:
    """What an object or a tile is.

    Attributes
    ----------
    id : int
        1 to 254; 0 is "no class yet", 255 the ignore index of exports.
    name : str
    color : str
        ``"#rrggbb"``.
    """

    id: int
    name: str
    color: str

    def __post_init__(self) -> None:
        if not 1 <= self.id <= 254:
            raise ValueError(f"a class id lies between 1 and 254, not {self.id}")


@dataclass(frozen=True)
class ObjectRow:
    """One row of the object table.

    Attributes
    ----------
    id : int
        Value of its pixels in the mask, 1 to 2**32 - 1.
    class_id : int
        0 for no class yet.
    how : str
        "prompt", "brush", "import", "predict": what made it.
    model : str
        Name of the segmenter or encoder, empty for hand-made.
    prompts : str
        JSON of the prompts, empty for none.
    score : float
        The model's own estimate of its quality, 0 to 1; -1 if there is none.
    corrected : bool
        Whether a hand has changed it after a model had made it.
    author : str
    area : int
        Level-0 pixels.
    box : tuple of int
        ``(y0, x0, y1, x1)`` that holds it, level-0 pixels; may be larger than needed after an
        eraser, never smaller.
    """

    id: int
    class_id: int = 0
    how: str = "brush"
    model: str = ""
    prompts: str = ""
    score: float = -1.0
    corrected: bool = False
    author: str = ""
    area: int = 0
    box: tuple[int, int, int, int] = (0, 0, 0, 0)

    def with_(self, **changes: Any) -> ObjectRow:
        """Return a copy with other values."""
        return replace(self, **changes)


@dataclass(frozen=True, eq=False)
class ChunkChange:
    """A chunk of the level-0 mask before and after.

    Attributes
    ----------
    row, col : int
        Number of the chunk.
    before, after : ndarray or None
        ``(512, 512)`` uint32 object ids; ``None`` for a chunk with nothing in it. Chunks at the
        far edges are padded with 0 to full size.
    """

    row: int
    col: int
    before: NDArray[np.uint32] | None
    after: NDArray[np.uint32] | None

    def inverse(self) -> ChunkChange:
        """Swap the sides."""
        return ChunkChange(self.row, self.col, self.after, self.before)


@dataclass(frozen=True)
class ObjectChange:
    """A row of the object table before and after; ``None`` where it does not exist."""

    before: ObjectRow | None
    after: ObjectRow | None

    @property
    def id(self) -> int:
        """Of the object.

        Raises
        ------
        ValueError
            The change is empty on both sides.
        """
        row = self.after or self.before
        if row is None:
            raise ValueError("a change of an object needs a row before or after")
        return row.id

    def inverse(self) -> ObjectChange:
        """Swap the sides."""
        return ObjectChange(self.after, self.before)


@dataclass(frozen=True, eq=False)
class Edit:
    """One reversible change of one annotation layer.

    Attributes
    ----------
    layer : str
        Name of the annotation layer.
    text : str
        What was done, for the history ("brush", "commit gland 12").
    chunks : tuple of ChunkChange
        At most one a chunk.
    objects : tuple of ObjectChange
        At most one an object.
    """

    layer: str
    text: str
    chunks: tuple[ChunkChange, ...] = ()
    objects: tuple[ObjectChange, ...] = ()

    def inverse(self) -> Edit:
        """Return the edit that takes this one back."""
        return Edit(
            self.layer,
            self.text,
            tuple(change.inverse() for change in self.chunks),
            tuple(change.inverse() for change in self.objects),
        )

    def __bool__(self) -> bool:
        return bool(self.chunks or self.objects)
