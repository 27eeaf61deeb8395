"""The text transformer of CONCH: CoCa's (Yu et al., 2022), read out at a class token at the end."""

from __future__ import annotations

import torch
from torch import nn


class TextTower(nn.Module):
    """A causal transformer, pre-norm, that reads a text out at a class token behind it."""

    def __init__(
        self,
        dim: int,
        vocab: int = 32007,
        context: int = 128,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.token_embedding = nn.Embedding(vocab, width)
        self.positional_embedding = nn.Parameter(torch.randn(context, width) * 0.01)
        self.cls_emb = nn.Parameter(torch.randn(width) * 0.01)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(TextBlock(width, heads) for _ in range(depth))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, dim) * width**-0.5)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Embed ``(N, L)`` int64 numbers of tokens, 0 behind the text's end: ``(N, dim)``."""
        x = torch.cat([self.token_embedding(ids), self.cls_emb.expand(len(ids), 1, -1)], 1)
        x = x + self.positional_embedding[: x.shape[1]]
        hidden = self.hidden(ids).repeat_interleave(self.heads, 0)
        for block in self.transformer.resblocks:  # type: ignore[union-attr]
            x = block(x, hidden)
        vectors: torch.Tensor = self.ln_final(x[:, -1]) @ self.text_projection
        return vectors

    @staticmethod
    def hidden(ids: torch.Tensor) -> torch.Tensor:
        """Which keys (last axis) a query must not see: ``(N, L + 1, L + 1)`` bool.

        The class token's view was shifted by one in training: it sees the first token always, and
        every other one if the token *before* that is no padding, itself included.
        """
        count, length = ids.shape
        shape = (length + 1, length + 1)
        mask = torch.ones(shape, dtype=torch.bool, device=ids.device).triu(1)
        mask = mask.repeat(count, 1, 1)
        mask[:, -1, 1:] = ids == 0
        return mask


class TextBlock(nn.Module):
    """Attention and a two-layer perceptron, each after a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", nn.GELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Let ``(N, L, width)`` tokens see those that are not `hidden`, ``(N * heads, L, L)``."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=hidden)[0]
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]
