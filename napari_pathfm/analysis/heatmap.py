"""Turn one number a tile into an image that lies over the slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.tiles import TileGrid
from .search import TileScores


@dataclass(frozen=True, eq=False)
class Heatmap:
    """A coarse image of tile values.

    Attributes
    ----------
    image : ndarray
        ``(h, w)`` float32, NaN where there is no tile.
    downsample : float
        Level-0 pixels per pixel of the image.
    origin : tuple of float
        ``(y, x)`` of the image's upper left **corner** in level-0 pixels.
    """

    image: NDArray[np.float32]
    downsample: float
    origin: tuple[float, float]


def heatmap(grid: TileGrid, scores: TileScores) -> Heatmap:
    """Draw the values of tiles where the tiles are.

    A pixel is one step of the grid, which is a tile where tiles do not overlap; where they do, a
    pixel is the mean of all tiles that hold its centre.

    Parameters
    ----------
    grid : TileGrid
    scores : TileScores
        Of tiles of that grid; tiles that are not in it stay NaN.

    Returns
    -------
    Heatmap
        As large as the box around all tiles of the grid; ``(0, 0)`` for a grid without tiles.

    Raises
    ------
    ValueError
        The scores name tiles that the grid does not have.
    """
    step = grid.side * (1 - grid.spec.overlap)
    if len(scores) and not (scores.tiles.min() >= 0 and scores.tiles.max() < len(grid)):
        raise ValueError(
            f"The scores are of another grid: tile {scores.tiles.max()} is not among its "
            f"{len(grid)} tiles. Search again on this grid."
        )
    if not len(grid):
        return Heatmap(np.empty((0, 0), np.float32), step, (0.0, 0.0))
    first = grid.origins.min(0)  # tiles of other programs may begin anywhere
    cells = np.rint((grid.origins - first) / step).astype(np.int64)
    span = _pixels_across(grid.side / step)
    height, width = cells.max(0) + span
    image = _mean_image(cells[scores.tiles], scores.values, span, (height, width))
    return Heatmap(image, step, (float(first[0]), float(first[1])))


def _pixels_across(steps: float) -> int:
    # Centres of pixels (0.5, 1.5, ... steps from a tile's corner) that the tile holds.
    return max(1, int(np.ceil(steps - 0.5 - 1e-9)))


def _mean_image(
    cells: NDArray[np.int64],
    values: NDArray[np.float32],
    span: int,
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    size = shape[0] * shape[1]
    total, count = np.zeros(size), np.zeros(size)
    for dy in range(span):
        for dx in range(span):
            flat = (cells[:, 0] + dy) * shape[1] + cells[:, 1] + dx
            total += np.bincount(flat, values, size)
            count += np.bincount(flat, minlength=size)
    with np.errstate(invalid="ignore"):
        return (total / count).astype(np.float32).reshape(shape)
