"""A drawn slide: colours, classes and nuclei of any region."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .anatomy import Anatomy, Box
from .noise import Array
from .nuclei import NucleusPlan, stamp
from .paint import Paint

CLASSES: dict[int, str] = {
    0: "background",
    1: "stroma",
    2: "epithelium",
    3: "lumen",
    4: "lymphocytes",
    5: "fat",
    6: "pen",
}
"""What a value of :meth:`Scene.classes` means.

Background is bare glass; epithelium is the wall of a gland around its lumen; lymphocytes are their
clusters (a lone one lies in stroma); fat is the inside of adipocytes, their membranes count as
stroma; pen is ink on the glass, whatever is beneath.
"""

COLORS: dict[int, str] = {
    0: "#f0f0f0",
    1: "#e8a0bf",
    2: "#7b3fa0",
    3: "#ffffff",
    4: "#27408b",
    5: "#f4d35e",
    6: "#2a9d8f",
}
"""A colour for each class, for overlays."""

PEN = 6
BLOCK = 512
"""Regions are cut from blocks of this side, always drawn whole: pieces cannot differ."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """One block: its colours and its truth.

    Attributes
    ----------
    rgb : ndarray
        ``(512, 512, 3)`` uint8.
    classes : ndarray
        ``(512, 512)`` uint8, see :data:`CLASSES`.
    nuclei : ndarray
        ``(512, 512)`` uint32, 0 outside nuclei.
    """

    rgb: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    nuclei: NDArray[np.uint32]


class Scene:
    """A synthetic H&E slide with the exact truth of every pixel, drawn where it is asked for.

    Glands, stroma, lymphocyte clusters, fat, glass and a pen mark, at 0.5 um a pixel. The same
    shape and seed give the same slide. May be used from several threads.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` of level 0, at least 512 each.
    seed : int
        Any number from 0; even ones have a blue pen mark, odd ones a green one.

    Raises
    ------
    ValueError
        The shape is too small, or so large that 32 bits cannot number its nuclei.
    """

    def __init__(self, shape: tuple[int, int], seed: int = 0) -> None:
        if min(shape) < BLOCK:
            raise ValueError(f"A synthetic slide measures at least {BLOCK} a side, not {shape}.")
        self.shape, self.seed = (int(shape[0]), int(shape[1])), seed
        # the numbers that a seed is mixed from are near each other: keep seeds apart
        self._anatomy = Anatomy(self.shape, seed * 1000)
        self._plan = NucleusPlan(self._anatomy)
        self._paint = Paint(self._anatomy, seed)
        self._kept: OrderedDict[tuple[int, int], Drawing] = OrderedDict()
        self._lock = threading.Lock()

    def rgb(self, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Colours ``(height, width, 3)`` uint8 of a level-0 region, white outside the slide."""
        out = np.full((height, width, 3), 255, np.uint8)
        for target, source, block in self._pieces(y, x, height, width):
            out[target] = block.rgb[source]
        return out

    def classes(self, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Classes ``(height, width)`` uint8 of a level-0 region, 0 outside the slide."""
        out = np.zeros((height, width), np.uint8)
        for target, source, block in self._pieces(y, x, height, width):
            out[target] = block.classes[source]
        return out

    def nuclei(self, y: int, x: int, height: int, width: int) -> NDArray[np.uint32]:
        """Ids ``(height, width)`` uint32 of the nuclei of a level-0 region, 0 where none.

        A nucleus has the same id in every region that shows a part of it.
        """
        out = np.zeros((height, width), np.uint32)
        for target, source, block in self._pieces(y, x, height, width):
            out[target] = block.nuclei[source]
        return out

    def _pieces(
        self, y: int, x: int, height: int, width: int
    ) -> list[tuple[tuple[slice, slice], tuple[slice, slice], Drawing]]:
        """Where in a region, from where in a block, for all blocks that a region touches."""
        top, left = max(y, 0), max(x, 0)
        bottom, right = min(y + height, self.shape[0]), min(x + width, self.shape[1])
        pieces: list[tuple[tuple[slice, slice], tuple[slice, slice], Drawing]] = []
        if bottom <= top or right <= left:
            return pieces
        for row in range(top // BLOCK, -(-bottom // BLOCK)):
            for col in range(left // BLOCK, -(-right // BLOCK)):
                y0, x0 = max(top, row * BLOCK), max(left, col * BLOCK)
                y1, x1 = min(bottom, (row + 1) * BLOCK), min(right, (col + 1) * BLOCK)
                target = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
                source = (
                    slice(y0 - row * BLOCK, y1 - row * BLOCK),
                    slice(x0 - col * BLOCK, x1 - col * BLOCK),
                )
                pieces.append((target, source, self._block(row, col)))
        return pieces

    def _block(self, row: int, col: int) -> Drawing:
        """Draw a block, or take it from the few that were drawn last (2 MiB each)."""
        with self._lock:
            if (row, col) in self._kept:
                self._kept.move_to_end((row, col))
                return self._kept[row, col]
        drawn = self._draw(row * BLOCK, col * BLOCK)
        with self._lock:
            self._kept[row, col] = drawn
            while len(self._kept) > 12:
                self._kept.popitem(last=False)
        return drawn

    def _draw(self, top: int, left: int) -> Drawing:
        box: Box = (top, left, top + BLOCK, left + BLOCK)
        y = np.arange(top, top + BLOCK, dtype=np.float32)[:, None] + np.float32(0.5)
        x = np.arange(left, left + BLOCK, dtype=np.float32)[None] + np.float32(0.5)
        classes = np.zeros((BLOCK, BLOCK), np.uint8)
        nuclei = np.zeros((BLOCK, BLOCK), np.uint32)
        stains: tuple[Array, Array] | None = None
        if self._anatomy.tissue(y[::8], x[:, ::8]).max() > -60:
            stain = np.zeros((BLOCK, BLOCK), np.float32)
            for kind in self._plan.touching(box):
                stamp(kind, top, left, nuclei, stain)
            classes, blue, pink = self._paint.tissue(y, x, box, stain)
            stains = blue, pink
        ink = self._anatomy.pen(y, x)
        inked = bool(ink.max() > -2)
        if inked:
            classes[ink > 0] = PEN
        rgb = self._paint.develop(y, x, stains, ink if inked else None)
        return Drawing(rgb, classes, nuclei)
