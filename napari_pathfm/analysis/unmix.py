"""How much of each stain is in a pixel of H&E, by colour deconvolution."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB

STAINS: dict[str, tuple[float, float, float]] = {
    "haematoxylin": (0.65, 0.70, 0.29),
    "eosin": (0.07, 0.99, 0.11),
}
"""Optical density of each in red, green and blue (Ruifrok and Johnston 2001)."""

DENSEST = 3.0
"""Optical density (natural logarithm) of a stain that is shown as 255."""


def unmix(rgb: RGB, stain: str) -> NDArray[np.uint8]:
    """Return how much of a stain each pixel has.

    Parameters
    ----------
    rgb : ndarray
        ``(..., 3)`` uint8.
    stain : str
        A key of :data:`STAINS`.

    Returns
    -------
    ndarray
        ``(...)`` uint8; 0 is none, 255 an optical density of :data:`DENSEST` or more.
    """
    red, green, blue = _tables(stain)
    amount = red[rgb[..., 0]]
    amount += green[rgb[..., 1]]
    amount += blue[rgb[..., 2]]
    return np.asarray(np.clip(amount, 0, 255), np.uint8)


@cache
def _tables(stain: str) -> NDArray[np.int16]:
    # What each value of each channel adds to the stain: deconvolution is linear in the densities.
    vectors = np.array([*STAINS.values()])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rest = np.cross(*vectors)
    inverse = np.linalg.inv(np.vstack([vectors, rest / np.linalg.norm(rest)]))
    weights = inverse[:, list(STAINS).index(stain)]
    density = -np.log(np.maximum(np.arange(256), 1) / 255)
    return np.asarray(np.round(weights[:, None] * density * 255 / DENSEST), np.int16)
