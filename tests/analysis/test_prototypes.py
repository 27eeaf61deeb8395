"""Patch tokens of whole images, and the prototypes that are made of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.prototypes import TOKENS, Prototypes, image_tokens
from napari_pathfm.models.base import ExampleSegmenter
from napari_pathfm.models.catalog import encoder_specs, get_encoder
from napari_pathfm.models.encoder import NetworkEncoder


class MeanColour(NetworkEncoder):
    """Tokens are mean colours of patches, so that it is known what they have to be."""

    def __init__(self, any_size: bool, tile_px: int = 64, crop_px: int = 0) -> None:
        self.spec = replace(
            encoder_specs()["efficientnet-lite0"],
            tile_px=tile_px,
            crop_px=crop_px,
            patch=16,
            token_dim=3,
            any_size=any_size,
        )
        self.device = "cpu"

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:  # type: ignore[override]
        spec = self.spec
        if not spec.any_size:
            assert tiles.shape[1:3] == (spec.tile_px, spec.tile_px)
        edge = (spec.tile_px - spec.crop_px) // 2 if spec.crop_px else 0
        inner = tiles[:, edge : tiles.shape[1] - edge, edge : tiles.shape[2] - edge]
        side = inner.shape[1] // 16
        patches = inner.reshape(len(tiles), side, 16, side, 16, 3)
        return patches.mean((2, 4)).astype(np.float32)


def gradient(px: int = 448) -> NDArray[np.uint8]:
    y, x = np.mgrid[:px, :px] * 255 // px
    return np.stack([y, x, 255 - y], -1).astype(np.uint8)


@pytest.mark.parametrize(
    ("any_size", "tile_px", "crop_px"), [(True, 224, 0), (False, 64, 0), (False, 80, 64)]
)
def test_tokens_lie_where_they_belong(any_size: bool, tile_px: int, crop_px: int) -> None:
    tokens = image_tokens(MeanColour(any_size, tile_px, crop_px), gradient())
    assert tokens.shape == (TOKENS, TOKENS, 3)
    expected = gradient().reshape(TOKENS, 16, TOKENS, 16, 3).mean((1, 3))
    np.testing.assert_allclose(tokens, expected, atol=1.5)


@cache
def green_among_red() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    rgb = np.zeros((448, 448, 3), np.uint8)
    rgb[:] = 200, 30, 60
    rgb[:, 224:] = 60, 30, 200  # what is around looks like two things
    mask = np.zeros((448, 448), bool)
    mask[128:320, 96:352] = True
    rgb[mask] = 40, 180, 40
    return rgb, mask


def test_like_is_found_among_unlike() -> None:
    model = Prototypes(MeanColour(any_size=True))
    assert isinstance(model, ExampleSegmenter)
    rgb, mask = green_among_red()
    answer = model.learn([green_among_red()])
    likely = answer(rgb[::-1, ::-1].copy())
    assert (likely.shape, likely.dtype) == ((448, 448), np.float32)
    assert 0 <= likely.min() < 0.01 < 0.99 < likely.max() <= 1
    assert ((likely > 0.5) != mask[::-1, ::-1]).mean() < 0.05
    assert answer(rgb[:300, :200]).shape == (300, 200)


def test_too_little_to_learn_from_is_said() -> None:
    model = Prototypes(MeanColour(any_size=True))
    rgb, mask = green_among_red()
    speck, hole = np.zeros_like(mask), np.ones_like(mask)
    speck[5:9, 5:9], hole[5:9, 5:9] = True, False
    for examples in ([], [(rgb, speck)], [(rgb, hole)]):
        with pytest.raises(ValueError, match="too little of what is meant"):
            model.learn(examples)
    model.learn([(rgb, speck), (rgb, mask)])


def test_the_encoder_in_the_box_has_tokens() -> None:
    encoder = get_encoder(device="cpu")
    assert image_tokens(encoder, gradient(200)).shape == (TOKENS, TOKENS, 1280)
    assert Prototypes(encoder).name == "prototypes of efficientnet-lite0"
