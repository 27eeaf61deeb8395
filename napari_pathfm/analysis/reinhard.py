"""Reinhard's colour transfer (Reinhard et al. 2001, doi:10.1109/38.946629) for stained tissue.

Mean and spread of the tissue's colours in l-alpha-beta, whose axes are nearly independent, become
those of another slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .recolour import Floats, Pixels, Recolour, in_pieces

CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]).T
"""Red, green and blue to the cones' long, middle and short waves, as in the paper."""

AXES = (np.diag([1, 1, 1]) / np.sqrt([3, 6, 2])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
OPPONENT = AXES.T
"""Logarithms of those to l, alpha and beta."""

FAINTEST = 0.15
"""Pixels of a smaller optical density (natural logarithm, in green) count as glass."""

LEAST_SPREAD = 1e-3
"""Where all pixels are alike their spread is not enlarged."""


@dataclass(frozen=True, eq=False)
class ReinhardLook:
    """Colours of the tissue of a slide.

    Attributes
    ----------
    mean, spread : ndarray
        ``(3,)`` float64: in l, alpha and beta of natural logarithms.
    glass : ndarray
        ``(3,)`` float64: colour of the empty slide, 0 to 255.
    """

    mean: Floats
    spread: Floats
    glass: Floats

    @property
    def numbers(self) -> list[float]:
        """All numbers that say how slides look that are made to look like this one."""
        return [*self.mean, *self.spread]

    def to(self, target: ReinhardLook) -> Recolour:
        """Return what gives pixels with this look the look of `target`.

        Glass stays as it is, and what is nearly glass changes little: the paper's transfer would
        tint it, for it is far from the mean of the tissue.
        """
        scale = target.spread / np.maximum(self.spread, LEAST_SPREAD)
        back = np.linalg.inv(OPPONENT)
        turn = (OPPONENT * scale @ back).astype(np.float32)
        shift = ((target.mean - self.mean * scale) @ back).astype(np.float32)
        cones, colours = CONES.astype(np.float32), np.linalg.inv(CONES).astype(np.float32)
        glass = float(self.glass[1])
        soft = glass * (1 - np.exp(-FAINTEST))

        def recolour(pixels: Pixels) -> NDArray[np.float32]:
            given = np.maximum(pixels, np.float32(1))
            light = np.log(given @ cones) @ turn
            light += shift
            made = np.exp(light, out=light) @ colours
            weight = np.clip((glass - given[:, 1:2]) / soft, 0, 1)
            made -= given
            made *= weight
            made += given
            return np.asarray(made)

        return in_pieces(recolour)


def reinhard(pixels: Pixels, glass: Floats) -> ReinhardLook:
    """Find mean and spread of the colours of a slide's tissue.

    Parameters
    ----------
    pixels : ndarray
        ``(N, 3)`` uint8, of all over its tissue.
    glass : ndarray
        ``(3,)`` colour of the empty slide.

    Raises
    ------
    ValueError
        There is no tissue.
    """
    tissue = pixels[pixels[:, 1] < glass[1] * np.exp(-FAINTEST)]
    if len(tissue) < 100:
        raise ValueError(
            "There is too little tissue to see its colours. Embed the slide as it was scanned."
        )
    look = np.log(np.maximum(tissue, 1).astype(np.float64) @ CONES) @ OPPONENT
    return ReinhardLook(look.mean(0), look.std(0), np.asarray(glass, float))
