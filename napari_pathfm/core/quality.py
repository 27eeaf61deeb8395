"""How good the tiles of a grid are, and which of them are good enough."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from .tiles import TileGrid

Measure = NDArray[np.float32]

MEASURES: dict[str, str] = {
    "tissue": "too little tissue",
    "blur": "blurred",
    "pen": "pen",
}
"""What is measured of a tile, and what is wrong with one that a limit leaves out."""


@dataclass(frozen=True, eq=False)
class TileQuality:
    """Measures of all tiles of one grid.

    Attributes
    ----------
    grid_hash : str
        :attr:`TileGrid.hash` of the grid.
    tissue : ndarray
        ``(N,)`` float32: fraction of the tile that is tissue, 0 to 1.
    blur : ndarray
        ``(N,)`` float32: size of the finest detail in micrometres, see
        :func:`napari_pathfm.analysis.quality.detail`; NaN for a tile of one colour.
    pen : ndarray
        ``(N,)`` float32: fraction of the tile that is covered by ink, 0 to 1.
    """

    grid_hash: str
    tissue: Measure
    blur: Measure
    pen: Measure

    def __len__(self) -> int:
        return len(self.tissue)

    def where(self, keep: NDArray[np.bool_], grid: TileGrid) -> TileQuality:
        """Return the measures of the tiles ``keep`` ``(N,)``, of which `grid` consists."""
        return TileQuality(grid.hash, self.tissue[keep], self.blur[keep], self.pen[keep])


@dataclass(frozen=True)
class QualityLimits:
    """What a tile must be to stay.

    Attributes
    ----------
    min_tissue : float
        Smallest fraction of tissue, 0 to 1; 0 leaves nothing out.
    max_blur : float
        Largest :attr:`TileQuality.blur` in micrometres; infinity leaves nothing out. Sharp H&E
        lies below 1.2, as if blurred by a Gaussian of 1 um above 1.25.
    max_pen : float
        Largest fraction of ink, 0 to 1; 1 leaves nothing out.
    """

    min_tissue: float = 0.5
    max_blur: float = 1.3
    max_pen: float = 0.05

    def __post_init__(self) -> None:
        for name in ("min_tissue", "max_pen"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if not self.max_blur > 0:
            raise ValueError(f"max_blur must be more than 0 um, not {self.max_blur}")

    def failing(self, quality: TileQuality) -> dict[str, NDArray[np.bool_]]:
        """Say for each of :data:`MEASURES` which tiles it leaves out, ``(N,)`` bool.

        A blur of NaN leaves no tile out: where nothing differs, nothing can be blurred.
        """
        return {
            "tissue": quality.tissue < self.min_tissue,
            "blur": quality.blur > self.max_blur,
            "pen": quality.pen > self.max_pen,
        }


OFF = QualityLimits(0.0, float("inf"), 1.0)
"""Limits that leave nothing out."""


@dataclass(frozen=True, eq=False)
class Sifted:
    """Tiles of a grid that are good enough.

    Attributes
    ----------
    grid : TileGrid
        Those that stay, a grid of its own.
    keep : ndarray
        ``(N,)`` bool: which tiles of the whole grid they are.
    left_out : dict of str to int
        How many tiles each of :data:`MEASURES` leaves out; a tile may fail several.
    """

    grid: TileGrid
    keep: NDArray[np.bool_]
    left_out: dict[str, int]

    def summary(self) -> str:
        """Say how many tiles stay, and why others do not."""
        text = f"{len(self.grid):,} of {len(self.keep):,} tiles stay"
        reasons = [f"{count:,} {MEASURES[name]}" for name, count in self.left_out.items() if count]
        return text + (f"; left out: {', '.join(reasons)}" if reasons else "")

    def facts(self) -> dict[str, object]:
        """Return the same for a program."""
        return {"tiles": len(self.grid), "of": len(self.keep), "left_out": self.left_out}


def sift(grid: TileGrid, quality: TileQuality, limits: QualityLimits) -> Sifted:
    """Leave out the tiles that are not good enough.

    Raises
    ------
    ValueError
        The measures are of another grid.
    """
    if quality.grid_hash != grid.hash:
        raise ValueError(
            f"These measures are of the grid {quality.grid_hash}, not of {grid.hash}. Measure the "
            "quality of this grid first."
        )
    failing = limits.failing(quality)
    keep = ~np.any([*failing.values()], axis=0)
    counts = {name: int(failed.sum()) for name, failed in failing.items()}
    return Sifted(grid.where(keep), keep, counts)


def named_limits(limits: QualityLimits) -> dict[str, float | None]:
    """Return the limits by name, for JSON: ``None`` where one leaves nothing out."""
    return {
        name: None if value == getattr(OFF, name) else value
        for name, value in asdict(limits).items()
    }
