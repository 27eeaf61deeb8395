"""Draw very many points into an image: 1,000,000 in some 20 ms, which no item a point can do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

SYMBOLS = "●■▲◆✚"
"""Shapes of the marks, by their number; colours alone do not tell everybody enough."""

RIM = 0xB0000000  # premultiplied black: sets marks that overlap apart
CHOSEN_RIM = 0xFFF0E442
_FEW, _SOME, _MANY = 3_000, 30_000, 100_000
_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Marks:
    """Points to draw.

    Attributes
    ----------
    x, y : ndarray
        ``(N,)`` float32, in any unit.
    colors : ndarray
        ``(N,)`` uint32 ``0xAARRGGBB``, premultiplied.
    symbols : ndarray
        ``(N,)`` uint8: number in :data:`SYMBOLS`.
    chosen : ndarray
        ``(N,)`` bool: drawn on top, larger and with a bright rim.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    colors: NDArray[np.uint32]
    symbols: NDArray[np.uint8]
    chosen: NDArray[np.bool_]


def pack(rgb: NDArray[np.integer], opacity: float = 1.0) -> NDArray[np.uint32]:
    """Turn ``(N, 3)`` colours of 0 to 255 into ``(N,)`` premultiplied ``0xAARRGGBB``."""
    red, green, blue = (np.asarray(rgb) * opacity).astype(np.uint32).T
    alpha = np.uint32(round(255 * opacity))
    packed: NDArray[np.uint32] = alpha << np.uint32(24) | red << 16 | green << 8 | blue
    return packed


def rasterize(
    marks: Marks, rect: tuple[float, float, float, float], shape: tuple[int, int], unit: int = 1
) -> NDArray[np.uint32]:
    """Draw the marks that lie in a rectangle.

    Few marks are drawn as symbols, many as dots; how many counts what is visible, so that zooming
    in brings the symbols back.

    Parameters
    ----------
    marks : Marks
    rect : tuple of float
        ``(x0, y0, x1, y1)``, in the unit of the marks.
    shape : tuple of int
        ``(h, w)`` of the image in pixels. Row 0 is at `y0`.
    unit : int
        Pixels of the image per pixel of the screen.

    Returns
    -------
    ndarray
        ``(h, w)`` uint32, premultiplied ``0xAARRGGBB``, 0 where there is nothing.
    """
    margin = 6 * unit
    (height, width), pad = shape, 2 * margin
    canvas = np.zeros((height + 2 * pad, width + 2 * pad), np.uint32)
    at, seen = _places(marks, rect, shape, pad, margin, canvas.shape[1])
    if len(seen) > _SOME:
        _draw_dots(canvas, at, seen, marks, unit)
    else:
        _draw_symbols(canvas, at, seen, marks, 4 * unit if len(seen) <= _FEW else 5 * unit // 2)
    return np.ascontiguousarray(canvas[pad:-pad, pad:-pad])


def _places(
    marks: Marks,
    rect: tuple[float, float, float, float],
    shape: tuple[int, int],
    pad: int,
    margin: int,
    row: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Flat places of the marks that can be seen, and the numbers of those marks."""
    x0, y0, x1, y1 = rect
    height, width = shape
    across, down = width / (x1 - x0), height / (y1 - y0)
    with np.errstate(invalid="ignore"):  # far outside: becomes negative, so it is left out
        col = (marks.x * np.float32(across) + np.float32(pad - x0 * across)).astype(np.int32)
        line = (marks.y * np.float32(down) + np.float32(pad - y0 * down)).astype(np.int32)
    low = pad - margin
    inside = (col >= low) & (col < width + pad + margin)
    inside &= (line >= low) & (line < height + pad + margin)
    if inside.all():
        return line.astype(np.intp) * row + col, np.arange(len(col))
    seen = np.flatnonzero(inside)
    return line[seen].astype(np.intp) * row + col[seen], seen


def _draw_symbols(
    canvas: NDArray[np.uint32],
    at: NDArray[np.intp],
    seen: NDArray[np.intp],
    marks: Marks,
    radius: int,
) -> None:
    chosen = marks.chosen[seen]
    for picked, size, rim in ((~chosen, radius, RIM), (chosen, radius + 2, CHOSEN_RIM)):
        some, where = seen[picked], at[picked]
        # In rounds, so that no symbol always lies on top of all others.
        for first in range(_ROUNDS):
            for symbol in range(len(SYMBOLS)):
                mine = np.flatnonzero(marks.symbols[some[first::_ROUNDS]] == symbol)
                places, numbers = where[first::_ROUNDS][mine], some[first::_ROUNDS][mine]
                _stamp(canvas, places, marks.colors[numbers], symbol, size, rim)


def _stamp(
    canvas: NDArray[np.uint32],
    at: NDArray[np.intp],
    colors: NDArray[np.uint32],
    symbol: int,
    radius: int,
    rim: int,
) -> None:
    dy, dx, core = stamp_of(symbol, radius)
    places = at[:, None] + (dy * canvas.shape[1] + dx)[None]
    canvas.reshape(-1)[places] = np.where(core[None], colors[:, None], np.uint32(rim))


@cache
def stamp_of(
    symbol: int, radius: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Offsets ``dy, dx`` of a symbol's pixels (`dy` upwards), and which are not its rim."""
    dy, dx = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    y, x = dy / radius, dx / radius
    inside = {
        "●": 0.88 - np.hypot(x, y),
        "■": 0.74 - np.maximum(abs(x), abs(y)),
        "▲": np.minimum(y + 0.72, (0.92 - y - 1.9 * abs(x)) / 2.1),
        "◆": (1.0 - abs(x) - abs(y)) / 1.3,
        "✚": 0.9 - np.maximum(np.maximum(abs(x), abs(y)), 0.58 + np.minimum(abs(x), abs(y))),
    }[SYMBOLS[symbol]]
    drawn = inside >= -0.12
    core = inside >= max(0.1, 1 / radius) - 0.12
    return dy[drawn], dx[drawn], core[drawn]


def _draw_dots(
    canvas: NDArray[np.uint32],
    at: NDArray[np.intp],
    seen: NDArray[np.intp],
    marks: Marks,
    unit: int,
) -> None:
    size = unit * 2 if len(seen) <= _MANY else unit
    canvas.reshape(-1)[at] = marks.colors[seen]
    _grow(canvas, size)
    chosen = marks.chosen[seen]
    if not chosen.any():
        return
    top = np.zeros_like(canvas)
    top.reshape(-1)[at[chosen]] = marks.colors[seen[chosen]]
    _grow(top, size)
    rim = (top != 0).astype(np.uint32) * np.uint32(CHOSEN_RIM)
    _grow(rim, 2)
    _grow(rim, 2, -1)
    np.copyto(canvas, rim, where=rim != 0)
    np.copyto(canvas, top, where=top != 0)


def _grow(image: NDArray[np.uint32], size: int, side: int = 1) -> None:
    """Make every dot a square of `size` pixels, where there is room."""
    for _ in range(size - 1):
        for axis in (0, 1):
            view = np.moveaxis(image, axis, 0)[::side]
            target, source = view[1:], view[:-1].copy()
            np.copyto(target, source, where=target == 0)
