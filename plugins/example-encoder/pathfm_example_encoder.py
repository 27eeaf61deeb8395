"""An encoder without weights: the colour and texture of a tile, cell by cell.

Stains add up as optical densities (the law of Beer and Lambert), so colours are measured as such.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.models.base import EncoderSpec

CELL = 16
"""Side of a cell in pixels."""

SPEC = EncoderSpec(
    name="example-colour-texture",
    params=0,
    licence="BSD-3-Clause",
    commercial=True,
    gate="",
    source="https://github.com/napari-pathfm/napari-pathfm/tree/main/plugins/example-encoder",
    tile_px=224,
    mpp=0.5,
    dim=16,
    token_dim=8,
    patch=CELL,
    prefix_tokens=0,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    interpolation="bilinear",
    pooling="own",
    precision="float32",
    any_size=True,
)


def load(weights: Path | None = None, device: str | None = None) -> ColourTexture:
    """Make the encoder; there are no weights to load, and it always runs on the processor."""
    return ColourTexture()


class ColourTexture:
    """Mean and spread of the densities of red, green and blue, and how often they change."""

    spec = SPEC
    key = FeatureKey(SPEC.name, "mean and spread of cells", "none", f"density, cells of {CELL} px")
    device = "cpu"

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Measure each cell of ``(B, H, W, 3)`` uint8 tiles.

        Returns
        -------
        ndarray
            ``(B, H // 16, W // 16, 8)`` float32: means of red, green and blue optical density,
            their standard deviations, mean absolute slope downwards and to the right.
        """
        _, height, width, _ = tiles.shape
        tiles = tiles[:, : height // CELL * CELL, : width // CELL * CELL]
        density = -np.log((tiles.astype(np.float32) + 1) / 256)
        slopes = np.abs(np.stack(np.gradient(density.mean(-1), axis=(1, 2)), -1))
        density, slopes = _cells(density), _cells(slopes)
        measured = (density.mean((2, 4)), density.std((2, 4)), slopes.mean((2, 4)))
        return np.concatenate(measured, -1).astype(np.float32)

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mean and standard deviation of a tile's cells: ``(B, 16)`` float32."""
        cells = self.tokens(tiles)
        return np.concatenate([cells.mean((1, 2)), cells.std((1, 2))], -1)


def _cells(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut ``(B, H, W, C)`` into ``(B, H / 16, 16, W / 16, 16, C)``."""
    count, height, width, channels = pixels.shape
    return pixels.reshape(count, height // CELL, CELL, width // CELL, CELL, channels)
