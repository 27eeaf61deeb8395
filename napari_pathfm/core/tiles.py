"""All arithmetic of pixels, levels and micrometres.

Coordinates are ``(y, x)`` in level-0 pixels everywhere; this is the one file that turns them into
pixels of a level and back. Downsamples of real pyramids are not whole numbers (32.02, say), so
both directions say how they round.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .slide import Level

SAME_MPP = 0.02
"""A requested mpp within this fraction of a level's is that level."""


def to_level(position: float, downsample: float) -> int:
    """Turn a level-0 coordinate into the pixel of a level that holds it (rounds down)."""
    return math.floor(position / downsample + 1e-9)


def to_slide(position: float, downsample: float) -> int:
    """Turn a pixel of a level into the level-0 pixel nearest to its upper left corner.

    ``to_level(to_slide(p, d), d)`` is ``p`` for every whole ``p`` and every ``d >= 1``: the
    result is rounded up, so that it never falls into the pixel before.
    """
    return math.ceil(position * downsample - 1e-9)


def level_extent(length: float, downsample: float) -> int:
    """Turn a length in level-0 pixels into pixels of a level: the nearest, at least 1."""
    return max(1, round(length / downsample))


def level_mpp(level: Level, mpp: float) -> float:
    """Micrometres per pixel of `level` for a slide of `mpp`."""
    return mpp * level.downsample


def carried_downsample(downsample: float, mpp: float | None, there: float | None) -> float:
    """Turn a downsample of one slide into that of the same size of a pixel on another.

    Parameters
    ----------
    downsample : float
        Level-0 pixels per pixel on the one.
    mpp, there : float or None
        Micrometres per level-0 pixel of the one and of the other; where either is not known,
        pixels are taken for equal.
    """
    return downsample if mpp is None or there is None else downsample * mpp / there


def level_for_downsample(levels: Sequence[Level], downsample: float) -> int:
    """Index of the level to read for a wanted downsample.

    The level within 2% of it, otherwise the coarsest one that is still finer (level 0 if the
    wanted one is finer than everything).
    """
    best = 0
    for index, level in enumerate(levels):
        if abs(level.downsample / downsample - 1) <= SAME_MPP:
            return index
        if level.downsample <= downsample:
            best = index
    return best


def coarser_pixels(
    start: int, stop: int, finer: float, coarser: float, length: int
) -> NDArray[np.int64]:
    """Pixels of a coarser level that lie under the centres of pixels of a finer one.

    Parameters
    ----------
    start, stop : int
        Range of pixels of the finer level, along one axis.
    finer, coarser : float
        Downsamples of the two levels.
    length : int
        Pixels of the coarser level along that axis; what lies beyond gets its last one.

    Returns
    -------
    ndarray
        ``(stop - start,)`` int64.
    """
    centres = (np.arange(start, stop) + 0.5) * (finer / coarser)
    pixels: NDArray[np.int64] = np.floor(centres).astype(np.int64).clip(0, length - 1)
    return pixels


