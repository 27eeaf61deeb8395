"""MobileSAM (Zhang et al., 2023, https://github.com/ChaoningZhang/MobileSAM).

SAM's prompt encoder and mask decoder behind a TinyViT. The network is that of LiteMedSAM, whose
authors began with it, but for its first two layers: they halve the image twice, so that 1024 px go
in instead of 256.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.jobs import Progress
from . import litemedsam
from .catalog import entries
from .checkpoint import load_into, read_state
from .device import default_device
from .sam import normalise
from .sam_segmenter import SamSegmenter
from .weights import find_weights

if TYPE_CHECKING:
    import torch

NAME, INPUT_PX = "mobile-sam", 1024

TRAINING_ONLY = ("image_encoder.head.", "image_encoder.norm_head.")
"""Of the checkpoint: the encoder's former classes of ImageNet."""


def load(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load MobileSAM.

    Parameters
    ----------
    weights : Path, optional
        A checkpoint, or a folder that may hold it; downloaded if it is found nowhere.
    device : str, optional
    report : callable, optional
        Is told how far a download is.

    Raises
    ------
    ModelError
        No checkpoint, or that of another network.
    """
    path = find_weights(NAME, entries()[NAME].weights, weights, report=report)
    state = {k: v for k, v in read_state(path).items() if not k.startswith(TRAINING_ONLY)}
    network = build()
    load_into(network, state, path, NAME)
    where = device or default_device()
    return SamSegmenter(NAME, network, INPUT_PX, normalise, where, origin=(NAME, weights))


def build() -> torch.nn.Module:
    """Build the network without its weights."""
    from torch import nn

    network: Any = litemedsam.build()
    stem = network.image_encoder.patch_embed.seq
    of_both = type(stem[0])  # convolution and batch norm
    wide, narrow = stem[2].c.out_channels, stem[0].c.out_channels
    network.image_encoder.patch_embed.seq = nn.Sequential(
        of_both(3, narrow, 3, 2, 1), nn.GELU(), of_both(narrow, wide, 3, 2, 1)
    )
    network.prompt_encoder.input_image_size = (INPUT_PX, INPUT_PX)
    made: nn.Module = network
    return made
