"""SAM 2.1 (Ravi et al., 2024, https://github.com/facebookresearch/sam2), a network of transformers.

Its parts are brought into the form of SAM's three, so that
:class:`~.sam_segmenter.SamSegmenter` runs them: the three feature maps of an image become one
array, and objects are a batch of images that are alike.
"""

from __future__ import annotations

import math
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

INPUT_PX = 1024
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

SIZES = ("tiny", "small", "base-plus", "large")

MAPS = ((32, 256, 256), (64, 128, 128), (256, 64, 64))
"""Feature maps of an image, ``(C, h, w)``, the finest first."""

BACKBONES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 96,
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 2, 7, 2],
        "embed_dim_per_stage": [96, 192, 384, 768],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 14, 7],
        "global_attention_blocks": [5, 7, 9],
        "window_positional_embedding_background_size": [7, 7],
    },
    "small": {
        "hidden_size": 96,
        "num_attention_heads": 1,
        "blocks_per_stage": [1, 2, 11, 2],
        "embed_dim_per_stage": [96, 192, 384, 768],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [8, 4, 14, 7],
        "global_attention_blocks": [7, 10, 13],
        "window_positional_embedding_background_size": [7, 7],
    },
    "base-plus": {
        "hidden_size": 112,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 3, 16, 3],
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 14, 7],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144,
        "num_attention_heads": 2,
        "blocks_per_stage": [2, 6, 36, 4],
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
        "window_positional_embedding_background_size": [7, 7],
    },
}
"""Hiera's of each size (the repository's ``configs/sam2.1``)."""


def tiny(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load the tiny one (see :func:`load`)."""
    return load("sam2.1-tiny", weights, device, report)


def small(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load the small one (see :func:`load`)."""
    return load("sam2.1-small", weights, device, report)


def base_plus(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load the middle one (see :func:`load`)."""
    return load("sam2.1-base-plus", weights, device, report)


def large(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load the large one (see :func:`load`)."""
    return load("sam2.1-large", weights, device, report)


def load(
    name: str,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load a SAM 2.1 for still images.

    Parameters
    ----------
    name : str
        "sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus" or "sam2.1-large".
    weights : Path, optional
        ``model.safetensors`` of ``facebook/sam2.1-hiera-*``, or a folder that may hold it;
        downloaded if it is found nowhere.
    device : str, optional
    report : callable, optional
        Is told how far a download is.

    Raises
    ------
    ModelError
        No weights, or those of another network.
    """
    path = find_weights(name, entries()[name].weights, weights, report=report)
    network = build(name)
    state = {k: v for k, v in read_state(path).items() if not k.startswith(VIDEO_ONLY)}
    load_into(network, state, path, name)
    return SamSegmenter(name, as_sam(network), INPUT_PX, normalise, device or default_device())


VIDEO_ONLY = (
    "memory_",
    "mask_downsample",
    "object_pointer_",
    "temporal_positional_encoding_",
    "no_memory_positional_encoding",
    "no_object_pointer",
    "occlusion_spatial_embedding_parameter",
)
"""Parameters of the checkpoint that follow objects through a video."""


def build(name: str) -> torch.nn.Module:
    """Build the network of a name without its weights."""
    import transformers

    library: Any = transformers  # its classes have no types
    backbone = BACKBONES[name.removeprefix("sam2.1-")]
    detector = library.Sam2HieraDetConfig(**backbone)
    vision = library.Sam2VisionConfig(
        backbone_config=detector, backbone_channel_list=backbone["embed_dim_per_stage"][::-1]
    )
    network: torch.nn.Module = library.Sam2Model(library.Sam2Config(vision_config=vision))
    return network.eval()


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Bring pixels, ``(1, 3, h, w)`` of 0 to 255, to what the image encoder was trained on."""
    mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images / 255 - mean) / std


def as_sam(network: Any) -> torch.nn.Module:
    """Return a network with SAM's ``image_encoder``, ``prompt_encoder`` and ``mask_decoder``."""
    import torch

    class ImageEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.network.get_image_embeddings(images)
            return torch.cat([each.flatten(1) for each in maps], 1)

    class PromptEncoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, points: Any, boxes: Any, masks: Any) -> tuple[Any, Any]:
            places, signs = (None, None) if points is None else points
            sparse, dense = self.network.prompt_encoder(
                input_points=None if places is None else places[:, None],
                input_labels=None if signs is None else signs[:, None].int(),
                input_boxes=None if boxes is None else boxes[:, None],
                input_masks=masks,
            )
            return sparse, dense

        def get_dense_pe(self) -> torch.Tensor:
            places: torch.Tensor = self.network.get_image_wide_positional_embeddings()
            return places

    class MaskDecoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(
            self,
            image_embeddings: torch.Tensor,
            image_pe: torch.Tensor,
            sparse_prompt_embeddings: torch.Tensor,
            dense_prompt_embeddings: torch.Tensor,
            multimask_output: bool,
        ) -> tuple[torch.Tensor, torch.Tensor]:
            objects = len(sparse_prompt_embeddings)
            parts = torch.split(image_embeddings, [math.prod(size) for size in MAPS], 1)
            maps = [
                part.view(1, *size).expand(objects, -1, -1, -1)
                for part, size in zip(parts, MAPS, strict=True)
            ]
            masks, scores, *_ = self.network.mask_decoder(
                image_embeddings=maps[-1],
                image_positional_embeddings=image_pe.expand(objects, -1, -1, -1),
                sparse_prompt_embeddings=sparse_prompt_embeddings,
                dense_prompt_embeddings=dense_prompt_embeddings,
                multimask_output=multimask_output,
                high_resolution_features=maps[:-1],
            )
            return masks[:, 0], scores[:, 0]

    return torch.nn.ModuleDict(
        {
            "image_encoder": ImageEncoder(),
            "prompt_encoder": PromptEncoder(),
            "mask_decoder": MaskDecoder(),
        }
    )
