"""Measure tiles before a network looks at them: how much tissue, how sharp, how much ink.

Tissue and ink are seen on the overview of the slide, a hundred times fewer pixels than the tiles
have. Blur is measured where 1 pixel is 1 um: a Gaussian of 1 um, which smears chromatin, is told
from sharp tissue there as surely as at 0.5 um, with a quarter of the pixels, or a sixteenth where
a 40x scan has a level of that size.

It cannot tell: ink that has the colour of a stain (a pink or violet marker), ink marks smaller than
0.2 mm, and a sharp speck of dust on tissue out of focus. A slide that was scanned at much more than
1 um per pixel is blurred by this measure throughout.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.jobs import Job, Progress
from ..core.quality import TileQuality
from ..core.slide import RGB
from ..core.tiles import TileGrid, TileSpec, area_fraction, plan_tiles
from ..io.quality import load_quality, save_quality
from ..io.reader import SlideReader
from .stains import PEN
from .tissue import ASSUMED_MPP, TissueMask, find_tissue

BLUR_MPP = 1.0
"""Micrometres per pixel at which blur is measured."""

BATCH = 64


def measure_quality(
    slide: SlideReader, grid: TileGrid, tissue: TissueMask | None = None
) -> Job[TileQuality]:
    """Measure the tiles of a grid.

    Parameters
    ----------
    slide : SlideReader
    grid : TileGrid
    tissue : TissueMask, optional
        What :func:`find_tissue` says of the slide, if it is known already.

    Returns
    -------
    TileQuality

    Raises
    ------
    SlideError
        The slide cannot be read.
    """
    total = len(grid)
    yield Progress(0, total, "Measuring tissue and pen", "tiles")
    found = find_tissue(slide) if tissue is None else tissue
    fractions = [
        area_fraction(mask, grid.origins, grid.side, found.shape)
        for mask in (found.mask, found.kinds == PEN)
    ]
    coarse, mpp = blur_grid(slide, grid)
    blur = np.full(total, np.nan, np.float32)
    for numbers, tiles in slide.tiles(coarse, batch=BATCH):
        blur[numbers] = detail(tiles, mpp)
        yield Progress(int(numbers[-1]) + 1, total, "Measuring blur", "tiles")
    covered, ink = (fraction.astype(np.float32) for fraction in fractions)
    return TileQuality(grid.hash, covered, blur, ink)


def quality_of(
    slide: SlideReader, grid: TileGrid, tissue: TissueMask | None, store: Path | None
) -> Job[TileQuality]:
    """Measure the tiles of a grid as :func:`measure_quality` does, unless the store knows them.

    Parameters
    ----------
    slide, grid, tissue
    store : Path or None
        The slide's store, where the measures are kept.

    Raises
    ------
    SlideError
        The slide cannot be read.
    ProjectError
        The store cannot be written.
    """
    known = None if store is None else load_quality(store, grid.hash)
    if known is not None:
        return known
    found = yield from measure_quality(slide, grid, tissue)
    if store is not None:
        save_quality(store, found)
    return found


def blur_grid(slide: SlideReader, grid: TileGrid) -> tuple[TileGrid, float]:
    """Return the same tiles as they are read to measure blur, and their um per pixel."""
    own = slide.mpp or ASSUMED_MPP
    mpp = max(BLUR_MPP, own)
    spec = TileSpec(max(4, round(grid.side * own / mpp)), mpp)
    # a level that is not in the file would be made of finer ones
    plan = plan_tiles(slide.levels[: slide.stored_levels], spec, own)
    return replace(grid, plan=plan), mpp


def detail(tiles: RGB, mpp: float) -> NDArray[np.float32]:
    """Return the size of the finest detail of each tile.

    The energy of second differences over that of first differences is the mean square frequency of
    an image. It knows neither contrast nor how deeply something is stained, and a Gaussian of width
    s leaves at most 1.5 / s^2 of it, whence the size of the detail: s. All of that in green light,
    which every common stain absorbs.

    Parameters
    ----------
    tiles : ndarray
        ``(B, H, W, 3)`` uint8.
    mpp : float
        Their micrometres per pixel.

    Returns
    -------
    ndarray
        ``(B,)`` float32, micrometres; NaN where all pixels are alike.
    """
    frequency = np.array([_mean_square_frequency(tile[..., 1]) for tile in tiles], np.float64)
    size = np.full(len(tiles), np.nan, np.float32)
    known = frequency > 0
    size[known] = mpp * np.sqrt(1.5 / frequency[known])
    return size


def _mean_square_frequency(channel: NDArray[np.uint8]) -> float:
    image = channel.astype(np.float32)
    across, down = np.diff(image, axis=1), np.diff(image, axis=0)
    first = _power(across) + _power(down)
    second = _power(np.diff(across, axis=1)) + _power(np.diff(down, axis=0))
    return second / first if first else 0.0


def _power(values: NDArray[np.float32]) -> float:
    flat = values.ravel()
    return float(np.dot(flat, flat)) / max(1, flat.size)
