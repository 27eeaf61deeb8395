"""Slides, their tissue and their tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.jobs import run
from ..core.quality import QualityLimits, Sifted, TileQuality
from ..core.quality import sift as sift_tiles
from ..core.slide import Slide
from ..core.tiles import TileGrid, TileSpec, make_grid
from ._shared import slide_store

if TYPE_CHECKING:
    from ..analysis.tissue import TissueMask
    from ..io.project import Project
    from ..io.reader import SlideReader
    from ._shared import Report


def open_slide(path: str | Path, mpp: float | None = None) -> SlideReader:
    """Open a whole-slide image.

    Parameters
    ----------
    path : str or Path
    mpp : float, optional
        Micrometres per level-0 pixel, where the file does not say it.

    Raises
    ------
    SlideError
        The file is missing, or is no slide that can be read.
    """
    from ..io.reader import open_slide

    return open_slide(path, mpp=mpp)


def open_project(folder: str | Path, author: str | None = None) -> Project:
    """Open a project folder, or make one.

    Raises
    ------
    ProjectError
        It belongs to a newer version, or is damaged.
    """
    from ..io.project import Project

    return Project.open(Path(folder), author=author)


def kept_mpp(slide: Slide, project: str | Path) -> float | None:
    """Micrometres per level-0 pixel that a project knows of a slide, ``None`` if it does not."""
    from ..io.project import known_mpp

    return known_mpp(Path(project), slide.id)


def tissue(slide: Slide) -> TissueMask:
    """Find tissue: background, pen and fat are left out."""
    from ..analysis.tissue import find_tissue

    return find_tissue(slide)


def tiles(
    slide: Slide,
    tissue: TissueMask | None = None,
    mpp: float | None = 0.5,
    tile_px: int = 224,
    overlap: float = 0.0,
    min_tissue: float = 0.5,
) -> TileGrid:
    """Cut a slide into tiles.

    Parameters
    ----------
    slide : Slide
    tissue : TissueMask, optional
        Only tiles with tissue are kept; all of them if absent.
    mpp : float or None
        Micrometres per pixel of a tile; ``None``: level-0 pixels, for a slide without mpp.
    tile_px : int
        Side of a tile in pixels.
    overlap : float
        Fraction of the side shared by neighbours.
    min_tissue : float
        Fraction of a tile that has to be tissue.

    Raises
    ------
    ValueError
        `mpp` is asked for and the slide has none.
    """
    spec = TileSpec(tile_px, mpp, overlap, min_tissue)
    mask = None if tissue is None else tissue.mask
    return make_grid(slide.id, slide.levels, slide.mpp, spec, mask)


def quality(
    slide: SlideReader,
    grid: TileGrid,
    tissue: TissueMask | None = None,
    project: Project | str | Path | None = None,
    report: Report | None = None,
) -> TileQuality:
    """Measure tissue, blur and pen of the tiles of a grid; no network is needed.

    Parameters
    ----------
    slide : SlideReader
    grid : TileGrid
    tissue : TissueMask, optional
        What :func:`tissue` found, if it has been looked for.
    project : Project, str or Path, optional
        Where measures are kept and found again.
    report : callable, optional
    """
    from ..analysis.quality import quality_of

    with slide_store(slide, project, create=True) as store:
        return run(quality_of(slide, grid, tissue, store), report)


def sift(
    grid: TileGrid,
    quality: TileQuality,
    min_tissue: float = 0.5,
    max_blur: float = 1.3,
    max_pen: float = 0.05,
) -> Sifted:
    """Leave out the tiles of a grid that are not good enough.

    Parameters
    ----------
    grid : TileGrid
    quality : TileQuality
        What :func:`quality` measured on that grid.
    min_tissue, max_pen : float
        Fractions of the tile, 0 to 1.
    max_blur : float
        Size of the finest detail in micrometres.

    Returns
    -------
    Sifted
        ``sifted.grid`` are the tiles that stay, a grid of its own; ``sifted.summary()`` says why
        others do not.
    """
    return sift_tiles(grid, quality, QualityLimits(min_tissue, max_blur, max_pen))
