"""Heads of slide labels compute what their papers say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_pathfm.models.heads import HEADS, Clam, GatedAttention, Mixture
from napari_pathfm.models.transmil import NystromAttention, pseudo_inverse


@pytest.fixture
def bag() -> Tensor:
    return torch.randn(37, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def close(found: Tensor, expected: Tensor | float, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(
        found.detach().numpy(), torch.as_tensor(expected).detach().numpy(), atol=atol, rtol=1e-4
    )


@pytest.mark.parametrize("name", HEADS)
def test_order_of_the_tiles_and_sum_of_the_attention(name: str, bag: Tensor) -> None:
    head = HEADS[name]([12], classes=3, hidden=64).eval()
    verdict = head([bag])
    assert verdict.logits.shape == (3,)
    close(verdict.logits, head.classifier(verdict.vector))
    if name in ("mean", "max"):
        assert verdict.attention == ()
        return
    (attention,) = verdict.attention
    assert attention.shape == (37,)
    assert (attention >= 0).all()
    close(attention.sum(), 1.0)
    if name != "transmil":  # which knows of places, by their order
        order = torch.randperm(37)
        again = head([bag[order]])
        close(again.logits, verdict.logits)
        close(again.attention[0], attention[order])


@pytest.mark.parametrize("name", HEADS)
def test_a_slide_of_one_tile(name: str, bag: Tensor) -> None:
    head = HEADS[name]([12], classes=2, hidden=64)
    loss = head.loss([bag[:1]], 1)
    loss.backward()
    assert torch.isfinite(loss)


def test_gated_attention_is_equation_9_of_ilse(bag: Tensor) -> None:
    head = GatedAttention([12], classes=2, hidden=16).eval()
    pool = head.pool
    weights, bias = pool.project[0].weight, pool.project[0].bias
    tiles = [torch.clamp(weights @ tile + bias, min=0) for tile in bag]
    scores = []
    for tile in tiles:
        content = torch.tanh(pool.content.weight @ tile + pool.content.bias)
        gate = 1 / (1 + torch.exp(-(pool.gate.weight @ tile + pool.gate.bias)))
        scores.append((pool.score.weight @ (content * gate) + pool.score.bias).item())
    total = sum(math.exp(score) for score in scores)
    verdict = head([bag])
    close(verdict.attention[0], torch.tensor([math.exp(score) / total for score in scores]))
    pooled = sum(math.exp(score) / total * tile for score, tile in zip(scores, tiles, strict=True))
    close(verdict.vector, pooled)


def test_loss_of_clam(bag: Tensor) -> None:
    head = Clam([12], classes=3, hidden=16).eval()
    verdict = head([bag])
    tiles = head.pool(bag)[0]
    attention = verdict.attention[0].tolist()
    ranked = sorted(range(37), key=lambda tile: -attention[tile])
    examples = [(tile, 1) for tile in ranked[:8]] + [(tile, 0) for tile in ranked[-8:]]
    losses = []
    for tile, truth in examples:
        scores = head.instances[2](tiles[tile]).tolist()
        # log of the summed exponentials of each score plus its margin, less the right one
        margins = [score + (side != truth) for side, score in enumerate(scores)]
        losses.append(math.log(sum(map(math.exp, margins))) - scores[truth])
    of_slide = -verdict.logits.log_softmax(0)[2]
    close(head.loss([bag], 2), 0.7 * of_slide + 0.3 * sum(losses) / 16)


def test_pseudo_inverse() -> None:
    matrices = torch.randn(2, 9, 9).softmax(-1).double()
    found = pseudo_inverse(matrices, iterations=40)
    close(found, torch.linalg.pinv(matrices), atol=1e-6)


def test_attention_with_a_landmark_a_token_is_softmax_attention() -> None:
    layer = NystromAttention(32, heads=4, landmarks=50).eval().double()
    torch.nn.init.zeros_(layer.local.weight)
    tokens = torch.randn(20, 32).double()
    answer, seen = layer(tokens)
    query, key, value = layer.qkv(tokens).view(20, 3, 4, 8).permute(1, 2, 0, 3)
    weights = (query @ key.mT / math.sqrt(8)).softmax(-1)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    close(answer, layer.out(expected.transpose(0, 1).reshape(20, 32)), atol=1e-2)
    start = torch.rand(20).double()
    close(seen.rolled(start), (start + start @ weights.mean(0)) / 2, atol=1e-2)


def test_attention_through_few_landmarks() -> None:
    layer = NystromAttention(32, heads=4, landmarks=5).eval()
    tokens = torch.randn(20, 32)
    answer, _ = layer(tokens)
    query, key, value = layer.qkv(tokens).view(20, 3, 4, 8).permute(1, 2, 0, 3)
    heads = []
    for head in range(4):
        q, k, v = query[head] / math.sqrt(8), key[head], value[head]
        queries = torch.stack([q[start : start + 4].mean(0) for start in range(0, 20, 4)])
        keys = torch.stack([k[start : start + 4].mean(0) for start in range(0, 20, 4)])
        inverse = pseudo_inverse((queries @ keys.T).softmax(1)[None])[0]
        kernel = layer.local.weight[head, 0, :, 0]
        local = torch.zeros_like(v)
        for at in range(20):
            for offset in range(-16, 17):
                if 0 <= at + offset < 20:
                    local[at] += kernel[offset + 16] * v[at + offset]
        seen = (q @ keys.T).softmax(1) @ inverse @ (queries @ k.T).softmax(1) @ v
        heads.append(seen + local)
    close(answer, layer.out(torch.cat(heads, 1)))


def test_gate_of_the_mixture_weighs_encoders(bag: Tensor) -> None:
    other = 1000 * torch.randn(21, 5)
    head = Mixture([12, 5], classes=2, hidden=16).eval()
    verdict = head([bag, other])
    assert [len(part) for part in verdict.attention] == [37, 21]
    shares = torch.stack([part.sum() for part in verdict.attention])
    close(shares.sum(), 1.0)
    vectors = [
        torch.nn.functional.layer_norm(attention / share @ expert.project(tiles), (16,))
        for attention, share, expert, tiles in zip(
            verdict.attention, shares, head.experts, [bag, other], strict=True
        )
    ]
    close(shares, head.gate(torch.cat(vectors)).softmax(0))
    close(verdict.vector, shares[0] * vectors[0] + shares[1] * vectors[1])


def test_one_encoder_too_many() -> None:
    with pytest.raises(ValueError, match="choose the head “mixture”"):
        GatedAttention([12, 5], classes=2)
