"""Weights load from every kind of file in which they are published.

Networks are small, files are real: each is written here as the authors' programs write it, loaded
strictly, and gives the vectors of the network it was made from.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from napari_pathfm.models import timm as ours
from napari_pathfm.models.catalog import CatalogEntry
from napari_pathfm.models.keys import hipt_256

Entries = dict[str, CatalogEntry]
Shrink = Callable[[CatalogEntry], tuple[CatalogEntry, Any]]
State = dict[str, Any]
Tiles = NDArray[np.uint8]


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def heads(prefix: str = "") -> State:
    """What DINO, iBOT and DINOv2 train beside the network."""
    names = ("mlp.0.weight", "mlp.0.bias", "last_layer.weight_g", "last_layer.weight_v")
    return {f"{prefix}{name}": torch.ones(2) for name in names}


def dino(state: State) -> State:
    """Return the whole checkpoint of DINO's training, whose student has other weights."""
    teacher = prefixed(state, "backbone.") | heads("head.")
    student = {f"module.{key}": value + 1 for key, value in teacher.items()}
    options = Namespace(arch="vit_small", patch_size=16, lr=0.0005, output_dir="runs")
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-3}]}
    return {
        "student": student,
        "teacher": teacher,
        "optimizer": optimizer,
        "epoch": 100,
        "args": options,
    }


def dinov2_teacher(state: State) -> State:
    mask = {"backbone.mask_token": torch.zeros(1, 48)}
    both = heads("dino_head.") | heads("ibot_head.")
    return {"teacher": prefixed(state, "backbone.") | mask | both}


LAYOUTS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "bare with a head": lambda state: state | {"head.weight": torch.ones(9, 48), "fc.bias": 0},
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state, "optimizer": {}},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "module.": lambda state: {"model": prefixed(state, "module.")},
    "backbone.": lambda state: prefixed(state, "backbone."),
    "encoder.": lambda state: prefixed(state, "encoder.") | heads("head."),
    "module.backbone.": lambda state: {
        "state_dict": prefixed(state | heads("head."), "module.backbone.")
    },
    "module. outside, backbone. within": lambda state: {
        "teacher": prefixed(prefixed(state, "backbone.") | heads("head."), "module.")
    },
    "DINO": dino,
    "DINOv2": dinov2_teacher,
}


@pytest.fixture(scope="module")
def small(entries: Entries, shrink: Shrink) -> tuple[CatalogEntry, Any]:
    """A small ViT with LayerScale, as UNI has it, and timm's network."""
    return shrink(entries["uni"])


