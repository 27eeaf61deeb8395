"""Vectors of tiles as a file of another program has them, whatever its format.

What the formats have in common: their corners of tiles count from the corner of the whole glass,
where OpenSlide counts from, and none of them says how exactly its vectors were made. So files that
we write carry both of ours besides, the :class:`~...core.embeddings.FeatureKey` and the facts of
the grid, as one JSON text named :data:`MARK`, which other programs do not mind.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.embeddings import Embeddings, FeatureKey
from ...core.slide import Slide
from ...core.tiles import TileGrid, TilePlan, TileSpec

MARK = "pathfm"
"""Name under which our files carry what others have no place for."""

BLOCK = 4096
"""Vectors read or written at a time."""


class Rows(Protocol):
    """An array on disk, or in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read a part of it."""


@dataclass(frozen=True)
class Told:
    """What a user says where a file does not.

    Attributes
    ----------
    encoder : str
        Name of the encoder, ours or the other program's.
    pooling : str
        How one vector comes out of the network.
    side : float or None
        Side of a tile in level-0 pixels.
    tile_px : int or None
        Side of a tile in pixels as the encoder saw it.
    coords : Path or None
        Another file, which says where the tiles are.
    table : str
        Which of several tables of a file.
    """

    encoder: str = ""
    pooling: str = ""
    side: float | None = None
    tile_px: int | None = None
    coords: Path | None = None
    table: str = ""


@dataclass(frozen=True)
class Origin:
    """What a file that we wrote says of itself.

    Attributes
    ----------
    key : FeatureKey
    slide_id : str
    spec : TileSpec
    plan : TilePlan
    side : float
    """

    key: FeatureKey
    slide_id: str
    spec: TileSpec
    plan: TilePlan
    side: float


@dataclass(frozen=True, eq=False)
class TileFeatures:
    """Vectors of tiles, and what a file says of them.

    Attributes
    ----------
    program : str
        Which program's format it is.
    vectors : Rows
        ``(N, D)`` numbers, read a part at a time while the file is open.
    corners : ndarray
        ``(N, 2)`` int64: upper left corners ``(y, x)`` in level-0 pixels of the whole glass.
    side : float or None
        Side of a tile in level-0 pixels; ``None``: the file does not say.
    tile_px : int or None
        Side of a tile as the encoder saw it.
    mpp : float or None
        What its micrometres per pixel are called.
    overlap : float
        Fraction of the side shared by neighbours.
    encoder : str
        As the other program calls it; empty: the file does not say.
    shape : tuple of int or None
        ``(height, width)`` of the slide's level 0.
    origin : Origin or None
        Of a file that we wrote.
    """

    program: str
    vectors: Rows
    corners: NDArray[np.int64]
    side: float | None = None
    tile_px: int | None = None
    mpp: float | None = None
    overlap: float = 0.0
    encoder: str = ""
    shape: tuple[int, int] | None = None
    origin: Origin | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.vectors.shape)
        if len(shape) != 2:
            raise ValueError(
                f"it has features of shape {shape}, not one vector a tile; vectors of whole "
                "slides cannot be imported"
            )
        if shape[0] != len(self.corners):
            raise ValueError(f"it has {shape[0]} vectors for {len(self.corners)} tiles")
        if not shape[0]:
            raise ValueError("it has no tiles")

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return int(self.vectors.shape[1])

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield rows of the file and their vectors, ``(B, D)`` float32.

        Raises
        ------
        ValueError
            A vector is not finite.
        """
        for start in range(0, len(self), BLOCK):
            rows = slice(start, min(start + BLOCK, len(self)))
            vectors = np.asarray(self.vectors[rows], np.float32)
            if not np.isfinite(vectors).all():
                bad = start + int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
                raise ValueError(
                    f"the vector in row {bad} has numbers that are not finite; make it again"
                )
            yield rows, vectors


@dataclass(frozen=True, eq=False)
class Outgoing:
    """Embeddings on their way into another program's file.

    Attributes
    ----------
    slide : Slide
    grid : TileGrid
    embeddings : Embeddings
        Of that grid; not necessarily of all its tiles.
    encoder : str
        As the other program calls the encoder.
    """

    slide: Slide
    grid: TileGrid
    embeddings: Embeddings
    encoder: str

    @property
    def origins(self) -> NDArray[np.int64]:
        """``(N, 2)`` int64: corners ``(y, x)`` of the tiles in level-0 pixels of our slide."""
        return self.grid.origins[self.embeddings.tiles]

    @property
    def xy(self) -> NDArray[np.int64]:
        """``(N, 2)`` int64: corners **(x, y)** in level-0 pixels of the whole glass."""
        corner, _ = glass(self.slide)
        return np.ascontiguousarray((self.origins + np.array(corner))[:, ::-1])

    @property
    def mark(self) -> str:
        """See :func:`mark`."""
        return mark(self.embeddings.key, self.grid)


def one_bag(rows: Rows) -> Rows:
    """Take the bag out of features of shape ``(1, N, D)``, or coordinates of ``(1, N, 2)``."""
    return rows[0] if len(rows.shape) == 3 and rows.shape[0] == 1 else rows


def glass(slide: Slide) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return where our level 0 begins on the whole glass, and how large the glass is.

    Where a file says which part was scanned (MIRAX, Leica), ours is that part; other programs
    count from the corner of the glass.

    Returns
    -------
    corner : tuple of int
        ``(y, x)`` in level-0 pixels.
    shape : tuple of int
        ``(height, width)``.
    """
    facts, shape = slide.properties, slide.levels[0].shape
    try:
        y, x, height, width = (
            int(facts[f"openslide.bounds-{key}"]) for key in ("y", "x", "height", "width")
        )
        whole = int(facts["openslide.level[0].height"]), int(facts["openslide.level[0].width"])
    except (KeyError, ValueError):
        return (0, 0), shape
    return ((y, x), whole) if (height, width) == shape else ((0, 0), shape)


def mark(key: FeatureKey, grid: TileGrid) -> str:
    """Return the JSON text by which a file of ours is known again."""
    facts = {"slide_id": grid.slide_id, "side": grid.side}
    facts |= {"spec": asdict(grid.spec), "plan": asdict(grid.plan)}
    return json.dumps({"key": asdict(key), "grid": facts})


def read_mark(text: Any) -> Origin | None:
    """Read what :func:`mark` wrote; ``None`` if there is no such text.

    Raises
    ------
    ValueError
        It is damaged.
    """
    if not isinstance(text, str | bytes):
        return None
    try:
        facts: Mapping[str, Any] = json.loads(text)
        grid = facts["grid"]
        return Origin(
            FeatureKey(**facts["key"]),
            str(grid["slide_id"]),
            TileSpec(**grid["spec"]),
            TilePlan(**grid["plan"]),
            float(grid["side"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its “{MARK}” entry is damaged ({error})") from error


def part(name: str) -> Any:
    """Import a package that only some formats need.

    Raises
    ------
    ValueError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"this format needs the package {name.partition('.')[0]}: "
            "pip install 'napari-pathfm[interop]'"
        ) from error
