"""Dilated attention is that of the paper, and GigaPath's slide encoder is built of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from napari_pathfm.models.base import ModelError, SlideModel, SlideSpec
from napari_pathfm.models.catalog import CatalogEntry, get_slide_model
from napari_pathfm.models.longnet import (
    SEGMENTS,
    LongNet,
    build,
    dilated_attention,
    load,
    positions,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def random(*shape: int) -> list[Tensor]:
    return [torch.randn(*shape, dtype=torch.float64) for _ in range(3)]


def test_one_segment_without_gaps_is_softmax_attention() -> None:
    query, key, value = random(4, 50, 8)
    expected = functional.scaled_dot_product_attention(query, key, value)
    for segment in (50, 51, 1000):
        found = dilated_attention(query, key, value, ((segment, 1),))
        torch.testing.assert_close(found, expected)
    several = dilated_attention(query, key, value, ((50, 1), (60, 1), (70, 1)))
    torch.testing.assert_close(several, expected)  # the same exponentials three times


def restated(query: Tensor, key: Tensor, value: Tensor, reaches: Any) -> Tensor:
    """Token by token: all exponentials of all reaches in one softmax."""
    heads, count, width = query.shape
    answer = torch.zeros_like(query)
    for head in range(heads):
        for token in range(count):
            above = torch.zeros(width, dtype=torch.float64)
            below = 0.0
            for segment, ratio in reaches:
                segment = min(segment, count)
                offset = head // math.ceil(heads / ratio)
                start = token // segment * segment
                if (token - start) % ratio != offset:
                    continue
                padded = start + math.ceil(segment / ratio) * ratio
                for other in range(start + offset, padded, ratio):
                    inside = other < min(start + segment, count)
                    score = query[head, token] @ key[head, other] if inside else 0.0
                    weight = math.exp(score / math.sqrt(width))
                    below += weight
                    if inside:
                        above += weight * value[head, other]
            answer[head, token] = above / below
    return answer


@pytest.mark.parametrize(
    "reaches", [((8, 1),), ((8, 1), (16, 2)), ((7, 1), (12, 2), (30, 4)), ((5, 1), (9, 3))]
)
@pytest.mark.parametrize("count", [1, 16, 37])
def test_dilated_attention_token_by_token(reaches: Any, count: int) -> None:
    query, key, value = random(4, count, 6)
    found = dilated_attention(query, key, value, reaches)
    torch.testing.assert_close(found, restated(query, key, value, reaches))


def test_positions_are_sines_and_cosines() -> None:
    found = positions(torch.tensor([[3, 700], [0, 0]]), 768)
    for half, place in enumerate((3, 700)):
        for number in range(192):
            angle = place / 10000 ** (number / 192)
            assert found[0, 384 * half + number] == pytest.approx(math.sin(angle), abs=1e-5)
            assert found[0, 384 * half + 192 + number] == pytest.approx(math.cos(angle), abs=1e-5)
    assert found[1].unique().tolist() == [0, 1]


def test_the_slide_encoder_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    entry = entries["gigapath-slide"]
    network = build(entry, meta=True)
    assert sum(p.numel() for p in network.parameters()) == entry.spec.params == 86_330_880
    assert SEGMENTS == (1024, 5792, 32768, 185363, 1048576)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["patch_embed.proj.weight"] == (768, 1536)
    assert shapes["encoder.layers.11.self_attn.inner_attn_ln.weight"] == (768,)
    assert shapes["encoder.layers.11.ffn.ffn_layernorm.weight"] == (3072,)
    assert {"cls_token", "norm.bias", "encoder.layer_norm.bias"} <= set(shapes)
    wrong = replace(entry, spec=replace(entry.spec, params=1))
    with pytest.raises(ModelError, match="should have 1 parameters"):
        build(wrong, meta=True)


def by_hand(state: dict[str, Tensor], vectors: Tensor, cells: Tensor, heads: int) -> Tensor:
    """The network of one layer and one reach, from its weights."""

    def norm(tokens: Tensor, name: str, eps: float = 1e-5) -> Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.layer_norm(tokens, tokens.shape[-1:], weight, bias, eps)

    def linear(tokens: Tensor, name: str) -> Tensor:
        return tokens @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    tokens = linear(vectors, "patch_embed.proj") + positions(cells, 16)
    tokens = torch.cat([state["cls_token"][0], tokens])
    at = "encoder.layers.0"
    normed = norm(tokens, f"{at}.self_attn_layer_norm")
    query, key, value = (
        linear(normed, f"{at}.self_attn.{name}_proj").unflatten(1, (heads, -1)).transpose(0, 1)
        for name in "qkv"
    )
    mixed = functional.scaled_dot_product_attention(query, key, value).transpose(0, 1).flatten(1)
    mixed = norm(mixed, f"{at}.self_attn.inner_attn_ln")
    tokens = tokens + linear(mixed, f"{at}.self_attn.out_proj")
    inner = functional.gelu(linear(norm(tokens, f"{at}.final_layer_norm"), f"{at}.ffn.fc1"))
    tokens = tokens + linear(norm(inner, f"{at}.ffn.ffn_layernorm"), f"{at}.ffn.fc2")
    return norm(norm(tokens, "encoder.layer_norm"), "norm", 1e-6)[0]


def test_a_layer() -> None:
    network = LongNet(8, 16, depth=1, heads=4, segments=(100,), ratios=(1,))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter)
    vectors, cells = torch.randn(20, 8), torch.randint(0, 999, (20, 2))
    expected = by_hand(dict(network.state_dict()), vectors, cells, heads=4)
    torch.testing.assert_close(network(vectors, cells), expected)


@pytest.fixture
def small(entries: dict[str, CatalogEntry]) -> CatalogEntry:
    spec = entries["gigapath-slide"].spec
    assert isinstance(spec, SlideSpec)
    spec = replace(spec, dim_in=8, dim=16, params=0)
    reaches = {"segments": (8, 16), "ratios": (1, 2)}
    return replace(
        entries["gigapath-slide"], spec=spec, arch_kwargs={"depth": 2, "heads": 4, **reaches}
    )


def test_loaded_from_a_file_of_its_layout(small: CatalogEntry, tmp_path: Path) -> None:
    network = build(small)
    torch.save({"model": network.state_dict()}, tmp_path / "slide_encoder.pth")
    model = load(small, tmp_path / "slide_encoder.pth", "cpu")
    assert isinstance(model, SlideModel)
    rng = np.random.default_rng(0)
    cells = np.array([(y, x) for y in range(5) for x in range(6)])
    vectors = rng.normal(size=(30, 8)).astype(np.float32)
    centres = (cells + 0.5) * 511.7
    found = model.embed_slide(vectors, centres, 511.7)
    assert (found.dtype, found.shape) == (np.float32, (16,))
    with torch.inference_mode():
        expected = network(torch.from_numpy(vectors), torch.from_numpy(cells)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    order = rng.permutation(30)
    again = model.embed_slide(vectors[order], centres[order], 511.7)
    np.testing.assert_array_equal(found, again)
    assert not np.allclose(found, model.embed_slide(vectors, centres[order], 511.7))
    assert model.attention(vectors, centres, 511.7) is None
    with pytest.raises(ValueError, match="takes the 8 numbers that gigapath gives, not 7"):
        model.embed_slide(vectors[:, 1:], centres, 511.7)
    with pytest.raises(ValueError, match="knows of 1000"):
        model.embed_slide(vectors, centres + 1e6, 511.7)
    torch.save({"model": {**network.state_dict(), "extra": torch.zeros(1)}}, tmp_path / "b.pth")
    with pytest.raises(ModelError, match="extra is unknown"):
        load(small, tmp_path / "b.pth", "cpu")


def test_without_its_weights_it_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="gigapath-slide"):
        get_slide_model("gigapath-slide")
