"""Where tissue, fat, glands, lymphocyte clusters and the pen mark of a drawn slide lie.

Every structure is a function of place: it is asked on a grid (``y`` of shape ``(h, 1)``, ``x`` of
shape ``(1, w)``) to colour pixels, and at points (``(N,)`` both) to decide where a nucleus may be.
Lengths are level-0 pixels; a pixel is drawn as 0.5 um.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .noise import Array, Noise, Whole, uniform

Box = tuple[float, float, float, float]
"""``(y0, x0, y1, x1)`` in level-0 pixels."""

GLAND_STEP = 275
"""Distance of gland centres."""
GLAND_REACH = 117
"""No gland reaches farther from its centre, so that neighbours keep apart."""
CLUSTER_STEP = 900
CLUSTER_REACH = 330
FAT_STEP = 135
FAT_RADIUS = 88
"""No adipocyte is larger."""


def lattice(step: float, box: Box, reach: float) -> tuple[Whole, Whole]:
    """Cells of a square lattice whose contents can touch a box, as flat rows and columns.

    Parameters
    ----------
    step : float
        Side of a cell.
    box : tuple of float
        ``(y0, x0, y1, x1)``.
    reach : float
        How far contents stretch beyond the cell.
    """
    y0, x0, y1, x1 = box
    rows = np.arange(int((y0 - reach) // step), int((y1 + reach) // step) + 1)
    cols = np.arange(int((x0 - reach) // step), int((x1 + reach) // step) + 1)
    row, col = np.meshgrid(rows, cols, indexing="ij")
    return row.ravel(), col.ravel()


@dataclass(frozen=True, eq=False)
class Gland:
    """A ring of epithelium around a lumen.

    Attributes
    ----------
    row, col : int
        Its cell in the lattice.
    y, x : float
        Centre.
    radius, wall : float
        Mean radius, and thickness of the epithelium.
    waves : tuple of (int, float, float)
        Harmonics of the outline: order, amplitude (fraction of the radius), phase.
    secretion : float
        How much pink the lumen holds, 0 to 1.
    """

    row: int
    col: int
    y: float
    x: float
    radius: float
    wall: float
    waves: tuple[tuple[int, float, float], ...]
    secretion: float

    def depth(self, y: Array, x: Array) -> Array:
        """Distance inwards from the outline: 0 on it, negative outside."""
        dy, dx = y - np.float32(self.y), x - np.float32(self.x)
        distance = np.sqrt(dy * dy + dx * dx) + np.float32(1e-3)
        # harmonics as powers of a unit number: no trigonometry a pixel
        unit = (dx + 1j * dy).astype(np.complex64) / distance
        outline, power, order = np.ones_like(distance), unit, 1
        for wave, amplitude, phase in self.waves:
            while order < wave:
                power, order = power * unit, order + 1
            turned = power.real * np.float32(np.cos(phase)) - power.imag * np.float32(np.sin(phase))
            outline += np.float32(amplitude) * turned
        return np.asarray(outline * np.float32(self.radius) - distance, np.float32)

    def outline(self, angle: Array) -> Array:
        """Radius of the outline at angles in radians (0 along x, growing towards y)."""
        total = np.ones_like(angle)
        for wave, amplitude, phase in self.waves:
            total += np.float32(amplitude) * np.cos(wave * angle + np.float32(phase))
        return total * np.float32(self.radius)


@dataclass(frozen=True)
class Cluster:
    """A round crowd of lymphocytes."""

    y: float
    x: float
    radius: float


class Anatomy:
    """All structures of one drawn slide.

    Parameters
    ----------
    shape : tuple of int
        ``(height, width)`` of level 0.
    seed : int
    """

    def __init__(self, shape: tuple[int, int], seed: int) -> None:
        self.shape, self.seed = shape, seed
        size = float(np.sqrt(shape[0] * shape[1]))
        self._size = size
        self._outline = (
            (0.13, Noise(size / 3, seed + 1)),
            (0.04, Noise(size / 10, seed + 2)),
            (6 / size, Noise(40, seed + 3)),
            (2 / size, Noise(9, seed + 3)),
        )
        self._fat_edge, self._fat_spots = Noise(size / 9, seed + 4), Noise(2600, seed + 5)
        self._glandular = Noise(1500, seed + 6)
        self._cluster_edge = Noise(38, seed + 7)
        self._phase = ((26.0, Noise(520, seed + 8)), (3.0, Noise(130, seed + 9)))
        angle = 2 * np.pi * float(uniform(seed, 10))
        self._fat_at = (0.5 + 0.27 * np.sin(angle), 0.5 + 0.27 * np.cos(angle))
        self._grain = 2 * np.pi * float(uniform(seed, 11))

    def tissue(self, y: Array, x: Array) -> Array:
        """About the distance inwards from the tissue's edge, negative on glass."""
        height, width = self.shape
        down, across = (y / height - 0.5) / 0.5, (x / width - 0.5) / 0.5
        inside = np.float32(0.8) - np.sqrt(down * down + across * across)
        for amount, noise in self._outline:
            inside = inside + np.float32(amount) * noise(y, x)
        return inside * np.float32(self._size / 2)

    def fat_zone(self, y: Array, x: Array) -> Array:
        """About the distance inwards into fat, in pixels: one large lobe, and spots anywhere."""
        height, width = self.shape
        down = y / height - np.float32(self._fat_at[0])
        across = x / width - np.float32(self._fat_at[1])
        lobe = np.float32(0.17) - np.sqrt(down * down + across * across)
        lobe = lobe + np.float32(0.04) * self._fat_edge(y, x)
        spots = (self._fat_spots(y, x) - np.float32(1.6)) * np.float32(900)
        return np.asarray(np.maximum(lobe * np.float32(self._size), spots), np.float32)

    def fat(self, y: Array, x: Array, box: Box) -> Array | None:
        """Distance inwards from the membrane of an adipocyte, negative elsewhere.

        Adipocytes are cells of a Voronoi diagram with round corners (Worley 1996): the distance
        to the second nearest centre less that to the nearest.

        Parameters
        ----------
        y, x : ndarray
            Places within `box`.
        box : tuple of float
            ``(y0, x0, y1, x1)``.

        Returns
        -------
        ndarray or None
            ``None`` if no adipocyte reaches the box.
        """
        row, col = lattice(FAT_STEP, box, 1.5 * FAT_STEP)
        center_y = (row + 0.5 + 0.7 * (uniform(self.seed, 20, row, col) - 0.5)) * FAT_STEP
        center_x = (col + 0.5 + 0.7 * (uniform(self.seed, 21, row, col) - 0.5)) * FAT_STEP
        center_y, center_x = center_y.astype(np.float32), center_x.astype(np.float32)
        is_fat = (self.fat_zone(center_y, center_x) > 0) & (self.tissue(center_y, center_x) > 90)
        if not is_fat.any():
            return None
        shape = np.broadcast_shapes(y.shape, x.shape)
        first, second, other = (np.full(shape, 1e6, np.float32) for _ in range(3))
        for at_y, at_x, fat in zip(center_y, center_x, is_fat, strict=True):
            near = _near(y, x, at_y, at_x, FAT_RADIUS + 60)
            if near is None:
                continue
            window, distance = near
            if fat:
                second[window] = np.minimum(second[window], np.maximum(first[window], distance))
                first[window] = np.minimum(first[window], distance)
            else:  # it only limits its neighbours
                other[window] = np.minimum(other[window], distance)
        wall, bulge = (np.minimum(second, other) - first) / 2, FAT_RADIUS - first
        # a smooth minimum rounds the corners; membranes are 2 x 1.5 pixels thick
        corner = np.maximum(0, 1 - np.abs(wall - bulge) / 24)
        return np.asarray(np.minimum(wall, bulge) - 6 * corner * corner - 1.5, np.float32)

    def glands(self, box: Box) -> list[Gland]:
        """Glands that can touch a box ``(y0, x0, y1, x1)``."""
        row, col = lattice(GLAND_STEP, box, GLAND_REACH + GLAND_STEP / 2)

        def number(key: int) -> Array:
            return uniform(self.seed, key, row, col)

        shift = 0.5 * (row % 2)  # every other row is moved: hexagonal, as glands pack
        y = ((row + 0.5 + 0.16 * (number(30) - 0.5)) * GLAND_STEP).astype(np.float32)
        x = ((col + shift + 0.16 * (number(31) - 0.5)) * GLAND_STEP).astype(np.float32)
        exists = (
            (self.tissue(y, x) > 150)
            & (self.fat_zone(y, x) < -GLAND_REACH - FAT_RADIUS)
            & (self._glandular(y, x) > -0.55)
            & (number(32) < 0.93)
        )
        amplitudes = [0.24 * number(35), 0.1 * number(36), 0.05 * number(37)]
        radius = np.minimum(66 + 40 * number(33), GLAND_REACH / (1 + sum(amplitudes)))
        wall = 34 + 10 * number(34)
        phases = [2 * np.pi * number(38 + k) for k in range(3)]
        secretion = np.maximum(0, 2 * number(41) - 1)
        return [
            Gland(
                int(row[i]),
                int(col[i]),
                float(y[i]),
                float(x[i]),
                float(radius[i]),
                float(wall[i]),
                tuple(
                    (order, float(a[i]), float(p[i]))
                    for order, a, p in zip((2, 3, 5), amplitudes, phases, strict=True)
                ),
                float(secretion[i]),
            )
            for i in np.flatnonzero(exists)
        ]

    def clusters(self, box: Box) -> list[Cluster]:
        """Lymphocyte clusters that can touch a box ``(y0, x0, y1, x1)``."""
        row, col = lattice(CLUSTER_STEP, box, CLUSTER_REACH)
        y = ((row + 0.2 + 0.6 * uniform(self.seed, 50, row, col)) * CLUSTER_STEP).astype(np.float32)
        x = ((col + 0.2 + 0.6 * uniform(self.seed, 51, row, col)) * CLUSTER_STEP).astype(np.float32)
        exists = (self.tissue(y, x) > 160) & (uniform(self.seed, 52, row, col) < 0.6)
        radius = 110 + 160 * uniform(self.seed, 53, row, col)
        return [Cluster(float(y[i]), float(x[i]), float(radius[i])) for i in np.flatnonzero(exists)]

    def surroundings(self, box: Box) -> Surroundings:
        """Collect what can touch a box."""
        return Surroundings(self, box, self.glands(box), self.clusters(box))

    def ragged(self, y: Array, x: Array) -> Array:
        """What makes the outline of a lymphocyte cluster uneven."""
        return np.float32(0.12) * self._cluster_edge(y, x)

    def fibre_phase(self, y: Array, x: Array) -> Array:
        """A smooth height whose contour lines are the fibres of the stroma."""
        tilt = y * np.float32(np.sin(self._grain) / 9) + x * np.float32(np.cos(self._grain) / 9)
        for amount, noise in self._phase:
            tilt = tilt + np.float32(amount) * noise(y, x)
        return tilt

    def pen(self, y: Array, x: Array) -> Array:
        """Distance inwards from the edge of the pen mark, negative outside it."""
        height, width = self.shape
        half = np.float32(min(900.0, 0.022 * min(height, width)))
        along = np.clip(x / width, 0.07, 0.5)
        middle = height * (0.30 - 0.42 * along + 0.03 * np.sin(23 * along))
        slope = (-0.42 + 0.69 * np.cos(23 * along)) * height / width
        across = (y - middle) / np.sqrt(1 + slope * slope)
        beyond = x - along * width
        return np.asarray(half - np.hypot(across, beyond), np.float32)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """All structures that can touch a box; asked only for places within it.

    Attributes
    ----------
    anatomy : Anatomy
    box : Box
    glands : list of Gland
    clusters : list of Cluster
    """

    anatomy: Anatomy
    box: Box
    glands: list[Gland]
    clusters: list[Cluster]

    def crowd(self, y: Array, x: Array) -> Array:
        """Positive within a lymphocyte cluster; about 1 at its centre."""
        inside = np.full(np.broadcast_shapes(y.shape, x.shape), -10, np.float32)
        for cluster in self.clusters:
            distance = np.hypot(y - np.float32(cluster.y), x - np.float32(cluster.x))
            np.maximum(inside, 1 - distance / np.float32(cluster.radius), out=inside)
        return inside + self.anatomy.ragged(y, x) if self.clusters else inside

    def stroma(self, y: Array, x: Array) -> Array:
        """About the distance at points ``(N,)`` to what is not stroma; negative elsewhere."""
        distance = self.anatomy.tissue(y, x)
        for gland in self.glands:
            np.minimum(distance, -gland.depth(y, x), out=distance)
        fat = self.anatomy.fat(y, x, self.box)
        # membranes are thinner than a nucleus: beside an adipocyte it may touch the outline
        return distance if fat is None else np.minimum(distance, 6.5 - fat)


def _near(
    y: Array, x: Array, at_y: float, at_x: float, reach: float
) -> tuple[tuple[slice, ...], Array] | None:
    """Window of a grid (all of a list of points) around a place, and the distances in it."""
    if y.ndim == 1:
        return (slice(None),), np.hypot(y - at_y, x - at_x)
    (top, bottom) = np.searchsorted(y[:, 0], (at_y - reach, at_y + reach))
    (left, right) = np.searchsorted(x[0], (at_x - reach, at_x + reach))
    if top == bottom or left == right:
        return None
    window = slice(top, bottom), slice(left, right)
    return window, np.hypot(y[window[0]] - at_y, x[:, window[1]] - at_x)
