"""Blocks of our own after a frozen image encoder: they turn its features towards tissue."""

from __future__ import annotations

import torch
from torch import nn

BLOCKS, KERNEL, WIDER = 2, 7, 2


class Adapter(nn.Module):
    """ConvNeXt blocks (Liu et al., "A ConvNet for the 2020s", CVPR 2022), at first without effect.

    As adapters of frozen networks are (Houlsby et al., ICML 2019), the last layer of each block
    begins with zeros. An image goes through them once, whatever it is asked afterwards.

    Parameters
    ----------
    width : int
        Channels of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(BLOCKS)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Change features, ``(B, C, h, w)`` of any floating dtype."""
        changed: torch.Tensor = self.blocks(features)
        return changed


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, WIDER * width)
        self.narrow = nn.Linear(WIDER * width, width)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        found = self.norm(self.spread(features).movedim(1, -1))
        found = self.narrow(nn.functional.gelu(self.widen(found)))
        changed: torch.Tensor = features + found.movedim(-1, 1)
        return changed
