"""Segment Anything (Kirillov et al., 2023, https://github.com/facebookresearch/segment-anything)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.jobs import Progress
from .catalog import entries
from .checkpoint import load_into, read_state
from .device import default_device
from .sam_segmenter import SamSegmenter
from .weights import find_weights

if TYPE_CHECKING:
    import torch

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)

ARCHITECTURES = {
    "sam-vit-b": "vit_b",
    "sam-vit-l": "vit_l",
    "sam-vit-h": "vit_h",
    "micro-sam-vit-b-lm": "vit_b",
    "patho-sam-vit-b": "vit_b",
    "patho-sam-vit-l": "vit_l",
    "patho-sam-vit-h": "vit_h",
}
"""Our names, and those of segment-anything for the network."""


def vit_b(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load SAM with the ViT-B image encoder (see :func:`load`)."""
    return load("sam-vit-b", weights, device, report)


def vit_l(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load SAM with the ViT-L image encoder (see :func:`load`)."""
    return load("sam-vit-l", weights, device, report)


def vit_h(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load SAM with the ViT-H image encoder (see :func:`load`)."""
    return load("sam-vit-h", weights, device, report)


def micro_vit_b(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load micro-sam's ViT-B for light microscopy (Archit et al., Nature Methods 2025)."""
    return load("micro-sam-vit-b-lm", weights, device, report)


def patho_vit_b(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load PathoSAM with ViT-B (Griebel et al., 2025, https://arxiv.org/abs/2502.00408)."""
    return load("patho-sam-vit-b", weights, device, report)


def patho_vit_l(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load PathoSAM with ViT-L (see :func:`patho_vit_b`)."""
    return load("patho-sam-vit-l", weights, device, report)


def patho_vit_h(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load PathoSAM with ViT-H (see :func:`patho_vit_b`)."""
    return load("patho-sam-vit-h", weights, device, report)


def load(
    name: str,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load a SAM.

    Parameters
    ----------
    name : str
        One of :data:`ARCHITECTURES`.
    weights : Path, optional
        A checkpoint, or a folder that may hold it under its original name or ours; downloaded
        from Meta if it is found nowhere.
    device : str, optional
    report : callable, optional
        Is told how far a download is.

    Raises
    ------
    ModelError
        No checkpoint, or that of another network.
    """
    import torch
    from segment_anything import sam_model_registry

    path = find_weights(name, entries()[name].weights, weights, report=report)
    state = read_state(path)
    with torch.device("meta"):
        network = sam_model_registry[ARCHITECTURES[name]]()
    load_into(network, state, path, name)
    where = device or default_device()
    return SamSegmenter(name, network, 1024, normalise, where, origin=(name, weights))


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Subtract SAM's pixel mean and divide by its deviation: ``(1, 3, h, w)``, 0 to 255."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (images - mean) / std
