"""KEEP (Zhou et al., Cancer Cell 2026, https://github.com/MAGIC-AI4Med/KEEP).

UNI's vision transformer, trained on with a projection, and a BERT whose own pooler is its
projection. Parameters have the names of the published file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from .bert import build_bert, read_out
from .encoder import check_facts, loader
from .keys import State
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from .catalog import CatalogEntry

TEXT_TOKENS = 256


def build(entry: CatalogEntry, meta: bool = False) -> nn.Module:
    """Build the network of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
        ``text`` in its ``arch_kwargs`` are those of transformers' ``BertConfig``; all others are
        those of timm's ``VisionTransformer``.
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        The network differs from the catalogue's facts.
    """
    with torch.device("meta" if meta else "cpu"):
        network = Keep(**entry.arch_kwargs)
    check_facts(network, entry, "KEEP")
    return network.eval()


def _without_counters(state: State, _entry: CatalogEntry) -> State:
    # Older versions of transformers saved the numbers of positions beside the weights.
    return {key: value for key, value in state.items() if not key.endswith("position_ids")}


class Keep(nn.Module):
    """An image and a text transformer that meet in one space, in which vectors have length 1."""

    num_prefix_tokens = 1
    tokenizer: Tokenizer

    def __init__(self, text: dict[str, Any] | None = None, dim: int = 768, **facts: Any) -> None:
        super().__init__()
        import timm

        visual: Any = timm.create_model(
            "vit_large_patch16_224",
            init_values=1e-5,
            num_classes=0,
            dynamic_img_size=True,
            **facts,
        )
        self.visual = visual
        self.num_features = width = visual.num_features
        self.visual_head = nn.Sequential(nn.Linear(width, dim), nn.GELU(), nn.Linear(dim, dim))
        self.text = build_bert(**(text or {}))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.04)))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens of ``(B, 3, h, w)`` images: ``(B, 1 + n, C)``, the class token first."""
        tokens: torch.Tensor = self.visual.forward_features(images)
        return tokens

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, T, C)`` tokens, ``(B, dim)``, in the space of the texts."""
        return F.normalize(self.visual_head(features[:, 0]), dim=1)

    project = pool

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Vectors of texts: ``(N, dim)``."""
        _, pooled = read_out(self.text, *self.tokenizer(texts))
        vectors: torch.Tensor = pooled
        return vectors


def _prepare(network: Any, entry: CatalogEntry, weights: Path | None, _report: Any) -> None:
    network.tokenizer = Tokenizer(entry, weights, TEXT_TOKENS, "[PAD]", to_longest=True)


load = loader(build, _without_counters, _prepare)
