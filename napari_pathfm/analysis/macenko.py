"""Macenko's stain normalisation (Macenko et al., ISBI 2009, doi:10.1109/ISBI.2009.5193250).

In optical density a pixel is a sum of its stains. The plane in which the pixels of a slide lie, and
the two directions at its rim, are the stains of that slide; their amounts are put into the stains
of another slide, scaled so that the deepest of both agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .recolour import Floats, Pixels, Recolour, in_pieces

RIM = 1.0
"""Percent of the pixels that lie beyond each of the two stains."""

DEEPEST = 99.0
"""Percentile of the amounts of a stain that counts as its deepest."""

FAINTEST = 0.15
"""Pixels of a smaller optical density (natural logarithm, in green) are not looked at."""

SMALLEST_ANGLE = 8.0
"""Degrees between two stains; closer ones are one stain and its noise."""


@dataclass(frozen=True, eq=False)
class MacenkoLook:
    """The two stains of a slide.

    Attributes
    ----------
    stains : ndarray
        ``(2, 3)`` float64: unit vectors of optical density in red, green and blue; haematoxylin
        first, which absorbs more red.
    deepest : ndarray
        ``(2,)`` float64: the largest amounts of them.
    glass : ndarray
        ``(3,)`` float64: colour of the empty slide, 0 to 255.
    """

    stains: Floats
    deepest: Floats
    glass: Floats

    @property
    def numbers(self) -> list[float]:
        """All numbers that say how slides look that are made to look like this one."""
        return [*self.stains.ravel(), *self.deepest, *self.glass]

    def to(self, target: MacenkoLook) -> Recolour:
        """Return what gives pixels with this look the look of `target`."""
        scale = target.deepest / self.deepest
        turn = np.linalg.pinv(self.stains) @ (scale[:, None] * target.stains)
        shift = np.log(target.glass) - np.log(self.glass) @ turn
        matrix = turn.astype(np.float32)

        def recolour(pixels: Pixels) -> NDArray[np.float32]:
            light = np.log(np.maximum(pixels, np.float32(1)))
            light = light @ matrix
            light += shift.astype(np.float32)
            return np.asarray(np.exp(light, out=light))

        return in_pieces(recolour)


def macenko(pixels: Pixels, glass: Floats) -> MacenkoLook:
    """Find the stains of a slide.

    Parameters
    ----------
    pixels : ndarray
        ``(N, 3)`` uint8, of all over its tissue.
    glass : ndarray
        ``(3,)`` colour of the empty slide.

    Raises
    ------
    ValueError
        There is no tissue, or only one stain.
    """
    density = np.log(glass) - np.log(np.maximum(pixels, 1).astype(np.float64))
    density = density[density[:, 1] > FAINTEST]
    if len(density) < 100:
        raise ValueError(
            "There is too little tissue to see its stains. Embed the slide as it was scanned."
        )
    _, vectors = np.linalg.eigh(np.cov(density.T))
    plane = vectors[:, :0:-1]  # the two directions in which pixels differ most
    plane = plane * np.sign(plane.sum(0))
    along, across = (density @ plane).T
    angles = np.percentile(np.arctan2(across, along), (RIM, 100 - RIM))
    if np.degrees(angles[1] - angles[0]) < SMALLEST_ANGLE:
        raise ValueError(
            "The slide has one stain only, and Macenko's method needs two. Take Reinhard's, or "
            "embed the slide as it was scanned."
        )
    stains = np.stack([np.cos(angles), np.sin(angles)], 1) @ plane.T
    stains = stains[np.argsort(-stains[:, 0] / stains[:, 1])]
    amounts = density @ np.linalg.pinv(stains)
    return MacenkoLook(stains, np.percentile(amounts, DEEPEST, axis=0), np.asarray(glass, float))
