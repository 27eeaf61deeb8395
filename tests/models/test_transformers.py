"""Networks of transformers: published files in, the library's own answers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import CatalogEntry, build
from napari_pathfm.models.transformers import load

Tiles = NDArray[np.uint8]


def shortened(entry: CatalogEntry) -> CatalogEntry:
    """The same network with a single layer, so that a test can hold it."""
    counts = {}
    for layers in (1, 2):
        kwargs = {**entry.arch_kwargs, "num_hidden_layers": layers}
        with torch.device("meta"):
            plain = library_network(entry.arch, kwargs)
        counts[layers] = sum(p.numel() for p in plain.parameters())
    assert counts[1] + (counts[2] - counts[1]) * (
        entry.arch_kwargs["num_hidden_layers"] - 1
    ) == sum(p.numel() for p in build(entry, meta=True).parameters())
    kwargs = {**entry.arch_kwargs, "num_hidden_layers": 1}
    return replace(entry, arch_kwargs=kwargs, spec=replace(entry.spec, params=counts[1]))


def library_network(arch: str, kwargs: Mapping[str, Any]) -> Any:
    import transformers

    network: Any = getattr(transformers, arch)
    extra = {"add_pooling_layer": False} if arch == "ViTModel" else {}
    return network(network.config_class(**kwargs), **extra).eval()


def published(entry: CatalogEntry, folder: Path) -> tuple[Any, Path]:
    """The library's network with random weights, and the file that the library writes of it."""
    torch.manual_seed(1)
    network = library_network(entry.arch, entry.arch_kwargs)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    network.save_pretrained(folder)
    return network, folder / "model.safetensors"


def images_of(tiles: Tiles, entry: CatalogEntry) -> torch.Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (entry.encoder.mean, entry.encoder.std))
    return (torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255 - mean) / std


@pytest.mark.parametrize("name", ["phikon", "phikon-v2", "midnight-12k", "hibou-b"])
def test_published_file_gives_the_librarys_answers(
    entries: dict[str, CatalogEntry], tmp_path: Path, tiles: Tiles, name: str
) -> None:
    entry = shortened(entries[name])
    network, path = published(entry, tmp_path)
    names = " ".join(load_file(path))
    assert "encoder.layer.0.attention.attention.query.weight" in names  # as in published files
    assert ("mlp.weights_in.weight" in names) == (name not in ("phikon", "phikon-v2"))
    encoder = load(entry, path, "cpu")
    with torch.inference_mode():
        hidden = network(images_of(tiles[:2], entry)).last_hidden_state
    patches = hidden[:, entry.encoder.prefix_tokens :]
    grid = 224 // entry.encoder.patch
    assert patches.shape[1] == grid**2
    expected = hidden[:, 0]
    if name == "midnight-12k":
        expected = torch.cat([expected, patches.mean(1)], 1)
    np.testing.assert_allclose(encoder.embed(tiles[:2]), expected.numpy(), atol=1e-4)
    tokens = patches.unflatten(1, (grid, grid)).numpy()
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), tokens, atol=1e-4)
    assert np.abs(tokens).max() > 0.5


def test_authors_own_file(entries: dict[str, CatalogEntry], tmp_path: Path, tiles: Tiles) -> None:
    """Hibou's raw file has the names of DINOv2's own code, which timm's mapping knows, too."""
    import timm

    entry = shortened(entries["hibou-b"])
    torch.manual_seed(1)
    state = timm.create_model(
        "vit_base_patch14_reg4_dinov2", num_classes=0, img_size=224, depth=1, init_values=1e-5,
        mlp_ratio=5.33334, mlp_layer=timm.layers.SwiGLUPacked, act_layer=torch.nn.SiLU,
    ).eval()  # fmt: skip
    for parameter in state.parameters():
        parameter.requires_grad_(False).normal_(std=0.1)
    own = {
        k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v
        for k, v in state.state_dict().items()
    }
    own["register_tokens"] = own.pop("reg_token")
    first = torch.randn(1, 1, 768)
    own["pos_embed"] = torch.cat([first, own["pos_embed"]], 1)
    own["cls_token"] = own["cls_token"] - first  # timm's has its position in it
    own["mask_token"] = torch.zeros(1, 768)
    assert own["blocks.0.mlp.w12.weight"].shape == (4096, 768)
    torch.save(own, tmp_path / "hibou-b.pth")
    with torch.inference_mode():
        tokens = state.forward_features(images_of(tiles[:2], entry))
    encoder = load(entry, tmp_path, "cpu")
    np.testing.assert_allclose(encoder.embed(tiles[:2]), tokens[:, 0].numpy(), atol=1e-4)
    patches = tokens[:, 5:].unflatten(1, (16, 16)).numpy()
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), patches, atol=1e-4)


