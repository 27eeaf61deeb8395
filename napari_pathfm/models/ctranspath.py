"""CTransPath: timm's Swin-T behind a stem of convolutions.

Wang et al., "Transformer-based unsupervised contrastive learning for histopathological image
classification", Medical Image Analysis 2022; https://github.com/Xiyue-Wang/TransPath. The stem is
that of Xiao et al., "Early convolutions help transformers see better", NeurIPS 2021.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .encoder import check_facts, loader
from .keys import State

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry


def build(entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
    """Build the network without its weights.

    Its ``forward_features`` gives the last feature map, ``(B, 768, 7, 7)`` for images of 224 px.

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
    import timm
    import torch

    with torch.device("meta" if meta else "cpu"):
        network: Any = timm.create_model(entry.arch, pretrained=False, num_classes=0)
        network.patch_embed.proj = _stem(network.embed_dim)
    network.norm.register_forward_hook(_channels_first)
    check_facts(network, entry, "timm")
    built: torch.nn.Module = network.eval()
    return built


def _stem(width: int) -> torch.nn.Module:
    """Two halvings and a mix of channels, where Swin has one convolution with a stride of four."""
    from torch.nn import BatchNorm2d, Conv2d, ReLU, Sequential

    layers: list[torch.nn.Module] = []
    before = 3
    for channels in (width // 8, width // 4):
        layers += [Conv2d(before, channels, 3, stride=2, padding=1, bias=False)]
        layers += [BatchNorm2d(channels), ReLU()]
        before = channels
    return Sequential(*layers, Conv2d(before, width, 1))


def _channels_first(_: Any, __: Any, features: torch.Tensor) -> torch.Tensor:
    return features.permute(0, 3, 1, 2)


def rename(state: State) -> State:
    """Turn the keys of the timm of 2021 into today's.

    Then a stage ended with its downsampling, now the next one starts with it. Masks and indices of
    the windows, which follow from the sizes, were saved, too.
    """
    kept = {k: v for k, v in state.items() if not k.endswith(("attn_mask", "position_index"))}
    if "layers.0.downsample.norm.weight" not in kept:
        return kept
    return {re.sub(r"^layers\.(\d+)\.downsample", _one_on, k): v for k, v in kept.items()}


def _one_on(match: re.Match[str]) -> str:
    return f"layers.{int(match[1]) + 1}.downsample"


load = loader(build, lambda state, _: rename(state))