def embed(network: Any, entry: CatalogEntry, tiles: Tiles) -> NDArray[np.float32]:
    """Class tokens of tiles, by timm's network in plain torch."""
    spec = entry.encoder
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (spec.mean, spec.std))
    images = (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        vectors: NDArray[np.float32] = network.forward_features(images)[:, 0].numpy()
        return vectors


@pytest.mark.parametrize("layout", LAYOUTS)
def test_container(
    tmp_path: Path, small: tuple[CatalogEntry, Any], tiles: Tiles, layout: str
) -> None:
    entry, network = small
    torch.save(LAYOUTS[layout](network.state_dict()), tmp_path / "weights.pth")
    found = ours.load(entry, tmp_path / "weights.pth", "cpu").embed(tiles[:2])
    np.testing.assert_allclose(found, embed(network, entry, tiles[:2]), atol=1e-4)


@pytest.mark.parametrize("file", ["w.pth", "w.pt", "w.bin", "w.torch", "w.ckpt", "old.pth"])
def test_pickle_of_any_name_and_age(
    tmp_path: Path, small: tuple[CatalogEntry, Any], tiles: Tiles, file: str
) -> None:
    entry, network = small
    zipped = not file.startswith("old")
    torch.save(network.state_dict(), tmp_path / file, _use_new_zipfile_serialization=zipped)
    found = ours.load(entry, tmp_path / file, "cpu").embed(tiles[:2])
    np.testing.assert_allclose(found, embed(network, entry, tiles[:2]), atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_safetensors(
    tmp_path: Path, small: tuple[CatalogEntry, Any], tiles: Tiles, prefix: str
) -> None:
    entry, network = small
    save_file(prefixed(network.state_dict(), prefix), tmp_path / "w.safetensors")
    found = ours.load(entry, tmp_path / "w.safetensors", "cpu").embed(tiles[:2])
    np.testing.assert_allclose(found, embed(network, entry, tiles[:2]), atol=1e-4)


def test_both_files_that_are_called_gpfm(
    tmp_path: Path, entries: Entries, shrink: Shrink, tiles: Tiles
) -> None:
    entry, network = shrink(entries["gpfm"])
    state = network.state_dict()
    expected = embed(network, entry, tiles[:2])
    chunked = {
        # blocks.0 lies in the first chunk and blocks.1 in the second, each with its own number
        f"backbone.{key.replace('blocks.0.', 'blocks.0.0.').replace('blocks.1.', 'blocks.1.1.')}": v
        for key, v in state.items()
    }
    trained = chunked | {"backbone.mask_token": torch.zeros(1, 48)} | heads("dino_head.")
    assert "backbone.blocks.1.1.norm1.weight" in trained
    for file in (dict(state), {"teacher": trained}):
        torch.save(file, tmp_path / "GPFM.pth")
        found = ours.load(entry, tmp_path / "GPFM.pth", "cpu").embed(tiles[:2])
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.fixture(scope="module")
def dinov2() -> Any:
    """A small DINOv2 with registers as transformers has it, with random weights."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        patch_size=14,
        image_size=224,
        num_register_tokens=4,
        use_swiglu_ffn=True,
    )
    torch.manual_seed(0)
    network: Any = Dinov2WithRegistersModel(config).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False).normal_(std=0.3)
    return network


META = {
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "embeddings.": "",
    "encoder.layer.": "blocks.",
    "attention.q_proj": "attn.qkv",
    "attention.o_proj": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.gate_proj": "mlp.w12",
    "mlp.down_proj": "mlp.w3",
    "layernorm.": "norm.",
}
"""From transformers' names to those of Meta's own program."""


def meta_names(state: State) -> State:
    state, renamed = dict(state), {}
    for parts in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")):
        for key in [key for key in state if f".{parts[0]}." in key]:
            state[key] = torch.cat([state.pop(key.replace(parts[0], part)) for part in parts])
    for key, value in state.items():
        for old, new in META.items():
            key = key.replace(old, new)
        renamed[key] = value
    return renamed


def test_openmidnight_is_a_dinov2_with_registers(
    tmp_path: Path, entries: Entries, shrink: Shrink, tiles: Tiles, dinov2: Any
) -> None:
    entry, _ = shrink(entries["openmidnight"])
    torch.save(meta_names(dinov2.state_dict()), tmp_path / "teacher_checkpoint_load.pt")
    encoder = ours.load(entry, tmp_path / "teacher_checkpoint_load.pt", "cpu")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (entry.encoder.mean, entry.encoder.std))
    images = (torch.from_numpy(tiles[:2]).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        tokens = dinov2(images).last_hidden_state.numpy()
    np.testing.assert_allclose(encoder.embed(tiles[:2]), tokens[:, 0], atol=1e-3)
    patches = tokens[:, 5:].reshape(2, 16, 16, 48)
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), patches, atol=1e-3)


def test_dinov2_of_518_pixels(
    tmp_path: Path, entries: Entries, shrink: Shrink, tiles: Tiles, dinov2: Any
) -> None:
    """As timm itself turns Meta's files, with positions for 37 x 37 patches, into its own."""
    from timm.models.vision_transformer import checkpoint_filter_fn

    entry, network = shrink(entries["openmidnight"])
    state = meta_names(dinov2.state_dict())
    state["pos_embed"] = torch.randn(1, 1 + 37 * 37, 48)
    torch.save({"teacher": prefixed(state, "backbone.")}, tmp_path / "w.pth")
    network.load_state_dict(checkpoint_filter_fn(dict(state), network), strict=True)
    found = ours.load(entry, tmp_path / "w.pth", "cpu").embed(tiles[:2])
    np.testing.assert_allclose(found, embed(network, entry, tiles[:2]), atol=1e-4)


def test_positions_of_hipt_are_moved_as_dino_moves_them() -> None:
    positions = torch.randn(1, 1 + 14 * 14, 5, generator=torch.Generator().manual_seed(0))
    found = hipt_256({"pos_embed": positions})["pos_embed"]
    assert torch.equal(found[:, 0], positions[:, 0])
    weights = cubic(14, 16, scale=16.1 / 14)
    grid = positions[0, 1:].reshape(14, 14, 5).numpy()
    expected = np.einsum("ai,bj,ijc->abc", weights, weights, grid)
    np.testing.assert_allclose(found[0, 1:].reshape(16, 16, 5), expected, atol=1e-4)
    straight = cubic(14, 16, scale=16 / 14)
    assert np.abs(np.einsum("ai,bj,ijc->abc", straight, straight, grid) - expected).max() > 0.01


def cubic(before: int, after: int, scale: float) -> NDArray[np.float64]:
    """Weights of cubic convolution (Keys, 1981; a = -0.75): ``(after, before)``."""
    weights = np.zeros((after, before))
    for row in range(after):
        place = (row + 0.5) / scale - 0.5
        for column in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            d = abs(place - column)
            near = 1.25 * d**3 - 2.25 * d**2 + 1
            far = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[row, min(max(column, 0), before - 1)] += near if d <= 1 else far
    return weights


def test_file_of_hipt(tmp_path: Path, entries: Entries, shrink: Shrink, tiles: Tiles) -> None:
    entry, network = shrink(entries["hipt-256"])
    state = dict(network.state_dict())
    state["pos_embed"] = torch.randn(1, 1 + 14 * 14, 48)
    torch.save(dino(state), tmp_path / "vit256_small_dino.pth")
    encoder = ours.load(entry, tmp_path / "vit256_small_dino.pth", "cpu")
    network.load_state_dict(hipt_256(state))
    wide = np.pad(tiles[:2], ((0, 0), (16, 16), (16, 16), (0, 0)), mode="reflect")
    np.testing.assert_allclose(encoder.embed(wide), embed(network, entry, wide), atol=1e-4)
    assert encoder.tokens(wide).shape == (2, 16, 16, 48)
