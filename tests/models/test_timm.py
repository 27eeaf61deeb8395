"""timm networks: the right weights in the right places, and the vectors that follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from napari_pathfm.models.base import Encoder, ModelError
from napari_pathfm.models.catalog import CatalogEntry, get_encoder
from napari_pathfm.models.checkpoint import read_state
from napari_pathfm.models.encoder import NetworkEncoder
from napari_pathfm.models.precision import FLOAT32, Calibrating, cosine
from napari_pathfm.models.timm import build, load
from napari_pathfm.models.weights import find_weights

Tiles = NDArray[np.uint8]
State = dict[str, Any]

# Repeats, kernel, stride of each stage of EfficientNet-Lite0 (Tan and Le, 2019).
STAGES = [(1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1)]


def direct_forward(state: State, images: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 written down once more, on the original names: pooled features."""

    def conv(x: torch.Tensor, name: str, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        low, high = missing // 2, missing - missing // 2
        return F.conv2d(F.pad(x, (low, high, low, high)), weight, stride=stride, groups=groups)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    number = 0
    for repeats, _, first_stride in STAGES:
        for repeat in range(repeats):
            block, before = f"_blocks.{number}", x
            if f"{block}._expand_conv.weight" in state:
                x = F.relu6(norm(conv(x, f"{block}._expand_conv"), f"{block}._bn0"))
            stride = first_stride if repeat == 0 else 1
            x = conv(x, f"{block}._depthwise_conv", stride, groups=x.shape[1])
            x = F.relu6(norm(x, f"{block}._bn1"))
            x = norm(conv(x, f"{block}._project_conv"), f"{block}._bn2")
            x = x + before if repeat else x
            number += 1
    return F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))


@pytest.fixture(scope="module")
def default(entries: dict[str, CatalogEntry]) -> NetworkEncoder:
    return load(entries["efficientnet-lite0"], device="cpu")


def test_default_encoder_is_the_original_network(
    entries: dict[str, CatalogEntry], tiles: Tiles
) -> None:
    entry = entries["efficientnet-lite0"]
    state = read_state(find_weights(entry.spec.name, entry.weights))
    images = (torch.from_numpy(tiles[:3]).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    encoder = get_encoder("efficientnet-lite0", device="cpu")
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, Calibrating)
    found = encoder.embed(tiles[:3])
    assert encoder.key.precision == "float32"
    assert found.dtype == np.float32
    expected = direct_forward(state, images).numpy()
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_calibrated_encoder_gives_the_same_answers(
    entries: dict[str, CatalogEntry], tiles: Tiles
) -> None:
    encoder = load(entries["efficientnet-lite0"], device="cpu")
    exact = np.concatenate([encoder.embed(tiles[i : i + 1]) for i in range(len(tiles))])
    assert not encoder.calibrated
    vectors = encoder.embed(tiles)
    assert encoder.calibrated
    assert encoder.key.precision == encoder.precision.name
    cosines = cosine(vectors, exact)
    assert cosines.mean() >= 0.999
    assert cosines.min() >= 0.995
    chosen = next(trial for trial in encoder.trials if trial.precision == encoder.precision)
    assert chosen.seconds == min(trial.seconds for trial in encoder.trials if trial.same)
    assert encoder.trials[0].precision == FLOAT32


def test_key_names_what_decides(default: NetworkEncoder) -> None:
    key = default.key
    assert (key.encoder, key.pooling, key.weights) == (
        "efficientnet-lite0",
        "avg",
        "579344248a93e230",
    )
    assert key.preprocessing == "224 px bilinear mean=0.5,0.5,0.5 std=0.5,0.5,0.5"


def test_tokens_are_the_last_feature_map(default: NetworkEncoder, tiles: Tiles) -> None:
    tokens = default.tokens(tiles[:2])
    assert tokens.shape == (2, 7, 7, 1280)
    np.testing.assert_allclose(tokens.mean((1, 2)), default.embed(tiles[:2]), atol=1e-5)


def test_tiles_of_another_size_are_resized(default: NetworkEncoder, tiles: Tiles) -> None:
    large = tiles[:2].repeat(2, 1).repeat(2, 2)
    cosines = cosine(default.embed(large), default.embed(tiles[:2]))
    assert cosines.min() > 0.95