@dataclass(frozen=True)
class TileSpec:
    """How a slide is cut into tiles.

    Attributes
    ----------
    tile_px : int
        Side of a tile as the encoder sees it, in pixels.
    mpp : float or None
        Micrometres per pixel of the tile; ``None`` for a slide without mpp: level-0 pixels.
    overlap : float
        Fraction of the side shared by neighbours, 0 to less than 1.
    min_tissue : float
        A tile belongs to the grid if at least this fraction of it is tissue.
    """

    tile_px: int = 224
    mpp: float | None = 0.5
    overlap: float = 0.0
    min_tissue: float = 0.5

    def __post_init__(self) -> None:
        if self.tile_px < 1:
            raise ValueError(f"tile_px must be at least 1, not {self.tile_px}")
        if self.mpp is not None and not 0.01 <= self.mpp <= 100:
            raise ValueError(f"mpp must lie between 0.01 and 100 um per pixel, not {self.mpp}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be at least 0 and less than 1, not {self.overlap}")
        if not 0 <= self.min_tissue <= 1:
            raise ValueError(f"min_tissue must lie between 0 and 1, not {self.min_tissue}")
        for name in ("mpp", "overlap", "min_tissue"):
            if isinstance(value := getattr(self, name), int):  # 1 and 1.0 are the same grid
                object.__setattr__(self, name, float(value))

    def downsample(self, slide_mpp: float | None) -> float:
        """Level-0 pixels per tile pixel on a slide of `slide_mpp`.

        Raises
        ------
        ValueError
            A mpp is asked for and the slide has none.
        """
        if self.mpp is None:
            return 1.0
        if slide_mpp is None:
            raise ValueError(
                "This slide does not say how large a pixel is. Enter its micrometres per pixel "
                "(0.25 for a 40x scan, 0.5 for 20x), or ask for tiles in pixels (mpp=None)."
            )
        ratio = self.mpp / slide_mpp
        return 1.0 if abs(ratio - 1) <= SAME_MPP else ratio


@dataclass(frozen=True)
class TilePlan:
    """Where the pixels of a grid's tiles are read from.

    Attributes
    ----------
    level : int
        Level that is read.
    size : int
        Side of the square read there, in pixels of that level; it is resized to `tile_px`.
    tile_px : int
        Side of the tile that comes out.
    """

    level: int
    size: int
    tile_px: int


