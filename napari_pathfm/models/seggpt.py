"""SegGPT (Wang et al., ICCV 2023): segmentation by example, as a network of transformers.

An example and its mask stand above the image in question and a mask that is still to be painted;
the network paints it, white on black. With several examples, each is looked at beside the image,
and what the network makes of the image is averaged within it (the authors' feature ensemble).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.jobs import Progress
from .base import Answering, ExamplePair, ModelError
from .checkpoint import load_into, read_state
from .device import default_device, to_device
from .weights import find_weights

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of images and of painted masks alike, for pixels scaled to 0..1."""

MOST_EXAMPLES = 8
"""All examples pass the network at once with each image, which takes memory and time for each."""


def load(
    entry: CatalogEntry,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SegGpt:
    """Load SegGPT.

    Parameters
    ----------
    entry : CatalogEntry
    weights : Path, optional
        A checkpoint of transformers, or a folder that may hold it.
    device : str, optional
    report : callable, optional
        Is told how far a download is.

    Raises
    ------
    ModelError
        No checkpoint, or that of another network.
    """
    path = find_weights(entry.spec.name, entry.weights, weights, entry.spec.gate, report)
    network = build(entry, meta=True)
    load_into(network, read_state(path), path, entry.spec.name)
    return SegGpt(entry.spec.name, network, device or default_device())


def build(entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
    """Build the network of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
        ``arch_kwargs`` are those of transformers' ``SegGptConfig`` that are not its own.
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        The network has another number of parameters than the catalogue says.
    """
    import torch
    import transformers

    library: Any = transformers  # its classes have no types
    with torch.device("meta" if meta else "cpu"):
        config = library.SegGptConfig(**entry.arch_kwargs)
        network: torch.nn.Module = library.SegGptForImageSegmentation(config)
    found = sum(parameter.numel() for parameter in network.parameters())
    if found != entry.spec.params:
        raise ModelError(
            f"{entry.origin}: {entry.spec.name} should have params = {entry.spec.params}, but "
            f"transformers' SegGPT has {found}. Correct the entry (arch_kwargs or params)."
        )
    return network.eval()


class SegGpt:
    """A SegGPT as a :class:`~napari_pathfm.models.base.ExampleSegmenter`.

    Parameters
    ----------
    name : str
    network : torch.nn.Module
        transformers' ``SegGptForImageSegmentation`` with its weights.
    device : str
    """

    def __init__(self, name: str, network: torch.nn.Module, device: str) -> None:
        self.name, self.device = name, device
        placed: Any = network.requires_grad_(False).eval().to(device)
        self._network = placed
        _ensemble_like_the_authors(placed)
        self.input_px = int(placed.config.image_size[1])

    def learn(self, examples: Sequence[ExamplePair]) -> Answering:
        """Prepare examples; of more than :data:`MOST_EXAMPLES` the last ones count.

        Raises
        ------
        ValueError
            There is no example.
        """
        import torch

        if not examples:
            raise ValueError("There is no example: save what is meant as an example first.")
        examples = examples[-MOST_EXAMPLES:]
        images = torch.cat([self._image(rgb) for rgb, _ in examples])
        masks = torch.cat([self._target(mask) for _, mask in examples])

        def answer(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
            with torch.inference_mode():
                painted = self._network(
                    pixel_values=self._image(rgb).expand_as(images),
                    prompt_pixel_values=images,
                    prompt_masks=masks,
                    feature_ensemble=len(images) > 1,
                ).pred_masks[:1]
                return self._likely(painted, (rgb.shape[0], rgb.shape[1]))

        return answer

    def _image(self, rgb: NDArray[np.uint8]) -> torch.Tensor:
        """Resize an image as it was done in training: ``(1, 3, px, px)``, normalised."""
        from torchvision.transforms.v2 import functional as vision

        if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
            raise ValueError(f"an image must be (h, w, 3) uint8, not {rgb.shape}")
        pixels = to_device(rgb, self.device).permute(2, 0, 1)
        size, how = [self.input_px, self.input_px], vision.InterpolationMode.BICUBIC
        resized: torch.Tensor = vision.resize(pixels, size, how, antialias=True)
        return self._normalised(resized[None])

    def _target(self, mask: NDArray[np.bool_]) -> torch.Tensor:
        """Paint a mask white on black: ``(1, 3, px, px)``, normalised like an image."""
        import torch

        white = to_device(mask.astype(np.float32) * 255, self.device)[None, None]
        resized = torch.nn.functional.interpolate(white, (self.input_px, self.input_px))
        return self._normalised(resized.expand(1, 3, -1, -1))

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        mean, std = (_channels(values, self.device) for values in (MEAN, STD))
        return (pixels.float() / 255 - mean) / std

    def _likely(self, painted: torch.Tensor, shape: tuple[int, int]) -> NDArray[np.float32]:
        """How near the lower half of what was painted is to white, on the image's own pixels."""
        import torch

        mean, std = (_channels(values, self.device) for values in (MEAN, STD))
        lower = painted[:, :, painted.shape[2] // 2 :] * std + mean
        # Nearer to white than to black is a mean above one half.
        grey = lower.clip(0, 1).mean(1, keepdim=True)
        there = torch.nn.functional.interpolate(grey, shape)[0, 0]
        answer: NDArray[np.float32] = there.float().cpu().numpy()
        return answer


def _ensemble_like_the_authors(network: Any) -> None:
    """Average images and masks apart in the block after which the two become one.

    The authors do so in all blocks up to that one, transformers only in those before it
    (https://github.com/baaivision/Painter, SegGPT_inference/models_seggpt.py, ``merge_idx``).
    """

    def apart(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, _condition, *rest = given
        return (hidden, 2, *rest)  # streams; the ensemble's condition in the blocks before

    layers = network.model.encoder.layers
    layers[network.config.merge_index].register_forward_pre_hook(apart)


def _channels(values: tuple[float, ...], device: str) -> torch.Tensor:
    import torch

    return torch.tensor(values, device=device).view(3, 1, 1)