def test_whole_network(entries: dict[str, CatalogEntry], tmp_path: Path, tiles: Tiles) -> None:
    entry = entries["hibou-b"]
    network, path = published(entry, tmp_path)
    encoder = load(entry, path, "cpu")
    with torch.inference_mode():
        pooled = network(images_of(tiles[:1], entry)).pooler_output
    np.testing.assert_allclose(encoder.embed(tiles[:1]), pooled.numpy(), atol=1e-3)


@pytest.mark.parametrize("name", ["phikon", "midnight-12k"])
def test_tokens_of_tiles_of_another_size(
    entries: dict[str, CatalogEntry], tmp_path: Path, tiles: Tiles, name: str
) -> None:
    entry = shortened(entries[name])
    network, path = published(entry, tmp_path)
    px = 6 * entry.encoder.patch
    small = tiles[:2, :px, :px]
    options = {"interpolate_pos_encoding": True} if name == "phikon" else {}
    with torch.inference_mode():
        hidden = network(images_of(small, entry), **options).last_hidden_state[:, 1:]
    found = load(entry, path, "cpu").tokens(small)
    np.testing.assert_allclose(found, hidden.unflatten(1, (6, 6)).numpy(), atol=1e-4)


def test_position_embeddings_of_another_grid_are_resampled(
    entries: dict[str, CatalogEntry], tmp_path: Path, tiles: Tiles
) -> None:
    entry = shortened(entries["phikon"])
    network, path = published(entry, tmp_path)
    state = load_file(path)
    large = torch.randn(1, 1 + 20 * 20, 768)
    save_file({**state, "embeddings.position_embeddings": large}, path)
    grid = large[:, 1:].transpose(1, 2).unflatten(2, (20, 20))
    grid = F.interpolate(grid, (14, 14), mode="bicubic", antialias=True)
    ours = torch.cat([large[:, :1], grid.flatten(2).transpose(1, 2)], 1)
    with torch.inference_mode():
        network.embeddings.position_embeddings.copy_(ours)
        expected = network(images_of(tiles[:1], entry)).last_hidden_state[:, 0]
    np.testing.assert_allclose(
        load(entry, path, "cpu").embed(tiles[:1]), expected.numpy(), atol=1e-4
    )


def test_registers_are_not_tokens(entries: dict[str, CatalogEntry]) -> None:
    """A class token and four registers come first; who drops one has 260 tokens, not 256."""
    spec = entries["hibou-b"].encoder
    network = build(entries["hibou-b"], meta=True)
    tokens = network.forward_features(torch.zeros(1, 3, 224, 224, device="meta"))
    assert tokens.shape[1] - spec.prefix_tokens == 256


def test_file_of_another_network(entries: dict[str, CatalogEntry], tmp_path: Path) -> None:
    entry = shortened(entries["phikon"])
    _, path = published(entry, tmp_path)
    with pytest.raises(ModelError, match=r"phikon: layers\.1\.\S+ is missing"):
        load(entries["phikon"], path, "cpu")


def test_what_a_file_holds_beyond_the_network(
    entries: dict[str, CatalogEntry], tmp_path: Path
) -> None:
    entry = shortened(entries["phikon"])
    _, path = published(entry, tmp_path)
    state = load_file(path)
    save_file({**state, "pooler.dense.weight": torch.zeros(768, 768)}, path)
    assert load(entry, path, "cpu").spec.name == "phikon"
    save_file({**state, "adapter.weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match=r"adapter\.weight is unknown"):
        load(entry, path, "cpu")


def test_architecture_that_is_not_there(entries: dict[str, CatalogEntry]) -> None:
    with pytest.raises(ModelError, match=r"cannot build 'BertModel'.*ViTModel, Dinov2Model"):
        build(replace(entries["phikon"], arch="BertModel"), meta=True)