@dataclass(frozen=True, eq=False)
class TileGrid:
    """All tiles of a slide under one :class:`TileSpec`, in file order (row by row).

    Attributes
    ----------
    slide_id : str
    spec : TileSpec
    origins : ndarray
        ``(N, 2)`` int64: upper left corners ``(y, x)`` in level-0 pixels.
    side : float
        Side of a tile in level-0 pixels.
    plan : TilePlan
    """

    slide_id: str
    spec: TileSpec
    origins: NDArray[np.int64]
    side: float
    plan: TilePlan = field(repr=False)

    def __len__(self) -> int:
        return len(self.origins)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name this grid: its spec, plan and origins."""
        head = json.dumps([asdict(self.spec), asdict(self.plan), self.side], sort_keys=True)
        digest = hashlib.blake2b(head.encode(), digest_size=6)
        digest.update(np.ascontiguousarray(self.origins).tobytes())
        return digest.hexdigest()

    @property
    def centers(self) -> NDArray[np.float64]:
        """``(N, 2)`` float64: centres ``(y, x)`` in level-0 pixels."""
        centres: NDArray[np.float64] = self.origins.astype(np.float64) + self.side / 2
        return centres

    def at(self, y: float, x: float) -> int | None:
        """Number of the tile that holds a level-0 position (the nearest centre if several do)."""
        if not len(self):
            return None
        offset = np.array((y, x)) - self.origins
        inside = np.flatnonzero(((offset >= 0) & (offset < self.side)).all(1))
        if not len(inside):
            return None
        distance = np.square(offset[inside] - self.side / 2).sum(1)
        return int(inside[distance.argmin()])

    def inside(self, polygon: NDArray[np.floating]) -> NDArray[np.int64]:
        """Numbers of the tiles whose centre lies in a polygon, ``(K, 2)`` ``(y, x)`` level-0."""
        return np.flatnonzero(points_in_polygon(self.centers, polygon))

    def where(self, keep: NDArray[np.bool_]) -> TileGrid:
        """Return the grid of the tiles ``keep``, ``(N,)`` bool: itself if that is all of them.

        Its :attr:`hash` is another one, and its tiles are numbered anew.
        """
        return self if keep.all() else replace(self, origins=self.origins[keep])

    def level_origins(self, downsample: float) -> NDArray[np.int64]:
        """Origins ``(N, 2)`` in pixels of a level with that downsample (rounded down)."""
        return np.floor(self.origins / downsample + 1e-9).astype(np.int64)


def points_in_polygon(
    points: NDArray[np.floating], polygon: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Which points lie in a polygon, by the even-odd rule.

    Parameters
    ----------
    points : ndarray
        ``(N, 2)``, any axis order.
    polygon : ndarray
        ``(K, 2)`` corners in the same axis order; closed by itself.

    Returns
    -------
    ndarray
        ``(N,)`` bool.
    """
    points, polygon = np.asarray(points, float), np.asarray(polygon, float)
    # Sorted by one axis, each edge meets one run of the points: a lasso has hundreds of edges.
    order = np.argsort(points[:, 0])
    along, across = points[order].T
    inside = np.zeros(len(points), bool)
    for (a0, a1), (b0, b1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if a0 != b0:
            run = slice(*np.searchsorted(along, (min(a0, b0), max(a0, b0))))
            at = a1 + (along[run] - a0) / (b0 - a0) * (b1 - a1)
            inside[run] ^= across[run] < at
    result = np.empty_like(inside)
    result[order] = inside
    return result


def plan_tiles(levels: Sequence[Level], spec: TileSpec, slide_mpp: float | None) -> TilePlan:
    """Choose the level and the size to read for the tiles of `spec`.

    Raises
    ------
    ValueError
        `spec` asks for a mpp and the slide has none.
    """
    wanted = spec.downsample(slide_mpp)
    level = level_for_downsample(levels, wanted)
    ratio = wanted / levels[level].downsample
    size = spec.tile_px if abs(ratio - 1) <= SAME_MPP else max(1, round(spec.tile_px * ratio))
    return TilePlan(level, size, spec.tile_px)


def make_grid(
    slide_id: str,
    levels: Sequence[Level],
    slide_mpp: float | None,
    spec: TileSpec,
    tissue: NDArray[np.bool_] | None = None,
) -> TileGrid:
    """Cut a slide into tiles, keeping those with enough tissue.

    Parameters
    ----------
    slide_id : str
    levels : sequence of Level
    slide_mpp : float or None
        Micrometres per level-0 pixel.
    spec : TileSpec
    tissue : ndarray, optional
        ``(h, w)`` bool mask that covers the whole slide at any resolution; all is tissue if absent.

    Returns
    -------
    TileGrid
        In file order; only whole tiles, never one that reaches over the slide's edge.
    """
    plan = plan_tiles(levels, spec, slide_mpp)
    side = plan.size * levels[plan.level].downsample
    step = side * (1 - spec.overlap)
    height, width = levels[0].shape
    rows = np.ceil(np.arange(0, max(0.0, height - side) + 1e-6, step) - 1e-9)
    cols = np.ceil(np.arange(0, max(0.0, width - side) + 1e-6, step) - 1e-9)
    if height < side or width < side:
        rows, cols = rows[:0], cols[:0]
    origins = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2).astype(np.int64)
    if tissue is not None and len(origins):
        fraction = area_fraction(tissue, origins, side, (height, width))
        origins = origins[fraction >= spec.min_tissue]
    return TileGrid(slide_id, spec, origins, side, plan)


def given_grid(
    slide_id: str,
    levels: Sequence[Level],
    slide_mpp: float | None,
    origins: NDArray[np.integer],
    side: float,
    tile_px: int,
    mpp: float | None = None,
    overlap: float = 0.0,
) -> tuple[TileGrid, NDArray[np.int64]]:
    """Make a grid of tiles that somebody else has laid out, wherever they lie.

    Parameters
    ----------
    slide_id : str
    levels : sequence of Level
    slide_mpp : float or None
        Micrometres per level-0 pixel.
    origins : ndarray
        ``(N, 2)`` upper left corners ``(y, x)`` in level-0 pixels, in any order.
    side : float
        Side of a tile in level-0 pixels.
    tile_px : int
        Side that it has for the encoder.
    mpp : float, optional
        What its micrometres per pixel are called; kept where the tiles are that within 2%.
    overlap : float
        Fraction of the side shared by neighbours.

    Returns
    -------
    TileGrid
        In file order.
    numbers : ndarray
        ``(N,)`` int64: the number in the grid of each of `origins`.

    Raises
    ------
    ValueError
        `side`, `tile_px` or `overlap` is impossible.
    """
    if not side > 0 or tile_px < 1:
        raise ValueError(f"a tile has a side above 0 pixels, not {side} ({tile_px} px)")
    ratio = side / tile_px
    level = level_for_downsample(levels, ratio)
    real = None if slide_mpp is None else slide_mpp * ratio
    if mpp is not None and real is not None and abs(real / mpp - 1) <= SAME_MPP:
        real = mpp
    # Without a mpp the spec counts in level-0 pixels.
    spec = TileSpec(tile_px if real is not None else max(1, round(side)), real, overlap, 0.0)
    plan = TilePlan(level, level_extent(side, levels[level].downsample), tile_px)
    places = np.asarray(origins, np.int64).reshape(-1, 2)
    order = np.lexsort((places[:, 1], places[:, 0]))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    return TileGrid(slide_id, spec, places[order], float(side), plan), numbers


