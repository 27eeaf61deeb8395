"""Stain normalisation: the reference's numbers, the time of a tile, and how close slides come.

``python -m benchmarks.stains [--json]``. The reference is the median over a folder of H&E slides
with a folder of 256 px tiles each.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_pathfm.analysis.macenko import MacenkoLook, macenko
from napari_pathfm.analysis.recolour import Pixels
from napari_pathfm.analysis.reinhard import ReinhardLook, reinhard
from napari_pathfm.analysis.stain_normalise import FITS, TYPICAL
from napari_pathfm.analysis.stains import glass_colour

from ._measure import find_material, main, seconds_a_pass

EVERY = 8
"""Of the pixels of a tile, along each axis."""


def measure() -> dict[str, Any]:
    """Find the reference anew, and give every slide its look."""
    slides = [_pixels(folder) for folder in sorted(find_material("pretrain").iterdir())]
    slides = [pixels for pixels in slides if len(pixels)]
    return {"slides": len(slides), "reference": _reference(slides), "methods": _methods(slides)}


def _pixels(folder: Path) -> Pixels:
    tiles = [np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.glob("*.jpg"))]
    parts = [tile[::EVERY, ::EVERY].reshape(-1, 3) for tile in tiles]
    return np.concatenate([np.zeros((0, 3), np.uint8), *parts])


def _reference(slides: list[Pixels]) -> dict[str, list[object]]:
    stains: list[MacenkoLook] = [macenko(each, glass_colour(each)) for each in slides]
    colours: list[ReinhardLook] = [reinhard(each, glass_colour(each)) for each in slides]
    numbers = {
        "macenko_stains": [look.stains for look in stains],
        "macenko_deepest": [look.deepest for look in stains],
        "reinhard_mean": [look.mean for look in colours],
        "reinhard_spread": [look.spread for look in colours],
    }
    medians = {name: np.median(each, axis=0) for name, each in numbers.items()}
    medians["macenko_stains"] /= np.linalg.norm(medians["macenko_stains"], axis=1, keepdims=True)
    return {name: each.round(4).tolist() for name, each in medians.items()}


def _methods(slides: list[Pixels]) -> dict[str, dict[str, float]]:
    tile = np.resize(slides[0], (8, 224, 224, 3))
    found = {}
    for method, fit in FITS.items():
        turns = [fit(each, glass_colour(each)).to(TYPICAL[method]) for each in slides]
        before = np.array([each.mean(0) for each in slides])
        after = np.array([turn(each).mean(0) for turn, each in zip(turns, slides, strict=True)])
        found[method] = {
            "ms_a_tile": round(seconds_a_pass(partial(turns[0], tile)) / len(tile) * 1e3, 3),
            "spread_of_slides_before": round(float(before.std(0).mean()), 2),
            "spread_of_slides_after": round(float(after.std(0).mean()), 2),
        }
    return found


if __name__ == "__main__":
    main("stains", measure)
