"""Patches of the annotated parts of a slide: their pixels and their index masks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.edits import AnnotationClass
from ..core.objects import BOX
from ..core.slide import RGB, Slide
from ..core.tiles import TilePlan, TileSpec, plan_tiles
from ..io.interop.dataset import IGNORE
from ..io.masks import AnnotationLayer
from ..io.project import Project
from ..io.regions import resize
from .split import Patch


class AnnotatedSlide:
    """A slide with one of its annotation layers, cut into a grid of patches.

    Parameters
    ----------
    project : Project
    slide : Slide
    layer : str
        Name of the annotation layer.
    spec : TileSpec
        Side and resolution of the patches.
    classes : sequence of AnnotationClass
        Their order gives the indices in masks.

    Attributes
    ----------
    plan : TilePlan
        Where pixels are read.
    side : float
        Side of a patch in level-0 pixels.
    objects : ObjectArray
        Objects that have pixels, by id.
    indices : ndarray
        ``(N,)`` uint8: index of the class of each; :data:`IGNORE` for those without one.
    """

    def __init__(
        self,
        project: Project,
        slide: Slide,
        layer: str,
        spec: TileSpec,
        classes: Sequence[AnnotationClass],
    ) -> None:
        self.slide = slide
        self.layer = AnnotationLayer.open(project, slide.id, layer, slide.levels[0].shape)
        self.plan = plan_tiles(slide.levels, spec, slide.mpp)
        self.side = self.plan.size * slide.levels[self.plan.level].downsample
        index = np.full(256, IGNORE, np.uint8)
        index[[each.id for each in classes]] = np.arange(len(classes))
        objects = self.layer.objects.all()
        self.objects = objects.pick(objects.rows["area"] > 0)
        self.indices = index[self.objects.rows["class_id"]]

    @property
    def classified(self) -> int:
        """Number of objects with a class."""
        return int((self.indices != IGNORE).sum())

    @property
    def unclassified(self) -> int:
        """Number of objects without one."""
        return len(self.indices) - self.classified

    def candidates(self) -> list[tuple[int, int]]:
        """Rows and columns of the patches on which objects with a class may lie."""
        rows = self.objects.rows[self.indices != IGNORE]
        corners = np.stack([rows[side] / self.side for side in BOX], 1)
        first = corners[:, :2].astype(np.int64)
        end = np.maximum(first + 1, np.ceil(corners[:, 2:]).astype(np.int64))
        # Small objects lie on the same few patches: each pattern of patches is laid out once.
        found: set[tuple[int, int]] = set()
        for y0, x0, y1, x1 in set(map(tuple, np.concatenate([first, end], 1).tolist())):
            found.update((row, col) for row in range(y0, y1) for col in range(x0, x1))
        return sorted(found)

    def patch(self, row: int, col: int) -> tuple[Patch, NDArray[np.uint8]] | None:
        """Return a patch and its index mask, ``None`` if no pixel of it has a class."""
        y, x = row * self.side, col * self.side
        objects, mask = self.square(y, x, self.side, self.plan.tile_px)
        if (mask == IGNORE).all():
            return None
        return Patch(self.slide.id, y, x, self.side, objects), mask

    def square(
        self, y: float, x: float, side: float, pixels: int, label: int = IGNORE
    ) -> tuple[frozenset[int], NDArray[np.uint8]]:
        """Ids of the objects on a square of the slide, and its index mask.

        Parameters
        ----------
        y, x, side : float
            Level-0 pixels.
        pixels : int
            Side of the mask.
        label : int
            Index of the class where there is no object.

        Returns
        -------
        objects : frozenset of int
        mask : ndarray
            ``(pixels, pixels)`` uint8; objects without a class are :data:`IGNORE`.
        """
        ids = sample_ids(self.layer, y, x, side, pixels)
        values, inverse = np.unique(ids, return_inverse=True)
        at, known = self.objects.find(values)
        lookup = np.full(len(values), IGNORE, np.uint8)
        lookup[known] = self.indices[at[known]]
        lookup[values == 0] = label
        objects = frozenset(int(value) for value in values if value)
        return objects, lookup[inverse].reshape(ids.shape)

    def image(self, row: int, col: int) -> RGB:
        """Read the pixels of a patch, ``(patch_px, patch_px, 3)``."""
        size = self.plan.size
        return read_square(self.slide, self.plan, row * size, col * size)


def sample_ids(
    layer: AnnotationLayer, y: float, x: float, side: float, pixels: int
) -> NDArray[np.uint32]:
    """Object ids under the pixels of an image of a square of the slide.

    Parameters
    ----------
    layer : AnnotationLayer
    y, x, side : float
        Upper left corner and side of the square, level-0 pixels.
    pixels : int
        Side of the image.

    Returns
    -------
    ndarray
        ``(pixels, pixels)`` uint32: the id under the centre of each pixel. Large squares are
        sampled from a coarser level of the layer that is still twice as fine as the image.
    """
    step = side / pixels
    level = min(max(0, math.floor(math.log2(step)) - 1), len(layer.levels) - 1)
    factor = 2**level
    # Pixel p of a level is level-0 pixel p * factor; half a pixel turns centres into pixels.
    within = (np.arange(pixels) + 0.5) * step - 0.5
    rows = np.rint((y + within) / factor).astype(int)
    cols = np.rint((x + within) / factor).astype(int)
    height, width = int(rows[-1] - rows[0]) + 1, int(cols[-1] - cols[0]) + 1
    block = layer.read(level, int(rows[0]), int(cols[0]), height, width)
    return block[np.ix_(rows - rows[0], cols - cols[0])]


def read_square(slide: Slide, plan: TilePlan, y: int, x: int) -> RGB:
    """Read the square of a plan at ``(y, x)``, pixels of its level: ``(tile_px, tile_px, 3)``."""
    square = slide.read(plan.level, y, x, plan.size, plan.size)
    return square if plan.size == plan.tile_px else resize(square, plan.tile_px, plan.tile_px)
