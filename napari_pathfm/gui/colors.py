"""Colours and symbols of tiles, and the legend that explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from qtpy.QtGui import QColor, QIcon, QPixmap

from ..analysis.search import TileScores
from ..core.edits import AnnotationClass
from .raster import SYMBOLS, pack

PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2")
"""Okabe and Ito's colours that the colour-blind tell apart, without the selection's yellow."""

UNKNOWN = "#8a8f98"
_DARKEST = 0.15  # of the colormap: what lies below cannot be seen on a dark ground


@dataclass(frozen=True, eq=False)
class Paint:
    """How tiles look.

    Attributes
    ----------
    colors : ndarray
        ``(M,)`` uint32, see :func:`~napari_pathfm.gui.raster.pack`.
    symbols : ndarray
        ``(M,)`` uint8: number in :data:`~napari_pathfm.gui.raster.SYMBOLS`.
    legend : str
        Rich text.
    """

    colors: NDArray[np.uint32]
    symbols: NDArray[np.uint8]
    legend: str


def rgb(color: str) -> tuple[int, int, int]:
    """Turn ``"#rrggbb"`` into three numbers of 0 to 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def swatch(color: str) -> QIcon:
    """Make an icon of one colour, for lists."""
    square = QPixmap(12, 12)
    square.fill(QColor(color))
    return QIcon(square)


def by_class(
    tiles: NDArray[np.int64], labels: NDArray[np.uint8] | None, classes: Sequence[AnnotationClass]
) -> Paint:
    """Colour tiles by their class."""
    codes = np.zeros(len(tiles), np.uint8) if labels is None else labels[tiles]
    known = {0: ("no label", UNKNOWN), **{c.id: (c.name, c.color) for c in classes}}
    names = {code: known.get(code, (f"class {code}", UNKNOWN)) for code in range(256)}
    return _by_group(codes, {code: (*names[code], code % len(SYMBOLS)) for code in range(256)})


def by_cluster(
    tiles: NDArray[np.int64], embedded: NDArray[np.int64], clusters: NDArray[np.int32]
) -> Paint:
    """Colour tiles by their cluster; `embedded` are the tiles that `clusters` belong to."""
    codes = _spread(tiles, embedded, clusters + 1, 0).astype(np.int32)
    groups = {0: ("none", UNKNOWN, 0)}
    for number in range(int(clusters.max(initial=-1)) + 1):
        color = PALETTE[number % len(PALETTE)]
        groups[number + 1] = (str(number + 1), color, number % len(SYMBOLS))
    return _by_group(codes, groups)


def by_score(tiles: NDArray[np.int64], scores: TileScores) -> Paint:
    """Colour tiles by their score, with the colours of the heatmap."""
    values = _spread(tiles, scores.tiles, scores.values, np.nan).astype(float)
    known = scores.values[np.isfinite(scores.values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    # As the heatmap does: the least alike tiles shall not use up the range.
    low = float(np.percentile(known, 2)) if len(known) else low
    table = _heat(256)
    level = np.nan_to_num((values - low) / max(high - low, 1e-6)).clip(0, 1) * 255
    shown = np.where(np.isnan(values)[:, None], rgb(UNKNOWN), table[level.astype(int)])
    bar = "".join(f'<span style="color:#{r:02x}{g:02x}{b:02x}">█</span>' for r, g, b in _heat(14))
    legend = f"{low:.2f}&nbsp;{bar}&nbsp;{high:.2f} {escape(scores.text)}"
    return Paint(pack(shown), np.zeros(len(tiles), np.uint8), legend)


def unknown(tiles: NDArray[np.int64], why: str) -> Paint:
    """Leave tiles grey, and say why."""
    grey = by_class(tiles, None, ())
    return Paint(grey.colors, grey.symbols, why)


def _heat(count: int) -> NDArray[np.uint8]:
    import pyqtgraph

    colors = pyqtgraph.colormap.get("inferno").map(np.linspace(_DARKEST, 1, count), "byte")
    table: NDArray[np.uint8] = colors[:, :3]
    return table


def _spread(
    tiles: NDArray[np.int64], known: NDArray[np.int64], values: NDArray, missing: float
) -> NDArray:
    """Values of `tiles`, looked up by tile number."""
    size = int(max(tiles.max(initial=-1), known.max(initial=-1))) + 1
    table = np.full(size, missing, np.float64)
    table[known] = values
    return table[tiles]


def _by_group(codes: NDArray[np.integer], groups: dict[int, tuple[str, str, int]]) -> Paint:
    counts = np.bincount(codes, minlength=1)
    colors = np.zeros(len(counts), np.uint32)
    symbols = np.zeros(len(counts), np.uint8)
    legend = []
    for code in np.flatnonzero(counts):
        name, color, symbol = groups[int(code)]
        colors[code] = pack(np.array([rgb(color)]))[0]
        symbols[code] = symbol
        text = escape(f"{name} ({counts[code]:,})").replace(" ", "&nbsp;")
        legend.append(f'<span style="color:{color}">{SYMBOLS[symbol]}</span>&nbsp;{text}')
    return Paint(colors[codes], symbols[codes], " &nbsp; ".join(legend))
