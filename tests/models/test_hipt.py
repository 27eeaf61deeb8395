"""HIPT's upper level is DINO's vision transformer over a region's tiles."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from napari_pathfm.models.base import ModelError, SlideModel
from napari_pathfm.models.catalog import CatalogEntry
from napari_pathfm.models.hipt import Regions, build, load
from napari_pathfm.models.keys import hipt_256


class Embed(nn.Module):
    """Takes the place of timm's patches."""

    def __init__(self, phi: nn.Module) -> None:
        super().__init__()
        self.phi = phi

    def forward(self, images: Tensor) -> Tensor:
        return self.phi(images)  # type: ignore[no-any-return]


@pytest.fixture
def network(entries: dict[str, CatalogEntry]) -> Regions:
    torch.manual_seed(0)
    made = build(entries["hipt-4k"])
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1)
    return made


@pytest.fixture
def reference(network: Regions) -> nn.Module:
    """timm's transformer with the same weights, its positions resampled as HIPT's lower level's."""
    made = timm.models.vision_transformer.VisionTransformer(
        img_size=256,
        patch_size=16,
        embed_dim=192,
        depth=6,
        num_heads=6,
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    ).eval()
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("phi.")}
    missing = made.load_state_dict(hipt_256(state), strict=False)
    assert {key.split(".")[0] for key in missing.missing_keys} == {"patch_embed"}
    assert not missing.unexpected_keys
    made.patch_embed = Embed(network.phi)
    return made


GRID = torch.cartesian_prod(torch.arange(16), torch.arange(16))


def test_a_region_is_what_timm_gives(network: Regions, reference: nn.Module) -> None:
    tiles = torch.randn(256, 384)
    with torch.inference_mode():
        expected = reference.forward_features(tiles[None])[0, 0]  # type: ignore[operator]
        torch.testing.assert_close(network(tiles, GRID), expected, rtol=1e-4, atol=1e-4)
        # The same region elsewhere, and a slide of two.
        torch.testing.assert_close(network(tiles, GRID + 32), expected, rtol=1e-4, atol=1e-4)
        others = torch.randn(256, 384)
        other = reference.forward_features(others[None])[0, 0]  # type: ignore[operator]
        both = network(torch.cat([tiles, others]), torch.cat([GRID, GRID + 16]))
        torch.testing.assert_close(both, (expected + other) / 2, rtol=1e-4, atol=1e-4)


def test_tiles_that_are_not_there_are_left_out(network: Regions, reference: nn.Module) -> None:
    tiles, there = torch.randn(256, 384), torch.rand(256) < 0.4
    with torch.inference_mode():
        tokens = reference._pos_embed(network.phi(tiles[None]))  # type: ignore[operator]
        tokens = torch.cat([tokens[:, :1], tokens[:, 1:][:, there]], 1)
        expected = reference.norm(reference.blocks(tokens))[0, 0]  # type: ignore[operator]
        found = network(tiles[there], GRID[there])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_attention(network: Regions, reference: nn.Module) -> None:
    tiles = torch.randn(256, 384)
    seen = []
    last = reference.blocks[-1].attn  # type: ignore[index, union-attr]
    last.fused_attn = False  # type: ignore[union-attr]
    hook = lambda _module, inputs: seen.append(inputs[0])  # noqa: E731
    last.attn_drop.register_forward_pre_hook(hook)  # type: ignore[union-attr, operator]
    with torch.inference_mode():
        reference.forward_features(tiles[None])  # type: ignore[operator]
        expected = seen[0][0, :, 0, 1:].mean(0)
        found = network.attention(tiles, GRID)
    torch.testing.assert_close(found, expected / expected.sum(), rtol=1e-4, atol=1e-6)


def test_loaded_from_a_file_of_dinos_layout(
    entries: dict[str, CatalogEntry], network: Regions, tmp_path: Path
) -> None:
    teacher = {f"backbone.{key}": value for key, value in network.state_dict().items()}
    teacher["head.mlp.0.weight"] = torch.zeros(3, 192)
    student = {f"module.{key}": value + 1 for key, value in teacher.items()}
    checkpoint = {"student": student, "teacher": teacher, "args": Namespace(lr=1), "epoch": 3}
    torch.save(checkpoint, tmp_path / "a.pth")
    model = load(entries["hipt-4k"], tmp_path / "a.pth", "cpu")
    assert isinstance(model, SlideModel)
    rng = np.random.default_rng(0)
    cells = rng.permutation(np.argwhere(rng.random((40, 40)) < 0.5))
    vectors = rng.normal(size=(len(cells), 384)).astype(np.float32)
    centres = (cells + 0.5) * 512.0
    with torch.inference_mode():
        inputs = torch.from_numpy(vectors), torch.from_numpy(cells)
        expected, weights = network(*inputs).numpy(), network.attention(*inputs).numpy()
    found = model.embed_slide(vectors, centres, 512.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    attention = model.attention(vectors, centres, 512.0)
    assert attention is not None
    np.testing.assert_allclose(attention, weights, rtol=1e-3, atol=1e-7)
    assert attention.sum() == pytest.approx(1, abs=1e-4)
    wrong = replace(entries["hipt-4k"], spec=replace(entries["hipt-4k"].spec, params=2_800_000))
    with pytest.raises(ModelError, match="2800000 parameters, but has 2781504"):
        load(wrong, tmp_path / "a.pth", "cpu")
