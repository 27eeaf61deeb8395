"""CTransPath: files as they are published, against transformers' Swin behind the stem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import get_encoder
from napari_pathfm.models.ctranspath import rename

Tiles = NDArray[np.uint8]
State = dict[str, Any]

NAMES = {
    "encoder.": "",
    "embeddings.patch_embeddings.projection.": "patch_embed.proj.",
    "embeddings.norm.": "patch_embed.norm.",
    "layernorm.": "norm.",
    "layernorm_before.": "norm1.",
    "layernorm_after.": "norm2.",
    "attention.o_proj.": "attn.proj.",
    "attention.q_proj.": "attn.qkv.",
    "attention.relative_position_bias.": "attn.",
}
"""From transformers to the timm of 2021."""


@pytest.fixture(scope="module")
def swin() -> Any:
    """Swin-T of transformers with the stem of Xiao et al. and random weights."""
    from torch import nn
    from transformers import SwinConfig, SwinModel

    torch.manual_seed(0)
    network: Any = SwinModel(SwinConfig(image_size=224))
    network.embeddings.patch_embeddings.projection = nn.Sequential(
        nn.Conv2d(3, 12, 3, 2, 1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, 2, 1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 96, 1),
    )
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.normal_(std=0.05)
        if name.endswith(("running_var", "norm.weight", "before.weight", "after.weight")):
            value.abs_().add_(1)
    return network.eval()


@pytest.fixture(scope="module")
def published(swin: Any) -> State:
    """Its weights with the names of the timm of 2021, and the buffers that were saved then."""
    theirs, state = dict(swin.state_dict()), {}
    for key in [key for key in theirs if ".q_proj." in key]:
        parts = [key, key.replace("q_proj", "k_proj"), key.replace("q_proj", "v_proj")]
        theirs[key] = torch.cat([theirs.pop(part) for part in parts])
    for key, value in theirs.items():
        for old, new in NAMES.items():
            key = key.replace(old, new)
        state[key] = value
    for block in ("layers.0.blocks.1", "layers.1.blocks.1", "layers.2.blocks.3"):
        state[f"{block}.attn_mask"] = torch.zeros(4, 49, 49)
    return state


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("ctranspath", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (
            "ctranspath-histogpt",
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
        ),
    ],
)
def test_file_as_it_is_published(
    tmp_path: Path,
    swin: Any,
    published: State,
    tiles: Tiles,
    name: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    torch.save({"model": published}, tmp_path / "ctranspath.pth")
    encoder = get_encoder(name, tmp_path / "ctranspath.pth", "cpu")
    images = torch.from_numpy(tiles[:2]).permute(0, 3, 1, 2) / 255
    images = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.inference_mode():
        answer = swin(images)
    expected = answer.pooler_output.numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(encoder.embed(tiles[:2]), expected, atol=1e-3)
    patches = answer.last_hidden_state.reshape(2, 7, 7, 768).numpy()
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), patches, atol=1e-3)


def test_names_are_those_that_timm_gives_old_files(published: State) -> None:
    import timm
    from timm.models.swin_transformer import checkpoint_filter_fn

    blocks = {k: v for k, v in published.items() if k.startswith("layers.")}
    network = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0)
    assert set(rename(blocks)) == set(checkpoint_filter_fn(blocks, network))
    assert set(rename(blocks)) == {k for k in network.state_dict() if k.startswith("layers.")}


def test_names_of_today_stay(published: State) -> None:
    today = rename(published)
    assert set(rename(today)) == set(today)


def test_file_of_another_stem(tmp_path: Path, published: State) -> None:
    plain = {k: v for k, v in published.items() if not k.startswith("patch_embed.proj.")}
    plain["patch_embed.proj.weight"] = torch.zeros(96, 3, 4, 4)
    torch.save(plain, tmp_path / "swin.pth")
    with pytest.raises(ModelError, match=r"ctranspath: patch_embed\.proj\.0\.weight is missing"):
        get_encoder("ctranspath", tmp_path / "swin.pth", "cpu")
