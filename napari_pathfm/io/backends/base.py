"""What a slide format has to offer, and what all of them need."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.slide import RGB, Level, SlideError

LARGEST_MPP = 50.0
"""Micrometres per pixel above which a resolution tag is a printer's default, not a scanner's."""

FILE_ERRORS = (
    ValueError,  # tifffile.TiffFileError is one
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ArithmeticError,
    OSError,
    RuntimeError,  # the errors of every imagecodecs codec, NotImplementedError
    struct.error,
    SyntaxError,  # Pillow's errors, and those of XML
)
"""What libraries raise when a file is not what they expected; backends make a SlideError of it."""


LARGEST_SIDE = 2**20
"""Pixels: a whole glass of 76 mm at 0.1 um is 760,000 long. Whatever claims more is damaged."""

LARGEST_ASSOCIATED = 200_000_000
"""Values of a label, macro or thumbnail, which are decoded as a whole."""


class BrokenSlideError(SlideError):
    """Its format is known, but part of it is missing or damaged: no other backend may try it."""


class Backend(Protocol):
    """One way of reading one file. Everything but `close` may be called from any thread."""

    @property
    def name(self) -> str:
        """Short name, part of the key under which decoded segments are cached."""

    @property
    def content(self) -> Path:
        """The file whose bytes tell this slide from others, where it has several."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest to the coarsest."""

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel, if the file says it believably."""

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself."""

    @property
    def icc_profile(self) -> bytes | None:
        """The scanner's colour profile, if the file has one; not checked."""

    @property
    def associated_images(self) -> tuple[str, ...]:
        """Names of label, macro and thumbnail."""

    def associated(self, name: str) -> RGB:
        """Return an associated image, ``(h, w, 3)`` uint8; ``KeyError`` if there is none."""

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """Decode one segment.

        Parameters
        ----------
        level, row, col : int
        out : ndarray, optional
            ``(*tile_shape, 3)`` uint8: memory to decode into, where the codec can.

        Returns
        -------
        ndarray
            ``(*tile_shape, 3)`` uint8; white where it reaches over the level's edge.

        Raises
        ------
        SlideError
            It cannot be read.
        """

    def close(self) -> None:
        """Let go of the file."""


def make_levels(
    shapes: Sequence[tuple[int, int]], tile_shapes: Sequence[tuple[int, int]]
) -> tuple[Level, ...]:
    """Describe a pyramid by the ``(height, width)`` of its levels and of their segments.

    A level's downsample is the mean of the ratios of heights and of widths, as OpenSlide has it.

    Raises
    ------
    SlideError
        No slide is of such a size.
    """
    for shape in (*shapes, *tile_shapes):
        if not all(0 < side <= LARGEST_SIDE for side in shape):
            raise SlideError(f"it claims to be {shape[0]} x {shape[1]} pixels large")
    height, width = shapes[0]
    return tuple(
        Level((h, w), (height / h + width / w) / 2, tile)
        for (h, w), tile in zip(shapes, tile_shapes, strict=True)
    )


def believable_mpp(*values: object) -> float | None:
    """Mean of what a file says of its resolution along y and x, or ``None`` if it is nonsense."""
    try:
        numbers = [float(str(value)) for value in values]
    except ValueError:
        return None
    if not numbers or not all(0.01 < number <= LARGEST_MPP for number in numbers):
        return None
    return sum(numbers) / len(numbers)


def check_associated(name: str, *shape: int) -> None:
    """Make sure that a label, macro or thumbnail can be held in memory.

    Raises
    ------
    SlideError
        It claims to be larger.
    """
    if not 0 < math.prod(shape) <= LARGEST_ASSOCIATED:
        claim = " x ".join(map(str, shape))
        raise SlideError(f"the {name} image claims to be {claim} values large")


def white_outside(segment: RGB, level: Level, row: int, col: int) -> RGB:
    """Paint what reaches over the level's edge white (encoders repeat the last pixels there)."""
    (height, width), (tile_height, tile_width) = level.shape, level.tile_shape
    rows, cols = height - row * tile_height, width - col * tile_width
    if rows < tile_height or cols < tile_width:
        segment = segment if segment.flags.writeable else segment.copy()
        segment[max(rows, 0) :] = 255
        segment[:, max(cols, 0) :] = 255
    return segment


def white(level: Level) -> RGB:
    """Return a white segment, ``(*tile_shape, 3)`` uint8."""
    return np.full((*level.tile_shape, 3), 255, np.uint8)


def on_white(rgba: NDArray[np.uint8]) -> RGB:
    """Return ``(h, w, 4)`` uint8 with alpha, not premultiplied, as it looks on white paper."""
    rgb = np.ascontiguousarray(rgba[..., :3])
    alpha = rgba[..., 3]
    if alpha.min() < 255:
        share = alpha[..., None].astype(np.uint16)
        rgb[:] = (rgb * share + 255 * (255 - share) + 127) // 255
    return rgb
