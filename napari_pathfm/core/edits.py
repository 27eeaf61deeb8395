"""Reversible changes of an annotation layer.

An edit is the unit of undo: what a stroke, a committed click, an import or a bulk change did to
chunks of the mask and to rows of the object table. It holds both sides of every change, so that
undoing is the same act as doing, the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .objects import ObjectChange, ObjectRow, RowChanges

__all__ = ["CHUNK", "AnnotationClass", "ChunkChange", "Edit", "ObjectChange", "ObjectRow"]

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
    objects : sequence of ObjectChange
        At most one an object; many are kept as arrays (:class:`~.objects.RowChanges`).
    """

    layer: str
    text: str
    chunks: tuple[ChunkChange, ...] = ()
    objects: Sequence[ObjectChange] = ()

    @property
    def rows(self) -> RowChanges:
        """The changes of objects as arrays."""
        return RowChanges.of(self.objects)

    def inverse(self) -> Edit:
        """Return the edit that takes this one back."""
        return Edit(
            self.layer,
            self.text,
            tuple(change.inverse() for change in self.chunks),
            self.rows.inverse(),
        )

    def __bool__(self) -> bool:
        return bool(self.chunks) or len(self.objects) > 0