@pytest.mark.parametrize("shape", [(2, 224, 200, 3), (224, 224, 3), (1, 224, 224, 4)])
def test_what_are_no_tiles(default: NetworkEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tiles must be"):
        default.embed(np.zeros(shape, np.uint8))


def write(path: Path, state: State, container: str) -> Path:
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file({k: v.contiguous() for k, v in state.items()}, path)
    elif container == "teacher":
        heads = {"dino_head.mlp.weight": torch.zeros(2), "mask_token": torch.zeros(1)}
        torch.save({"teacher": {f"backbone.{k}": v for k, v in state.items()} | heads}, path)
    else:
        torch.save({container: state} if container else state, path)
    return path


@pytest.mark.parametrize(
    ("file", "container"),
    [
        ("w.safetensors", ""),
        ("w.bin", "state_dict"),
        ("w.pth", "teacher"),
    ],
)
def test_local_file_of_a_vision_transformer(
    tmp_path: Path, vits16_state: State, tiles: Tiles, file: str, container: str
) -> None:
    import timm

    path = write(tmp_path / file, vits16_state, container)
    encoder = get_encoder("kaiko-vits16", weights=path, device="cpu")
    network = timm.create_model("vit_small_patch16_224", num_classes=0)
    network.load_state_dict(vits16_state)
    images = (torch.from_numpy(tiles[:2]).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        features = network.eval().forward_features(images)
    np.testing.assert_allclose(encoder.embed(tiles[:2]), features[:, 0].numpy(), atol=1e-4)
    patches = features[:, 1:].reshape(2, 14, 14, 384).numpy()
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), patches, atol=1e-4)


def test_file_in_the_models_folder(
    tmp_path: Path, vits16_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "kaiko-vits16.safetensors", vits16_state, "")
    monkeypatch.setenv("PATHFM_MODELS", str(tmp_path))
    assert get_encoder("kaiko-vits16", device="cpu").spec.dim == 384


def test_file_of_another_network(tmp_path: Path, vits16_state: State) -> None:
    path = write(tmp_path / "small.pth", vits16_state, "")
    with pytest.raises(ModelError, match=r"small\.pth does not hold the weights of kaiko-vits8"):
        get_encoder("kaiko-vits8", weights=path, device="cpu")
    with pytest.raises(ModelError, match=r"efficientnet-lite0: conv_stem\.weight is missing"):
        get_encoder("efficientnet-lite0", weights=path, device="cpu")


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights file"):
        get_encoder("kaiko-vits16", weights=tmp_path / "no.pth")


def test_position_embeddings_of_a_larger_grid(tmp_path: Path, vits16_state: State) -> None:
    grid = torch.rand(1, 1 + 24 * 24, 384)
    path = write(tmp_path / "large.pth", {**vits16_state, "pos_embed": grid}, "")
    encoder = get_encoder("kaiko-vits16", weights=path, device="cpu")
    assert encoder.embed(np.zeros((1, 224, 224, 3), np.uint8)).shape == (1, 384)


def test_pooling(
    tmp_path: Path, entries: dict[str, CatalogEntry], vits16_state: State, tiles: Tiles
) -> None:
    path = write(tmp_path / "w.pth", vits16_state, "")
    entry = entries["kaiko-vits16"]
    both = replace(entry, spec=replace(entry.spec, pooling="cls+mean", dim=768))
    encoder = load(both, path, "cpu")
    vectors, patches = encoder.embed(tiles[:2]), encoder.tokens(tiles[:2])
    assert vectors.shape == (2, 768)
    np.testing.assert_allclose(vectors[:, 384:], patches.mean((1, 2)), atol=1e-5)


def test_memory_that_does_not_suffice(
    default: NetworkEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(default._network, "forward_features", full)
    with pytest.raises(MemoryError, match="not enough memory for 2 tiles at once"):
        default.embed(np.zeros((2, 224, 224, 3), np.uint8))


def test_layer_that_is_not_known(entries: dict[str, CatalogEntry]) -> None:
    entry = replace(entries["virchow"], arch_kwargs={"mlp_layer": "os.system"})
    with pytest.raises(ModelError, match=r"virchow names the layer 'os\.system'"):
        build(entry, meta=True)
