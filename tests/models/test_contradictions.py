"""Where sources contradict each other, what is right is a test that fails for the other side.

The other sides are those of programs and lists that take a figure from a hub's config, from another
model, or from a paper's abstract.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from napari_pathfm.models import timm as ours
from napari_pathfm.models.catalog import CatalogEntry, build
from napari_pathfm.models.encoder import NetworkEncoder

Entries = dict[str, CatalogEntry]
Shrink = Callable[[CatalogEntry], tuple[CatalogEntry, Any]]
Small = Callable[[str], tuple[NetworkEncoder, Any]]
Tiles = NDArray[np.uint8]

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
LUNIT = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))


def direct(network: Any, spec: Any, tiles: Tiles) -> torch.Tensor:
    """Tokens of tiles of the right size, in plain torch."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (spec.mean, spec.std))
    images = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        tokens: torch.Tensor = network.forward_features((images - mean) / std)
        return tokens


@pytest.fixture
def small(tmp_path: Path, entries: Entries, shrink: Shrink) -> Small:
    """Return a function that loads a small encoder of that name, and gives timm's network, too."""

    def load(name: str) -> tuple[NetworkEncoder, Any]:
        entry, network = shrink(entries[name])
        torch.save(network.state_dict(), tmp_path / "weights.pth")
        return ours.load(entry, tmp_path / "weights.pth", "cpu"), network

    return load


def test_uni2_h_has_681_million_parameters_not_a_billion(entries: Entries) -> None:
    network = build(entries["uni2-h"], meta=True)
    assert sum(p.numel() for p in network.parameters()) < 0.7e9
    assert tuple(network.blocks[0].mlp.fc1.weight.shape) == (8192, 1536)


@pytest.mark.parametrize(("name", "prefix"), [("virchow", 1), ("virchow2", 5), ("h0-mini", 5)])
def test_vector_is_the_class_token_and_the_mean_of_the_patches_alone(
    small: Small, tiles: Tiles, name: str, prefix: int
) -> None:
    encoder, network = small(name)
    found = encoder.embed(tiles[:2])
    tokens = direct(network, encoder.spec, tiles[:2])
    right = torch.cat([tokens[:, 0], tokens[:, prefix:].mean(1)], 1).numpy()
    np.testing.assert_allclose(found, right, atol=1e-4)
    np.testing.assert_allclose(
        encoder.tokens(tiles[:2]), tokens[:, prefix:].reshape(2, 16, 16, 48), atol=1e-4
    )
    if prefix > 1:  # registers taken for patches
        wrong = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1).numpy()
        assert np.abs(found - wrong).max() > 0.01


@pytest.mark.parametrize("name", ["h-optimus-0", "h-optimus-1", "uni2-h"])
def test_vector_is_the_class_token_alone(small: Small, tiles: Tiles, name: str) -> None:
    encoder, network = small(name)
    tokens = direct(network, encoder.spec, tiles[:2])
    np.testing.assert_allclose(encoder.embed(tiles[:2]), tokens[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "prefix"), [("vits16", 1), ("vits8", 1), ("vitb16", 1), ("vitb8", 1), ("vitl14", 5)]
)
def test_kaikos_smaller_models_have_no_registers(
    small: Small, tiles: Tiles, name: str, prefix: int
) -> None:
    encoder, network = small(f"kaiko-{name}")
    tokens = direct(network, encoder.spec, tiles[:1])
    side = 224 // encoder.spec.patch
    patches = tokens[:, prefix:].reshape(1, side, side, 48)
    np.testing.assert_allclose(encoder.tokens(tiles[:1]), patches, atol=1e-4)


@pytest.mark.parametrize("name", ["vits8", "vitl14"])
def test_kaikos_mean_is_not_the_one_timm_has_for_the_architecture(
    entries: Entries, name: str
) -> None:
    entry = entries[f"kaiko-{name}"]
    tag = {"vits8": ".dino", "vitl14": ".lvd142m"}[name]
    config: Any = timm.get_pretrained_cfg(f"{entry.arch}{tag}")
    assert (config.mean, config.std) == IMAGENET
    assert (entry.encoder.mean, entry.encoder.std) == HALF


@pytest.mark.parametrize("name", ["pathorchestra", "patho3dmatrix-vision"])
def test_pathorchestra_and_patho3dmatrix_are_large_not_giant(entries: Entries, name: str) -> None:
    network = build(entries[name], meta=True)
    tokens = network.forward_features(torch.zeros(1, 3, 224, 224, device="meta"))
    assert tuple(tokens.shape) == (1, 1 + 14 * 14, 1024)
    assert network.patch_embed.patch_size == (16, 16)


def test_gigapath_sees_the_middle_of_a_tile_in_patches_of_16(small: Small, tiles: Tiles) -> None:
    encoder, network = small("gigapath")
    frame = np.pad(tiles[:2], ((0, 0), (16, 16), (16, 16), (0, 0)))
    tokens = direct(network, encoder.spec, tiles[:2])
    assert tokens.shape[1] == 1 + 14 * 14
    np.testing.assert_allclose(encoder.embed(frame), tokens[:, 0], atol=1e-4)
    assert encoder.tokens(frame).shape == (2, 16, 16, 48), "tokens are those of the whole tile"
    assert "224 of 256 px" in encoder.key.preprocessing


def test_lunits_tiles_are_normalised_by_their_own_mean(entries: Entries) -> None:
    for name in ("lunit-vits8", "lunit-vits16"):
        spec = entries[name].encoder
        assert (spec.mean, spec.std) == LUNIT != IMAGENET


def test_ctranspath_in_histogpt_is_another_encoder_by_its_mean_alone(entries: Entries) -> None:
    plain, theirs = entries["ctranspath"], entries["ctranspath-histogpt"]
    assert (plain.encoder.mean, plain.encoder.std) == IMAGENET
    assert (theirs.encoder.mean, theirs.encoder.std) == CLIP
    alike = {key: getattr(plain.spec, key) for key in ("name", "mean", "std", "source", "note")}
    assert replace(theirs.encoder, **alike) == plain.spec
    assert (plain.weights, plain.arch, plain.loader) == (
        theirs.weights,
        theirs.arch,
        theirs.loader,
    )


def test_paper_of_hipt(entries: Entries) -> None:
    citation = entries["hipt-256"].spec.citation
    assert "2206.02647" in citation
    assert "2206.02680" not in citation
