"""CONCH and CONCH v1.5: vision transformers whose tokens an attentional pooler sums up.

CONCH (Lu et al., Nature Medicine 2024, https://github.com/mahmoodlab/CONCH) is a CoCa (Yu et al.,
2022) without its text decoder, which was never published. CONCH v1.5 is the image part of its
successor, on which TITAN (https://github.com/mahmoodlab/TITAN) was built. Parameters have the
names of the published files.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from .conch_text import TextTower
from .encoder import check_facts, loader
from .keys import State
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from .catalog import CatalogEntry


def build(entry: CatalogEntry, meta: bool = False) -> nn.Module:
    """Build the network of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
        Its ``arch`` is "conch_ViT-B-16" or "conch_v1_5".
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        The network differs from the catalogue's facts.
    """
    kind = ConchV15 if entry.arch == "conch_v1_5" else Conch
    with torch.device("meta" if meta else "cpu"):
        network: nn.Module = kind(**entry.arch_kwargs)
    check_facts(network, entry, "CONCH")
    return network.eval()


def rename(state: State) -> State:
    """Leave out a text decoder, and bring CONCH v1.5's position embeddings from 224 to 448 px."""
    state = {k: v for k, v in state.items() if not k.startswith("text_decoder.")}
    positions = state.get("trunk.pos_embed")
    if positions is not None and positions.shape[1] == 1 + 14 * 14:
        state["trunk.pos_embed"] = enlarge_positions(positions, 28)
    return state


def enlarge_positions(positions: torch.Tensor, side: int) -> torch.Tensor:
    """Resample position embeddings as DINO's and iBOT's networks do in each pass.

    They ask for a tenth of a patch more than they need, to be safe from rounding, and so sample
    at places a little closer together than those of a plain resize.

    Parameters
    ----------
    positions : torch.Tensor
        ``(1, 1 + n * n, C)``, that of the class token first.
    side : int
        Patches a side that are wanted.

    Returns
    -------
    torch.Tensor
        ``(1, 1 + side * side, C)`` float32.
    """
    own, grid = positions[:, :1].float(), positions[:, 1:].float()
    before = math.isqrt(grid.shape[1])
    grid = grid.reshape(1, before, before, -1).permute(0, 3, 1, 2)
    scale = (side + 0.1) / before
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([own, grid.flatten(2).transpose(1, 2)], 1)


class Conch(nn.Module):
    """CONCH: an image and a text transformer that meet in one space of `dim`."""

    num_prefix_tokens = 1
    tokenizer: Tokenizer

    def __init__(
        self,
        image_px: int = 448,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        dim: int = 512,
        caption_queries: int = 256,
        caption_dim: int = 768,
        text: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.num_features = width
        self.visual = ImageTower(image_px, width, depth, heads, dim, caption_queries, caption_dim)
        self.text = TextTower(dim=dim, **(text or {}))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens of ``(B, 3, h, w)`` images: ``(B, 1 + n, width)``, the class token first."""
        tokens: torch.Tensor = self.visual.trunk.forward_features(images)
        return tokens

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, T, width)`` tokens before the projection: ``(B, dim)``."""
        pooled: torch.Tensor = self.visual.ln_contrast(self.visual.attn_pool_contrast(features))
        return pooled[:, 0]

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, T, width)`` tokens in the space of the texts: ``(B, dim)``."""
        return self.pool(features) @ self.visual.proj_contrast

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Vectors of texts: ``(N, dim)``."""
        ids, _ = self.tokenizer(texts)
        vectors: torch.Tensor = self.text(ids.to(self.logit_scale.device))
        return vectors


class ImageTower(nn.Module):
    """A vision transformer with two poolers, of which only the contrastive one is used here."""

    def __init__(
        self,
        image_px: int,
        width: int,
        depth: int,
        heads: int,
        dim: int,
        caption_queries: int,
        caption_dim: int,
    ) -> None:
        super().__init__()
        self.trunk = _trunk(image_px, width, depth, heads)
        self.attn_pool_contrast = Pooler(dim, width, queries=1)
        self.ln_contrast = nn.LayerNorm(dim)
        self.proj_contrast = nn.Parameter(torch.randn(dim, dim) * width**-0.5)
        self.attn_pool_caption = Pooler(caption_dim, width, queries=caption_queries)
        self.ln_caption = nn.LayerNorm(caption_dim)


class Pooler(nn.Module):
    """Learned queries that attend to tokens (Lee et al., 2019; Yu et al., 2022)."""

    def __init__(self, dim: int, width: int, queries: int, heads: int = 8) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(queries, dim))
        self.attn = nn.MultiheadAttention(dim, heads, kdim=width, vdim=width, batch_first=True)
        self.ln_q = nn.LayerNorm(dim)
        self.ln_k = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sum up ``(B, T, width)`` tokens: ``(B, queries, dim)``."""
        keys = self.ln_k(tokens)
        queries = self.ln_q(self.query).expand(len(tokens), -1, -1)
        summed: torch.Tensor = self.attn(queries, keys, keys, need_weights=False)[0]
        return summed


class ConchV15(nn.Module):
    """CONCH v1.5: a ViT-L/16 with layer scale and a pooler without biases; images only."""

    num_prefix_tokens = 1

    def __init__(
        self,
        image_px: int = 448,
        width: int = 1024,
        depth: int = 24,
        heads: int = 16,
        dim: int = 768,
    ) -> None:
        super().__init__()
        self.num_features = width
        self.trunk = _trunk(image_px, width, depth, heads, init_values=1.0)
        self.attn_pool_contrast = PlainPooler(dim, width)
        self.ln_contrast = nn.LayerNorm(dim)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens of ``(B, 3, h, w)`` images: ``(B, 1 + n, width)``, the class token first."""
        tokens: torch.Tensor = self.trunk.forward_features(images)
        return tokens

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, T, width)`` tokens: ``(B, dim)``."""
        pooled: torch.Tensor = self.ln_contrast(self.attn_pool_contrast(features)[:, 0])
        return pooled


class PlainPooler(nn.Module):
    """As :class:`Pooler`, with one query and with linear maps that have no biases."""

    def __init__(self, dim: int, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.randn(1, dim))
        self.ln_k = nn.LayerNorm(width)
        self.ln_q = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(width, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Sum up ``(B, T, width)`` tokens: ``(B, 1, dim)``."""

        def split(x: torch.Tensor) -> torch.Tensor:
            return x.view(*x.shape[:-1], self.heads, -1).transpose(-3, -2)

        queries = split(self.to_q(self.ln_q(self.query))).expand(len(tokens), -1, -1, -1)
        keys, values = map(split, self.to_kv(self.ln_k(tokens)).chunk(2, -1))
        summed = F.scaled_dot_product_attention(queries, keys, values)
        answer: torch.Tensor = self.to_out(summed.transpose(1, 2).flatten(2))
        return answer


def _trunk(image_px: int, width: int, depth: int, heads: int, **facts: Any) -> Any:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=image_px,
        patch_size=16,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=0,
        dynamic_img_size=True,
        **facts,
    )


def _prepare(network: Any, entry: CatalogEntry, weights: Path | None, _report: Any) -> None:
    if isinstance(network, Conch):
        # One place of the context is for the class token.
        length = len(network.text.positional_embedding) - 1
        network.tokenizer = Tokenizer(entry, weights, length, "<pad>")


load = loader(build, lambda state, _: rename(state), _prepare)
