"""The slide encoder of Prov-GigaPath: LongNet's dilated attention in plain torch.

After Xu et al., Nature 2024 (https://github.com/prov-gigapath/prov-gigapath) and Ding et al.,
LongNet, 2023 (https://arxiv.org/abs/2307.02486), with the parameters' names of
https://github.com/microsoft/torchscale. The authors' code needs flash-attn and a CUDA card.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from .slides import check_params, loader, slide_spec

if TYPE_CHECKING:
    from .catalog import CatalogEntry

SEGMENTS = tuple(int(2**power) for power in (10, 12.5, 15, 17.5, 20))
"""Tokens of a segment: even steps of the logarithm from 1024 to ``(262144 / 256) ** 2``."""
RATIOS = (1, 2, 4, 8, 16)
"""Of so many tokens of a segment, a head takes one."""
CELLS = 1000
"""Rows and columns of tiles that have a position."""
ROWS = 1024
"""Queries at once: bounds the memory."""


def build(entry: CatalogEntry, meta: bool = False) -> LongNet:
    """Build the network of a catalogue entry without its weights.

    Raises
    ------
    ModelError
        It differs from the catalogue's facts.
    """
    spec = slide_spec(entry)
    with torch.device("meta" if meta else "cpu"):
        network = LongNet(spec.dim_in, spec.dim, **entry.arch_kwargs)
    check_params(network, spec)
    return network.eval()


class LongNet(nn.Module):
    """Tiles of a slide and their places in, one vector out.

    Parameters
    ----------
    dim_in : int
        Length of a tile's vector.
    dim, depth, heads : int
    segments, ratios : tuple of int
        Of the dilated attention.
    """

    def __init__(
        self,
        dim_in: int = 1536,
        dim: int = 768,
        depth: int = 12,
        heads: int = 16,
        segments: tuple[int, ...] = SEGMENTS,
        ratios: tuple[int, ...] = RATIOS,
    ) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Linear(dim_in, dim)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.encoder = Encoder(dim, depth, heads, segments, ratios)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, vectors: Tensor, cells: Tensor) -> Tensor:
        """Embed a slide.

        Parameters
        ----------
        vectors : Tensor
            ``(N, dim_in)`` float32.
        cells : Tensor
            ``(N, 2)`` int64: row and column of each tile, less than :data:`CELLS`.

        Returns
        -------
        Tensor
            ``(dim,)`` float32: the class token after both last normalisations, as the authors'
            model gives it when it is called. (Their pipeline's ``last_layer_embed`` leaves out the
            first of them, ``encoder.layer_norm``.)

        Raises
        ------
        ValueError
            The slide has more rows or columns than the model has positions for.
        """
        if int(cells.max()) >= CELLS:
            raise ValueError(
                f"The slide is {int(cells.max()) + 1} tiles long, and Prov-GigaPath knows of "
                f"{CELLS}. Use larger tiles (256 pixels at 0.5 um per pixel)."
            )
        tokens = self.patch_embed["proj"](vectors)
        tokens = tokens + positions(cells, tokens.shape[1])
        tokens = torch.cat([self.cls_token[0], tokens])
        embedded: Tensor = self.norm(self.encoder(tokens)[0])
        return embedded


class Encoder(nn.Module):
    """Layers, and a normalisation after them."""

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        segments: tuple[int, ...],
        ratios: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(dim, heads, segments, ratios) for _ in range(depth))
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(T, dim)`` to ``(T, dim)``."""
        for layer in self.layers:
            tokens = layer(tokens)
        normed: Tensor = self.layer_norm(tokens)
        return normed


