"""Encoders of images and texts for tests: the real CLIP B/32 with random weights, and wrapped."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathfm.models.precision import FLOAT32, Trial

FOLDER = tempfile.TemporaryDirectory(prefix="pathfm-test-")
"""Goes when the tests are over."""


@functools.cache
def clip_file() -> Path:
    """A file with random weights of CLIP, one for all tests."""
    from napari_pathfm.models.catalog import build, entries

    torch.manual_seed(0)
    network = build(entries()["clip"])
    with torch.no_grad():
        # Fresh networks give all images nearly the same vector; these differ.
        for parameter in network.vision_model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    path = Path(FOLDER.name) / "clip.pth"
    torch.save(network.state_dict(), path)
    return path


@functools.cache
def clip() -> Any:
    """The encoder of that file, which stays in float32."""
    from napari_pathfm.models.catalog import get_encoder

    encoder: Any = get_encoder("clip", weights=clip_file(), device="cpu")
    encoder.trials = (Trial(FLOAT32, 0.0, 1.0, 1.0, np.zeros((0, 512), np.float32)),)
    return encoder


class Apart:
    """The same encoder, but its pooled vectors are the class tokens, which lie elsewhere."""

    logit_scale = 100.0

    def __init__(self) -> None:
        self._clip = clip()
        self.spec = replace(self._clip.spec, joint=False, dim=768, pooling="cls")
        self.embedded = 0

    @property
    def key(self) -> Any:
        return replace(self._clip.key, pooling="cls")

    @property
    def device(self) -> str:
        return "cpu"

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.tokens(tiles).mean((1, 2))

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._clip.tokens(tiles)
        return found

    def embed_text(self, texts: list[str]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._clip.embed_text(texts)
        return found

    def embed_for_text(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.embedded += len(tiles)
        found: NDArray[np.float32] = self._clip.embed_for_text(tiles)
        return found
