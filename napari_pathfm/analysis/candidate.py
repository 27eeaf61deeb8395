"""What a segmenter answered, and the edit that makes an object of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..core.edits import Edit, ObjectRow
from ..core.prompts import Prompts
from ..io.masks import AnnotationLayer
from .crop import Box

COMMIT_PX = 1 << 26
"""A mask of more pixels than this is committed from a coarser level of the annotation layer."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a segmenter answered, before it is committed.

    Attributes
    ----------
    masks : ndarray
        ``(K, h, w)`` bool, pixels of the crop, best first; K is 3 for a segmenter's answer.
    choice : int
        Which of them is meant.
    scores : ndarray
        ``(K,)`` float32, the model's own estimate of the IoU.
    y, x : float
        Upper left corner of the crop, level-0 pixels.
    downsample : float
        Level-0 pixels per pixel of `masks`.
    model : str
        Name of the segmenter.
    prompts : Prompts
        In level-0 pixels.
    """

    masks: NDArray[np.bool_]
    choice: int
    scores: NDArray[np.float32]
    y: float
    x: float
    downsample: float
    model: str
    prompts: Prompts

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The chosen mask, ``(h, w)`` bool, pixels of the crop."""
        chosen: NDArray[np.bool_] = self.masks[self.choice]
        return chosen

    @property
    def box(self) -> Box | None:
        """``(y0, x0, y1, x1)`` around the chosen mask, level-0 pixels; ``None`` if it is empty."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return None
        scale = self.downsample
        top, left = self.y + rows[0] * scale, self.x + cols[0] * scale
        return top, left, self.y + (rows[-1] + 1) * scale, self.x + (cols[-1] + 1) * scale

    @property
    def box_area(self) -> float:
        """Level-0 pixels of the box round the chosen mask."""
        if self.box is None:
            return 0.0
        y0, x0, y1, x1 = self.box
        return (y1 - y0) * (x1 - x0)

    @property
    def size(self) -> float | None:
        """Longer side of that box; ``None`` if the mask is empty."""
        if self.box is None:
            return None
        y0, x0, y1, x1 = self.box
        return max(y1 - y0, x1 - x0)

    def chosen(self, choice: int) -> Candidate:
        """Return the same answer with another of its masks chosen."""
        return replace(self, choice=choice)

    def cut_out(self) -> Candidate:
        """Keep the chosen mask only, and of it the box around it: there may be thousands.

        Raises
        ------
        ValueError
            The mask is empty.
        """
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            raise ValueError("the mask is empty: there is nothing to cut out")
        inner = self.mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        return replace(
            self,
            masks=inner[None].copy(),
            choice=0,
            scores=self.scores[self.choice : self.choice + 1].copy(),
            y=self.y + rows[0] * self.downsample,
            x=self.x + cols[0] * self.downsample,
        )

    @property
    def score(self) -> float:
        """The model's estimate for the chosen mask, 0 to 1."""
        return float(np.clip(self.scores[self.choice], 0, 1))

    def mask_at(self, factor: int) -> tuple[int, int, NDArray[np.bool_]]:
        """Draw the mask on the slide's pixels, `factor` x `factor` taken as one.

        Parameters
        ----------
        factor : int
            Level-0 pixels per pixel of the answer.

        Returns
        -------
        y, x : int
            Upper left corner, in pixels of the answer.
        mask : ndarray
            ``(h, w)`` bool: the box around the mask, each pixel by the crop's pixel in which its
            centre lies; ``(0, 0)`` for an empty mask.
        """
        y, x, rows, cols = self.pixels_at(factor)
        return y, x, self.mask[np.ix_(rows, cols)]

    def pixels_at(self, factor: int) -> tuple[int, int, NDArray[np.int64], NDArray[np.int64]]:
        """Return ``(y, x, rows, cols)``: of which crop pixels :meth:`mask_at` is made."""
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return 0, 0, np.zeros(0, np.int64), np.zeros(0, np.int64)
        y, row = _centres(self.y, self.downsample, factor, rows[0], rows[-1])
        x, col = _centres(self.x, self.downsample, factor, cols[0], cols[-1])
        return y, x, row, col

    def level0_mask(self) -> tuple[int, int, NDArray[np.bool_]]:
        """Draw the mask on level 0: ``(y, x, (h, w) bool)``, see :meth:`mask_at`."""
        return self.mask_at(1)


def _centres(
    start: float, downsample: float, factor: int, first: int, last: int
) -> tuple[int, NDArray[np.int64]]:
    """Pixels whose centres lie in crop pixels `first` to `last`, and the crop pixel of each."""
    low = math.ceil((start + first * downsample) / factor - 0.5)
    high = math.ceil((start + (last + 1) * downsample) / factor - 0.5)
    centres = (np.arange(low, max(high, low)) + 0.5) * factor
    pixel = np.floor((centres - start) / downsample).astype(np.int64)
    return low, pixel.clip(first, last)


def commit_edit(
    layer: AnnotationLayer,
    candidate: Candidate,
    class_id: int,
    author: str = "",
    overwrite: bool = True,
) -> Edit:
    """Build the edit that makes a candidate an object of the layer.

    Parameters
    ----------
    layer : AnnotationLayer
    candidate : Candidate
    class_id : int
        0 for no class yet.
    author : str
    overwrite : bool
        Whether it takes pixels from objects that are there already.

    Returns
    -------
    Edit
        To be committed by the caller.

    Raises
    ------
    ValueError
        The mask is empty, lies outside the slide or, with ``overwrite=False``, wholly on other
        objects.
    """
    level = _commit_level(candidate, len(layer.levels))
    y, x, mask = clipped(*candidate.mask_at(2**level), layer.levels[level])
    if not overwrite and mask.any():
        mask = mask & (layer.read(level, y, x, *mask.shape) == 0)
    if not mask.any():
        raise ValueError(
            "The mask is empty, so there is nothing to commit: add a point on the object or draw "
            "the box again."
        )
    number = layer.new_id()
    row = commit_row(candidate, number, class_id, author)
    ids = np.full(mask.shape, number, np.uint32)
    text = f"commit object {number}"
    return layer.paint_edit(y, x, ids, mask, text, rows={number: row}, level=level)


def commit_row(candidate: Candidate, number: int, class_id: int, author: str) -> ObjectRow:
    """Describe what a candidate becomes: with what it can be made again."""
    return ObjectRow(
        id=number,
        class_id=class_id,
        how="prompt",
        model=candidate.model,
        prompts=json.dumps(candidate.prompts.as_dict()),
        score=candidate.score,
        author=author,
    )


def _commit_level(candidate: Candidate, levels: int) -> int:
    """Finest level at which the mask is small enough to hold."""
    area = candidate.box_area
    level = 0
    while area / 4**level > COMMIT_PX and level < levels - 1:
        level += 1
    return level


def clipped(
    y: int, x: int, mask: NDArray[np.bool_], shape: tuple[int, int]
) -> tuple[int, int, NDArray[np.bool_]]:
    """Cut off what of a mask, ``(h, w)`` bool at ``(y, x)``, lies outside ``shape``."""
    top, left = max(0, -y), max(0, -x)
    bottom, right = max(top, shape[0] - y), max(left, shape[1] - x)
    return y + top, x + left, mask[top:bottom, left:right]
