"""MUSK (Xiang et al., Nature 2025, https://github.com/lilab-stanford/MUSK), in plain torch.

A BEiT-3 (Wang et al., 2022): image and text go through the same blocks, whose linear maps and
norms exist twice, A for images and B for texts. Each block has norms within its attention and its
perceptron as well (Magneto, Wang et al., 2022). Parameters have the names of the published file.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from .base import ModelError
from .checkpoint import first_line
from .encoder import check_facts, loader
from .tokenizer import find_tokenizer

if TYPE_CHECKING:
    from .catalog import CatalogEntry

IMAGE, TEXT = "A", "B"
START, PAD, END, UNKNOWN = 0, 1, 2, 3
TEXT_TOKENS = 100
UNUSED_POSITIONS = 2
"""Rows of the position embeddings that are skipped, a habit of fairseq."""


def build(entry: CatalogEntry, meta: bool = False) -> nn.Module:
    """Build the network of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        The network differs from the catalogue's facts.
    """
    with torch.device("meta" if meta else "cpu"):
        network = Musk(**entry.arch_kwargs)
    check_facts(network, entry, "BEiT-3")
    return network.eval()


class Pieces:
    """MUSK's tokeniser: sentencepiece, numbered as in XLM-RoBERTa; read when texts come.

    Parameters
    ----------
    entry : CatalogEntry
    weights : Path, optional
        The weights that the user gave, or their folder.
    """

    def __init__(self, entry: CatalogEntry, weights: Path | None) -> None:
        self._entry, self._weights = entry, weights

    def __call__(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the numbers of the pieces and which are none, ``(N, L)`` int64 and bool."""
        rows = []
        for text in texts:
            # The file's own marks are 0 to 2; with the padding among them, the rest moves up.
            pieces = [piece + 1 if piece else UNKNOWN for piece in self._file.encode(text)]
            rows.append(torch.tensor([START, *pieces[: TEXT_TOKENS - 2], END]))
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        return ids, ids == PAD

    @functools.cached_property
    def _file(self) -> Any:
        from sentencepiece import SentencePieceProcessor

        path = find_tokenizer(self._entry, self._weights)
        try:
            return SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise ModelError(
                f"{path} cannot be read as a tokeniser: {first_line(error)}. Download it again."
            ) from error


class Musk(nn.Module):
    """Both towers of MUSK and the heads that bring them into one space."""

    num_prefix_tokens = 1
    pieces: Pieces

    def __init__(
        self,
        image_px: int = 384,
        patch: int = 16,
        width: int = 1024,
        depth: int = 24,
        heads: int = 16,
        vocab: int = 64010,
        context: int = 1024,
    ) -> None:
        super().__init__()
        self.num_features = width
        self.beit3 = Beit3(image_px, patch, width, depth, heads, vocab, context)
        self.language_head = nn.Linear(width, width, bias=False)
        self.vision_head = nn.Linear(width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens of ``(B, 3, px, px)`` images: ``(B, 1 + n, width)``, the class token first."""
        return self.beit3.images(images)

    def two_scales(self, images: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, 3, px, px)`` images as the authors train on them: ``(B, 2 * width)``.

        The class token of the image, then the mean of the class tokens of its four quarters after
        it was enlarged twofold (their ``ms_aug``, after Shi et al., 2024, arXiv 2403.13043).
        """
        count, px = len(images), images.shape[2]
        large = F.interpolate(images.float(), scale_factor=2, mode="bicubic")
        places = large.reshape(count, 3, 2, px, 2, px)
        quarters = places.permute(2, 4, 0, 1, 3, 5).flatten(0, 2)
        near = self.forward_features(quarters)[:, 0].reshape(4, count, -1).mean(0)
        return torch.cat([self.forward_features(images)[:, 0], near], 1)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, T, width)`` tokens in the space of the texts: ``(B, width)``."""
        vectors: torch.Tensor = self.vision_head(features[:, 0])
        return vectors

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Vectors of texts: ``(N, width)``."""
        ids, padding = (tensor.to(self.logit_scale.device) for tensor in self.pieces(texts))
        vectors: torch.Tensor = self.language_head(self.beit3.texts(ids, padding)[:, 0])
        return vectors


