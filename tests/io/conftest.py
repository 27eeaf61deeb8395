"""Small slides that the tests draw themselves, as fixtures that hand out functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_pathfm.core.slide import RGB


def _picture(height: int, width: int, seed: int = 0) -> RGB:
    """Smooth colours that look alike at every size, with some grain for JPEG to work on."""
    grain = np.random.default_rng(seed).integers(0, 12, (height, width, 1), np.uint8)
    y, x = np.linspace(0, 50, height)[:, None], np.linspace(0, 70, width)[None]
    waves = [np.sin(y) + 0 * x, np.sin(x) + 0 * y, np.sin(y) * np.cos(x)]
    return np.stack([(wave * 90 + 120).astype(np.uint8) for wave in waves], -1) + grain


def _write_slide(
    path: Path,
    shapes: tuple[tuple[int, int], ...] = ((999, 1501), (499, 750), (249, 375)),
    tile: int = 128,
    mpp: float | None = 0.5,
    compression: str | None = "jpeg",
) -> list[RGB]:
    """Write a pyramidal tiled TIFF and return what its levels were before compression."""
    levels = [_picture(*shape, seed=n) for n, shape in enumerate(shapes)]
    resolution = {} if mpp is None else {"resolution": (10000 / mpp, 10000 / mpp)}
    unit = "NONE" if mpp is None else "CENTIMETER"
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            file.write(
                level,
                tile=(tile, tile),
                photometric="rgb",
                compression=compression,
                resolutionunit=unit,
                metadata=None,
                subfiletype=1 if number else 0,
                **resolution,
            )
    return levels


@pytest.fixture(scope="session")
def picture() -> Callable[..., RGB]:
    return _picture


@pytest.fixture(scope="session")
def write_slide() -> Callable[..., list[RGB]]:
    return _write_slide
