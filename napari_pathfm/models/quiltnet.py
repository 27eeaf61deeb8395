"""QuiltNet with a PubMedBERT (Ikezogwo et al., NeurIPS 2023), trained on from BiomedCLIP.

timm's vision transformer and a BERT, each with a projection of its own, as the open_clip library
builds them of such parts (https://github.com/mlfoundations/open_clip). Parameters have the names of
the files that it writes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

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
        network = QuiltNet(**entry.arch_kwargs)
    check_facts(network, entry, "open_clip")
    return network.eval()


def _without_counters(state: State, _entry: CatalogEntry) -> State:
    # Older versions of transformers saved the numbers of positions beside the weights.
    return {key: value for key, value in state.items() if not key.endswith("position_ids")}


class QuiltNet(nn.Module):
    """An image and a text transformer that meet in one space of `dim`."""

    num_prefix_tokens = 1
    tokenizer: Tokenizer

    def __init__(self, text: dict[str, Any] | None = None, dim: int = 512, **facts: Any) -> None:
        super().__init__()
        import timm

        trunk: Any = timm.create_model(
            "vit_base_patch16_224", num_classes=0, dynamic_img_size=True, **facts
        )
        self.num_features = width = trunk.num_features
        self.visual = nn.Module()
        self.visual.trunk = trunk
        self.visual.head = nn.ModuleDict({"proj": nn.Linear(width, dim, bias=False)})
        bert = build_bert(pooler=False, **(text or {}))
        words = int(bert.config.hidden_size)  # type: ignore[union-attr, arg-type]
        between = (words + dim) // 2
        self.text = nn.Module()
        self.text.transformer = bert
        self.text.proj = nn.Sequential(
            nn.Linear(words, between, bias=False), nn.GELU(), nn.Linear(between, dim, bias=False)
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens of ``(B, 3, h, w)`` images: ``(B, 1 + n, width)``, the class token first."""
        visual: Any = self.visual
        tokens: torch.Tensor = visual.trunk.forward_features(images)
        return tokens

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, T, width)`` tokens, ``(B, dim)``, in the space of the texts."""
        visual: Any = self.visual
        vectors: torch.Tensor = visual.head["proj"](features[:, 0])
        return vectors

    project = pool

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Vectors of texts: ``(N, dim)``."""
        text: Any = self.text
        first, _ = read_out(text.transformer, *self.tokenizer(texts))
        vectors: torch.Tensor = text.proj(first)
        return vectors


def _prepare(network: Any, entry: CatalogEntry, weights: Path | None, _report: Any) -> None:
    network.tokenizer = Tokenizer(entry, weights, TEXT_TOKENS, "[PAD]")


load = loader(build, _without_counters, _prepare)
