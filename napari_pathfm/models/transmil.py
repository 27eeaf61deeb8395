"""TransMIL (Shao et al., NeurIPS 2021): a transformer over the tiles of a slide.

Its attention is Nyström's (Xiong et al., AAAI 2021), linear in the number of tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS = 8
ITERATIONS = 6
"""Steps towards the pseudo-inverse, as in the paper of Nyström's attention."""


class TransMIL(nn.Module):
    """Turns a bag into a vector and says which tiles it looked at.

    Parameters
    ----------
    dim : int
        Length of a tile's vector.
    hidden : int
        Width of the transformer, a multiple of :data:`HEADS`.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU())
        self.cls_token = nn.Parameter(torch.randn(1, hidden) * 0.02)
        self.first, self.second = Layer(hidden), Layer(hidden)
        self.positions = PositionEncoding(hidden)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Return the slide's vector ``(hidden,)`` and the tiles' weights ``(N,)``, sum 1.

        The weights are what the class token has of each tile after both layers (attention rollout,
        Abnar and Zuidema, ACL 2020), without what Nyström's approximation makes negative.
        """
        tiles = self.project(bag)
        count = len(tiles)
        side = math.ceil(math.sqrt(count))
        # The tiles fill a square; the first ones come again where some are missing.
        filled = torch.arange(side * side, device=bag.device) % count
        tokens, first = self.first(torch.cat([self.cls_token, tiles[filled]]))
        tokens, second = self.second(self.positions(tokens, side))
        itself = functional.one_hot(torch.tensor(0), len(tokens)).to(second.left)
        rolled = first.rolled(second.rolled(itself))[1:].clamp_min(0)
        weights = rolled.new_zeros(count).index_add(0, filled, rolled)
        return self.norm(tokens[0]), weights / weights.sum().clamp_min(1e-12)


@dataclass(frozen=True, eq=False)
class Seen:
    """The attention of a layer, in the two parts whose product it is.

    Attributes
    ----------
    left : Tensor
        ``(heads, T, landmarks)``.
    right : Tensor
        ``(heads, landmarks, T)``.
    """

    left: Tensor
    right: Tensor

    def rolled(self, weights: Tensor) -> Tensor:
        """Follow weights of tokens, ``(T,)``, back through the layer and what goes around it."""
        seen = torch.einsum("t,htl,hlu->u", weights, self.left, self.right) / len(self.left)
        return 0.5 * (weights + seen)


class Layer(nn.Module):
    """Attention with a residual connection."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.attention = NystromAttention(hidden, HEADS, landmarks=hidden // 2)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Seen]:
        """Return ``(T, hidden)`` tokens and what they looked at."""
        answer, seen = self.attention(self.norm(tokens))
        return tokens + answer, seen


class NystromAttention(nn.Module):
    """Attention through landmarks, means of neighbouring queries and keys.

    Parameters
    ----------
    hidden, heads : int
    landmarks : int
        With as many as tokens, or more, it is the softmax attention.
    """

    def __init__(self, hidden: int, heads: int, landmarks: int) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden must be a multiple of {heads}, not {hidden}")
        self.heads, self.landmarks = heads, landmarks
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)
        # Values of neighbours, a head each, as in Nyström's paper.
        self.local = nn.Conv2d(heads, heads, (33, 1), padding=(16, 0), groups=heads, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Seen]:
        """Return ``(T, hidden)`` and what each token looked at."""
        count, hidden = tokens.shape
        query, key, value = (
            self.qkv(tokens).view(count, 3, self.heads, hidden // self.heads).permute(1, 2, 0, 3)
        )
        query = query / math.sqrt(hidden // self.heads)
        few = min(self.landmarks, count)
        queries, keys = _landmarks(query, few), _landmarks(key, few)
        to_landmarks = (query @ keys.mT).softmax(-1)
        from_landmarks = (queries @ key.mT).softmax(-1)
        inverse = pseudo_inverse((queries @ keys.mT).softmax(-1))
        left = to_landmarks @ inverse
        answer = left @ (from_landmarks @ value) + self.local(value[None])[0]
        merged: Tensor = self.out(answer.transpose(0, 1).reshape(count, hidden))
        return merged, Seen(left, from_landmarks)


class PositionEncoding(nn.Module):
    """The pyramid position encoding of TransMIL: convolutions of three sizes over the square."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.sizes = nn.ModuleList(
            nn.Conv2d(hidden, hidden, size, padding=size // 2, groups=hidden) for size in (7, 5, 3)
        )

    def forward(self, tokens: Tensor, side: int) -> Tensor:
        """Add to all tokens but the first what lies around them: ``(1 + side**2, hidden)``."""
        square = tokens[1:].T.reshape(1, -1, side, side)
        square = square + sum(size(square) for size in self.sizes)
        return torch.cat([tokens[:1], square.flatten(2)[0].T])


def pseudo_inverse(matrices: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Moore-Penrose inverse of ``(..., M, M)`` by the iteration of Nyström's paper (eq. 11).

    Of Razavi et al. (2014); starts from the transpose, scaled so that it converges.
    """
    largest = matrices.sum(-2).amax((-1,)) * matrices.sum(-1).amax((-1,))
    found = matrices.mT / largest[..., None, None]
    identity = torch.eye(matrices.shape[-1], device=matrices.device)
    for _ in range(iterations):
        product = matrices @ found
        found = (
            0.25
            * found
            @ (13 * identity - product @ (15 * identity - product @ (7 * identity - product)))
        )
    return found


def _landmarks(tokens: Tensor, count: int) -> Tensor:
    """Means of `count` runs of neighbours of ``(heads, T, d)`` tokens: ``(heads, count, d)``."""
    return functional.adaptive_avg_pool1d(tokens.mT, count).mT