class Beit3(nn.Module):
    """Embeddings of images and of texts, and the encoder that both share."""

    def __init__(
        self,
        image_px: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        vocab: int,
        context: int,
    ) -> None:
        super().__init__()
        self.text_embed = nn.Embedding(vocab, width)
        self.vision_embed = nn.Module()
        self.vision_embed.proj = nn.Conv2d(3, width, patch, patch)
        self.vision_embed.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.vision_embed.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        tokens = 1 + (image_px // patch) ** 2
        self.encoder = nn.Module()
        self.encoder.embed_positions = nn.ModuleDict(
            {
                IMAGE: nn.Embedding(tokens + UNUSED_POSITIONS, width),
                TEXT: nn.Embedding(context, width),
            }
        )
        self.encoder.layers = nn.ModuleList(Layer(width, heads) for _ in range(depth))
        self.encoder.layer_norm = both(lambda: nn.LayerNorm(width))

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens of ``(B, 3, px, px)`` images: ``(B, 1 + n, width)``."""
        embed: Any = self.vision_embed
        patches = embed.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([embed.cls_token.expand(len(images), -1, -1), patches], 1)
        return self._encode(x, IMAGE)

    def texts(self, ids: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Tokens of texts, ``(N, L)`` int64 and bool: ``(N, L, width)``."""
        return self._encode(self.text_embed(ids), TEXT, padding)

    def _encode(
        self, x: torch.Tensor, way: str, padding: torch.Tensor | None = None
    ) -> torch.Tensor:
        encoder: Any = self.encoder
        positions = encoder.embed_positions[way].weight[UNUSED_POSITIONS:]
        x = x + positions[: x.shape[1]]
        seen = None
        if padding is not None:
            x = x.masked_fill(padding[..., None], 0)
            seen = ~padding[:, None, None]
        for layer in encoder.layers:
            x = layer(x, way, seen)
        tokens: torch.Tensor = encoder.layer_norm[way](x)
        return tokens


class Layer(nn.Module):
    """Attention and a perceptron, each after a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = both(lambda: nn.LayerNorm(width))
        self.ffn = both(lambda: FeedForward(width))
        self.final_layer_norm = both(lambda: nn.LayerNorm(width))

    def forward(self, x: torch.Tensor, way: str, seen: torch.Tensor | None) -> torch.Tensor:
        """Let ``(B, T, width)`` tokens look at those that are `seen`, ``(B, 1, 1, T)`` bool."""
        x = x + self.self_attn(self.self_attn_layer_norm[way](x), way, seen)
        return x + self.ffn[way](self.final_layer_norm[way](x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Attention with a norm before its last linear map."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj = both(lambda: nn.Linear(width, width))
        self.v_proj = both(lambda: nn.Linear(width, width))
        self.q_proj = both(lambda: nn.Linear(width, width))
        self.out_proj = both(lambda: nn.Linear(width, width))
        self.inner_attn_ln = both(lambda: nn.LayerNorm(width))

    def forward(self, x: torch.Tensor, way: str, seen: torch.Tensor | None) -> torch.Tensor:
        """Attend; shapes as in :meth:`Layer.forward`."""

        def split(projection: nn.ModuleDict) -> torch.Tensor:
            projected: torch.Tensor = projection[way](x)
            return projected.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q_proj), split(self.k_proj), split(self.v_proj)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        attended = self.inner_attn_ln[way](attended.transpose(1, 2).flatten(2))
        answer: torch.Tensor = self.out_proj[way](attended)
        return answer


class FeedForward(nn.Module):
    """A perceptron with a norm before its last linear map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.ffn_layernorm = nn.LayerNorm(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(B, T, width)`` tokens, each for itself."""
        answer: torch.Tensor = self.fc2(self.ffn_layernorm(F.gelu(self.fc1(x))))
        return answer


def both(make: Callable[[], nn.Module]) -> nn.ModuleDict:
    """Make a part twice: one for images, one for texts."""
    return nn.ModuleDict({IMAGE: make(), TEXT: make()})


def _prepare(network: Any, entry: CatalogEntry, weights: Path | None, _report: Any) -> None:
    network.pieces = Pieces(entry, weights)


load = loader(build, prepare=_prepare)