def area_fraction(
    mask: NDArray[np.bool_],
    origins: NDArray[np.int64],
    side: float,
    shape: tuple[int, int],
) -> NDArray[np.float64]:
    """Fraction of each square that a coarse mask covers, by a summed-area table.

    Parameters
    ----------
    mask : ndarray
        ``(h, w)`` bool over the whole slide.
    origins : ndarray
        ``(N, 2)`` upper left corners ``(y, x)``, level-0 pixels.
    side : float
        Side of the squares, level-0 pixels.
    shape : tuple of int
        ``(height, width)`` of level 0.

    Returns
    -------
    ndarray
        ``(N,)`` float64, 0 to 1.
    """
    table = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    scale = np.array(mask.shape) / np.array(shape)
    low = np.floor(origins * scale).astype(int)
    high = np.maximum(np.ceil((origins + side) * scale).astype(int), low + 1)
    low, high = np.minimum(low, np.array(mask.shape) - 1), np.minimum(high, mask.shape)
    (y0, x0), (y1, x1) = low.T, high.T
    total = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    fraction: NDArray[np.float64] = total / ((y1 - y0) * (x1 - x0))
    return fraction


def segments_of(level: Level, y: int, x: int, height: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows and columns of the segments that a region touches, in file order.

    `y`, `x`, `height` and `width` are pixels of the level; what lies outside it is left out.
    """
    tile_height, tile_width = level.tile_shape
    last_row, last_col = (count - 1 for count in level.segments)
    if y + height <= 0 or x + width <= 0 or height <= 0 or width <= 0:
        return
    rows = range(max(0, y // tile_height), min(last_row, (y + height - 1) // tile_height) + 1)
    cols = range(max(0, x // tile_width), min(last_col, (x + width - 1) // tile_width) + 1)
    for row in rows:
        for col in cols:
            yield row, col


def segments_of_squares(
    level: Level, corners: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which segments each of many squares touches.

    Parameters
    ----------
    level : Level
    corners : ndarray
        ``(N, 2)`` ``(y, x)`` in pixels of the level; what lies outside it is left out.
    size : int
        Side of the squares in such pixels.

    Returns
    -------
    squares : ndarray
        ``(P,)`` int64, rising: numbers of the squares, each once for every segment it touches.
    segments : ndarray
        ``(P,)`` int64: ``row * columns + column``, in file order for each square.
    """
    sides, last = np.array(level.tile_shape), np.array(level.segments) - 1
    low = np.maximum(corners // sides, 0)
    count = np.clip(np.minimum((corners + size - 1) // sides, last) - low + 1, 0, None)
    of_each = count.prod(1)
    squares = np.repeat(np.arange(len(corners)), of_each)
    number = np.arange(len(squares)) - np.repeat(of_each.cumsum() - of_each, of_each)
    rows, cols = np.divmod(number, count[squares, 1])
    rows, cols = rows + low[squares, 0], cols + low[squares, 1]
    return squares, rows * level.segments[1] + cols