class Layer(nn.Module):
    """Dilated attention and a feed-forward network, each normalised before and inside."""

    def __init__(
        self, dim: int, heads: int, segments: tuple[int, ...], ratios: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.self_attn = DilatedAttention(dim, heads, segments, ratios)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(T, dim)`` to ``(T, dim)``."""
        tokens = tokens + self.self_attn(self.self_attn_layer_norm(tokens))
        found: Tensor = tokens + self.ffn(self.final_layer_norm(tokens))
        return found


class FeedForward(nn.Module):
    """Two linear layers with a normalisation between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.ffn_layernorm = nn.LayerNorm(4 * dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(T, dim)`` to ``(T, dim)``."""
        found: Tensor = self.fc2(self.ffn_layernorm(functional.gelu(self.fc1(tokens))))
        return found


class DilatedAttention(nn.Module):
    """Attention of several reaches: short and dense to long and sparse."""

    def __init__(
        self, dim: int, heads: int, segments: tuple[int, ...], ratios: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.heads, self.reaches = heads, tuple(zip(segments, ratios, strict=True))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim) for _ in range(3))
        self.out_proj = nn.Linear(dim, dim)
        self.inner_attn_ln = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(T, dim)`` to ``(T, dim)``."""
        count, dim = tokens.shape
        query, key, value = (
            project(tokens).view(count, self.heads, -1).transpose(0, 1)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = dilated_attention(query, key, value, self.reaches)
        merged = mixed.transpose(0, 1).reshape(count, dim)
        found: Tensor = self.out_proj(self.inner_attn_ln(merged))
        return found


def dilated_attention(
    query: Tensor, key: Tensor, value: Tensor, reaches: tuple[tuple[int, int], ...]
) -> Tensor:
    """Attend within segments to every `ratio`-th token, for each reach, and mix the answers.

    The heads are dealt out in `ratio` equal groups; group g takes the tokens g, g + ratio, ... of
    a segment. What a token is told by the reaches is weighed by the sums of exponentials in their
    softmaxes, so together they are one softmax (equation 10 of the paper).

    As in torchscale, the last segment is filled up with zeros, which are attended to as well.

    Parameters
    ----------
    query, key, value : Tensor
        ``(heads, T, d)``.
    reaches : tuple of tuple
        Length of the segments and ratio.

    Returns
    -------
    Tensor
        ``(heads, T, d)``.
    """
    heads, count, _ = query.shape
    answers = torch.zeros_like(query)
    sums = query.new_full((heads, count, 1), -torch.inf)  # logarithms of the denominators
    for segment, ratio in reaches:
        segment = min(segment, count)
        size = -(-heads // ratio)
        for start, offset in product(range(0, count, segment), range(ratio)):
            group = slice(offset * size, (offset + 1) * size)
            own = slice(start + offset, min(start + segment, count), ratio)
            asked = query[group, own]
            if not asked.numel():
                continue
            zeros = -(-segment // ratio) - asked.shape[1]
            answer, total = _attend(asked, key[group, own], value[group, own], zeros)
            both = torch.logaddexp(sums[group, own], total)
            answers[group, own] *= (sums[group, own] - both).exp()
            answers[group, own] += (total - both).exp() * answer
            sums[group, own] = both
    return answers


def _attend(query: Tensor, key: Tensor, value: Tensor, zeros: int) -> tuple[Tensor, Tensor]:
    """Softmax attention with so many zero keys more; also the logarithm of its denominator."""
    key, value = (functional.pad(each, (0, 0, 0, zeros)) for each in (key, value))
    answers, totals = [], []
    for part in (query * query.shape[-1] ** -0.5).split(ROWS, dim=1):
        scores = part @ key.mT
        total = scores.logsumexp(-1, keepdim=True)
        answers.append((scores - total).exp_() @ value)
        totals.append(total)
    return torch.cat(answers, 1), torch.cat(totals, 1)


def positions(cells: Tensor, dim: int) -> Tensor:
    """Sines and cosines of the places of tiles (as MAE has them).

    Parameters
    ----------
    cells : Tensor
        ``(N, 2)`` row and column.
    dim : int
        A multiple of 4.

    Returns
    -------
    Tensor
        ``(N, dim)`` float32: half for the row, then half for the column, sines first.
    """
    steps = torch.arange(dim // 4, dtype=torch.float64, device=cells.device) / (dim / 4)
    angles = cells.double()[..., None] * 10000**-steps  # (N, 2, dim / 4)
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1).float()


load = loader(build)
