"""Our click model: LiteMedSAM's image encoder with a prompt encoder and a mask decoder of ours.

LiteMedSAM (Ma et al., 2024, https://github.com/bowang-lab/MedSAM) was trained on boxes; ours were
trained by ``pathfm train-click`` for points, boxes and earlier answers. What they were trained on
and how well they do stands in docs/click-model.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.jobs import Progress
from . import litemedsam
from .catalog import entries
from .checkpoint import load_into, read_state
from .device import default_device
from .sam import SamSegmenter
from .weights import find_weights

if TYPE_CHECKING:
    import torch

NAME, INPUT_PX = "pathfm-click", 168
"""LiteMedSAM's encoder sees 256 px. It takes two fifths of the time here, and masks of nuclei are
no worse; its windows of 7 and 14 positions fit this side without padding."""

PARTS = ("prompt_encoder", "mask_decoder")
"""Of the network that are ours."""


def load(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load the click model.

    Parameters
    ----------
    weights : Path, optional
        What ``pathfm train-click`` made, or a folder that may hold it; those that come with this
        program if absent.
    device : str, optional
    report : callable, optional
        Is told how far a download is; there is none here.

    Raises
    ------
    ModelError
        LiteMedSAM's package is incomplete, or the file is another network's.
    """
    theirs = find_weights(litemedsam.NAME, entries()[litemedsam.NAME].weights, None, report=report)
    path = find_weights(NAME, entries()[NAME].weights, weights, report=report)
    encoder = {key: value for key, value in read_state(theirs).items() if not key.startswith(PARTS)}
    network = litemedsam.build(INPUT_PX)
    load_into(network, {**encoder, **read_state(path)}, path, NAME)
    return SamSegmenter(
        NAME,
        network,
        input_px=INPUT_PX,
        normalise=litemedsam.stretch,
        device=device or default_device(),
        origin=(NAME, weights),
    )


def to_train(weights: Path | None = None) -> tuple[SamSegmenter, torch.nn.Module]:
    """Return the segmenter whose image encoder encodes crops, and the network to be trained.

    Parameters
    ----------
    weights : Path, optional
        Of ours, to go on with; LiteMedSAM's own if absent.
    """
    theirs = find_weights(litemedsam.NAME, entries()[litemedsam.NAME].weights, None)
    network, state = litemedsam.build(INPUT_PX), read_state(theirs)
    if weights is not None:
        state |= read_state(weights)
    load_into(network, state, weights or theirs, NAME)
    encoding = litemedsam.build(INPUT_PX)  # of its own: what encodes is converted
    load_into(encoding, read_state(theirs), theirs, litemedsam.NAME)
    stretch, device = litemedsam.stretch, default_device()
    return SamSegmenter(litemedsam.NAME, encoding, INPUT_PX, stretch, device), network
