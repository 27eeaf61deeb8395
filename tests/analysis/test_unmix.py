"""Colour deconvolution gives back how much of each stain was put in."""

from __future__ import annotations

import numpy as np
import pytest

from napari_pathfm.analysis.unmix import DENSEST, STAINS, unmix


def stained(**amounts: float) -> np.ndarray:
    """One pixel that holds stains of these optical densities."""
    density = np.zeros(3)
    for name, amount in amounts.items():
        vector = np.array(STAINS[name])
        density += amount * vector / np.linalg.norm(vector)
    return np.round(255 * np.exp(-density)).astype(np.uint8)[None, None]


@pytest.mark.parametrize("stain", STAINS)
def test_a_stain_is_found_and_the_other_is_not(stain: str) -> None:
    pixel = stained(**{stain: 0.9})
    (other,) = set(STAINS) - {stain}
    assert int(unmix(pixel, stain)[0, 0]) == pytest.approx(0.9 * 255 / DENSEST, abs=4)
    assert unmix(pixel, other)[0, 0] <= 4


def test_a_mixture_is_taken_apart() -> None:
    pixel = stained(haematoxylin=0.5, eosin=0.8)
    assert int(unmix(pixel, "haematoxylin")[0, 0]) == pytest.approx(0.5 * 255 / DENSEST, abs=4)
    assert int(unmix(pixel, "eosin")[0, 0]) == pytest.approx(0.8 * 255 / DENSEST, abs=4)


def test_glass_has_none_and_black_does_not_overflow() -> None:
    image = np.array([[[255, 255, 255], [0, 0, 0]]], np.uint8)
    for stain in STAINS:
        values = unmix(image, stain)
        assert values.shape == (1, 2)
        assert values.dtype == np.uint8
        assert values[0, 0] == 0
