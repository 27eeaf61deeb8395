"""Every nucleus of a drawn slide: where it may be, its shape, and its pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .anatomy import GLAND_STEP, Anatomy, Box, Gland, Surroundings, lattice
from .noise import Array, Whole, hashed, uniform

REACH = 18
"""No pixel of a nucleus is farther from its centre."""
SPINDLE_STEP = 27
ROUND_STEP = 14
GLAND_SLOTS = 256
"""Numbers set aside for the nuclei of a gland: two layers of at most 128."""


@dataclass(frozen=True, eq=False)
class Nuclei:
    """Nuclei as columns, each ``(N,)``.

    Attributes
    ----------
    ids : ndarray
        uint32, unique on the slide.
    y, x : ndarray
        Centres in level-0 pixels.
    long, short : ndarray
        Half axes in pixels.
    angle : ndarray
        Of the long axis, radians: 0 along x, growing towards y.
    bend : ndarray
        How much the long axis is bowed, pixels at its ends.
    dark : ndarray
        Amount of haematoxylin, optical density.
    """

    ids: NDArray[np.uint32]
    y: Array
    x: Array
    long: Array
    short: Array
    angle: Array
    bend: Array
    dark: Array

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, keep: NDArray[np.bool_] | Whole) -> Nuclei:
        """Those that are kept, by mask or by index."""
        return Nuclei(*(getattr(self, column.name)[keep] for column in fields(self)))


class NucleusPlan:
    """Numbers and places of all possible nuclei of a slide.

    Parameters
    ----------
    anatomy : Anatomy

    Raises
    ------
    ValueError
        The slide is so large that 32 bits cannot number its nuclei.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        height, width = anatomy.shape
        steps = (GLAND_STEP, SPINDLE_STEP, ROUND_STEP)
        # contents of a cell before the first or after the last can still touch the slide
        self._cols = {step: width // step + 6 for step in steps}
        cells = {step: (height // step + 6) * self._cols[step] for step in steps}
        self._first_spindle = 1 + cells[GLAND_STEP] * GLAND_SLOTS
        self._first_round = self._first_spindle + cells[SPINDLE_STEP]
        if self._first_round + cells[ROUND_STEP] >= 2**32:
            raise ValueError(
                f"A synthetic slide of {height} x {width} has more nuclei than 32 bits can "
                "number. Ask for a smaller one (500,000 x 500,000 fits)."
            )

    def touching(self, box: Box) -> list[Nuclei]:
        """All nuclei that can touch a box, kind by kind, in the order in which they are stacked.

        The order of two nuclei is the same whatever the box.
        """
        anatomy = self.anatomy
        wide: Box = (box[0] - 2 * REACH, box[1] - 2 * REACH, box[2] + 2 * REACH, box[3] + 2 * REACH)
        surroundings = anatomy.surroundings(wide)
        kinds = [self._spindles(box, surroundings), self._rounds(box, surroundings)]
        rings = [self._ring(gland) for gland in surroundings.glands]
        if rings:
            kinds.append(
                Nuclei(
                    *(np.concatenate([getattr(r, f.name) for r in rings]) for f in fields(Nuclei))
                )
            )
        return [_stacked(kind.where(_touches(kind, box)), anatomy.seed) for kind in kinds]

    def _number(self, step: int, row: Whole | int, col: Whole | int) -> Whole:
        return np.asarray((row + np.int64(2)) * self._cols[step] + (col + np.int64(2)))

    def _ring(self, gland: Gland) -> Nuclei:
        """Nuclei at the base of the epithelium, upright; some glands have a second layer."""
        count = min(127, int(2 * np.pi * gland.radius / 13.5))
        layers = 1 + int(uniform(self.anatomy.seed, 60, gland.row, gland.col) < 0.45)
        slot = np.concatenate([np.arange(count) + 128 * layer for layer in range(layers)])
        layer = slot // 128

        def random(key: int) -> Array:
            return uniform(self.anatomy.seed, key, gland.row, gland.col, slot)

        turn = (slot % 128 + 0.5 * layer + 0.5 * (random(61) - 0.5)) / count
        angle = (2 * np.pi * turn).astype(np.float32)
        long = 7.5 + 3 * random(63)
        radius = gland.outline(angle) - (3.5 + long + 4 * random(62) + 14 * layer)
        ids = 1 + self._number(GLAND_STEP, gland.row, gland.col) * GLAND_SLOTS + slot
        return Nuclei(
            ids=ids.astype(np.uint32),
            y=(gland.y + radius * np.sin(angle)).astype(np.float32),
            x=(gland.x + radius * np.cos(angle)).astype(np.float32),
            long=long,
            short=4.8 + 1.5 * random(64),
            angle=angle + 0.5 * (random(65) - 0.5),
            bend=2 * (random(66) - 0.5),
            dark=0.75 + 0.35 * random(67),
        ).where(random(68) < 0.92)

    def _spindles(self, box: Box, surroundings: Surroundings) -> Nuclei:
        """Fibroblasts, along the fibres of the stroma."""
        row, col, y, x = self._scattered(SPINDLE_STEP, box, 0.8, 70)

        def random(key: int) -> Array:
            return uniform(self.anatomy.seed, key, row, col)

        phase, step = self.anatomy.fibre_phase, np.float32(2)
        rise_y, rise_x = (
            phase(y + step, x) - phase(y - step, x),
            phase(y, x + step) - phase(y, x - step),
        )
        stroma = (surroundings.stroma(y, x) > 9) & (surroundings.crowd(y, x) < 0)
        return Nuclei(
            ids=(self._first_spindle + self._number(SPINDLE_STEP, row, col)).astype(np.uint32),
            y=y,
            x=x,
            long=8 + 6 * random(72),
            short=2.4 + 1.6 * random(73),
            # a fibre runs across the slope of the phase
            angle=np.arctan2(rise_x, -rise_y) + 0.5 * (random(74) - 0.5),
            bend=5 * (random(75) - 0.5),
            dark=0.7 + 0.4 * random(76),
        ).where(stroma & (random(77) < 0.42))

    def _rounds(self, box: Box, surroundings: Surroundings) -> Nuclei:
        """Lymphocytes: dense in their clusters, a few elsewhere in the stroma."""
        row, col, y, x = self._scattered(ROUND_STEP, box, 0.7, 80)

        def random(key: int) -> Array:
            return uniform(self.anatomy.seed, key, row, col)

        radius = 5.2 + 1.4 * random(82)
        share = np.where(surroundings.crowd(y, x) > 0.04, 0.86, 0.012)
        return Nuclei(
            ids=(self._first_round + self._number(ROUND_STEP, row, col)).astype(np.uint32),
            y=y,
            x=x,
            long=radius,
            short=radius * (0.8 + 0.2 * random(83)),
            angle=np.pi * random(84),
            bend=np.zeros_like(radius),
            dark=1.05 + 0.35 * random(85),
        ).where((surroundings.stroma(y, x) > 6) & (random(86) < share))

    def _scattered(
        self, step: int, box: Box, spread: float, key: int
    ) -> tuple[Whole, Whole, Array, Array]:
        """One place in each cell of a lattice that can touch the box: row, col, y, x."""
        row, col = lattice(step, box, REACH)
        start = (1 - spread) / 2
        y = (row + start + spread * uniform(self.anatomy.seed, key, row, col)) * step
        x = (col + start + spread * uniform(self.anatomy.seed, key + 1, row, col)) * step
        return row, col, y.astype(np.float32), x.astype(np.float32)


def _touches(nuclei: Nuclei, box: Box) -> NDArray[np.bool_]:
    y0, x0, y1, x1 = box
    return np.asarray(
        (nuclei.y > y0 - REACH)
        & (nuclei.y < y1 + REACH)
        & (nuclei.x > x0 - REACH)
        & (nuclei.x < x1 + REACH)
    )


def _stacked(nuclei: Nuclei, seed: int) -> Nuclei:
    return nuclei.where(np.lexsort((nuclei.ids, hashed(seed, 90, nuclei.ids))))


def stamp(
    nuclei: Nuclei,
    y: int,
    x: int,
    ids: NDArray[np.uint32],
    stain: Array,
) -> None:
    """Draw nuclei into a block, later ones over earlier ones.

    Parameters
    ----------
    nuclei : Nuclei
        Of one kind: all are drawn in patches of one size.
    y, x : int
        Upper left corner of the block, level-0 pixels.
    ids : ndarray
        ``(h, w)`` uint32, changed in place: the id within the outline.
    stain : ndarray
        ``(h, w)`` float32, changed in place: haematoxylin with a soft edge and a dark rim.
    """
    if not len(nuclei):
        return
    height, width = ids.shape
    half = min(REACH, int(np.ceil(nuclei.long.max())) + 2)
    offset = np.arange(-half, half + 1)
    rows = np.floor(nuclei.y).astype(np.int64)[:, None, None] + offset[:, None]
    cols = np.floor(nuclei.x).astype(np.int64)[:, None, None] + offset

    def column(values: Array) -> Array:
        return values[:, None, None].astype(np.float32)

    down = (rows + np.float32(0.5)).astype(np.float32) - column(nuclei.y)
    across = (cols + np.float32(0.5)).astype(np.float32) - column(nuclei.x)
    cos, sin = column(np.cos(nuclei.angle)), column(np.sin(nuclei.angle))
    along = (across * cos + down * sin) / column(nuclei.long)
    aside = (down * cos - across * sin - column(nuclei.bend) * (along * along - 0.4)) / column(
        nuclei.short
    )
    out = along * along + aside * aside
    in_block = (rows >= y) & (rows < y + height) & (cols >= x) & (cols < x + width)
    which, at_row, at_col = np.nonzero(in_block & (out < 1.35))
    out = out[which, at_row, at_col]
    place = (rows[which, at_row, 0] - y) * width + (cols[which, 0, at_col] - x)
    short, dark = nuclei.short[which].astype(np.float32), nuclei.dark[which].astype(np.float32)
    edge = np.clip((1 - np.sqrt(out)) * short / np.float32(1.6) + np.float32(0.7), 0, 1)
    shade = edge * dark * (np.float32(0.8) + np.float32(0.25) * out)
    inside = out < 1
    flat_stain, flat_ids = stain.reshape(-1), ids.reshape(-1)
    fringe = place[~inside]
    flat_stain[fringe] = np.maximum(flat_stain[fringe], shade[~inside])
    # assignment to repeated places keeps the last value: the nucleus on top
    flat_stain[place[inside]] = shade[inside]
    flat_ids[place[inside]] = nuclei.ids[which[inside]]
