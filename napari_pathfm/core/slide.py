"""What a slide is, and what every reader of one promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

RGB = NDArray[np.uint8]


class SlideError(Exception):
    """A slide cannot be opened or read; the message says what to do about it."""


@dataclass(frozen=True)
class Level:
    """One resolution of a slide's pyramid.

    Attributes
    ----------
    shape : tuple of int
        ``(height, width)`` in pixels of this level.
    downsample : float
        Level-0 pixels per pixel of this level; 1.0 for level 0, rarely a whole number above it.
    tile_shape : tuple of int
        ``(height, width)`` of the segments in which this level is stored, in its own pixels.
    """

    shape: tuple[int, int]
    downsample: float
    tile_shape: tuple[int, int]

    @property
    def segments(self) -> tuple[int, int]:
        """Number of segments as ``(rows, columns)``; those at the far edges may be partial."""
        (height, width), (tile_height, tile_width) = self.shape, self.tile_shape
        return -(-height // tile_height), -(-width // tile_width)


@runtime_checkable
class Slide(Protocol):
    """One whole-slide image, brightfield RGB.

    Every method may be called from any thread.
    """

    @property
    def id(self) -> str:
        """Fingerprint of the content: the same for a file that was moved or renamed."""

    @property
    def path(self) -> Path:
        """Where the file is now."""

    @property
    def name(self) -> str:
        """File name without the suffix, for people."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest (level 0) to the coarsest."""

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel; ``None`` where neither file nor user has said it."""

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself."""

    @property
    def associated_images(self) -> tuple[str, ...]:
        """Names of label, macro and thumbnail images; :meth:`associated` reads one."""

    @property
    def damage(self) -> Mapping[tuple[int, int, int], str]:
        """What was wrong with segments ``(level, row, col)`` that could not be read so far."""

    def associated(self, name: str) -> RGB:
        """Return an associated image, ``(h, w, 3)`` uint8; ``KeyError`` if there is none."""

    def read(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        """Read a region.

        Parameters
        ----------
        level : int
            Index into :attr:`levels`.
        y, x, height, width : int
            In pixels **of that level**; may reach over the edges.

        Returns
        -------
        ndarray
            ``(height, width, 3)`` uint8, white outside the slide.

        Raises
        ------
        SlideError
            The file cannot be read there.
        """

    def close(self) -> None:
        """Let go of the file; reading afterwards raises :class:`SlideError`."""
