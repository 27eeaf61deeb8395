"""How much places of a crop, and objects in it, resemble examples, by an encoder's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.prompts import MaskPrompt
from ..models.base import ImageEmbedding
from .crop import Square
from .crop_cache import Seen

Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Likeness:
    """What examples look like.

    Attributes
    ----------
    vectors : ndarray
        ``(E, C)`` float32 of length 1: the mean of the features of each example, less `centre`.
    centre : ndarray
        ``(C,)`` float32: the mean of the features around them. Without it everything on a slide
        resembles everything else.
    """

    vectors: Features
    centre: Features

    @classmethod
    def of(cls, examples: Sequence[tuple[Seen, MaskPrompt]]) -> Likeness:
        """Learn from examples, each in a crop that shows its surroundings, too."""
        inside, around = [], []
        for seen, shape in examples:
            features = feature_map(seen.embedding)
            where = covered(seen.crop, features.shape[1:], shape)
            inside.append(features[:, where].mean(1))
            around.append(features[:, ~where].mean(1))
        centre = np.mean(around, axis=0)
        return cls(_unit(np.stack(inside) - centre), centre)

    def map(self, embedding: ImageEmbedding) -> NDArray[np.float32]:
        """Cosine of each place of a crop to the most similar example: ``(h, w)`` float32."""
        features = feature_map(embedding)
        places = _unit(features.reshape(len(features), -1).T - self.centre)
        likest: NDArray[np.float32] = (places @ self.vectors.T).max(1)
        return likest.reshape(features.shape[1:])

    def score(self, seen: Seen, shape: MaskPrompt) -> float:
        """Cosine of an object in a crop to the most similar example, -1 to 1."""
        features = feature_map(seen.embedding)
        vector = features[:, covered(seen.crop, features.shape[1:], shape)].mean(1)
        return float((_unit(vector[None] - self.centre) @ self.vectors.T).max())


def feature_map(embedding: ImageEmbedding) -> Features:
    """Features of a crop, ``(C, h, w)`` float32 over the crop.

    Raises
    ------
    ValueError
        The segmenter keeps something else.
    """
    features = embedding.features
    if features.ndim != 3 or features.dtype.kind != "f":
        raise ValueError(
            f"{embedding.model} keeps no map of features, so nothing can be compared with it: "
            "choose another segmenter (pathfm-click) to find more like an object."
        )
    return features.astype(np.float32, copy=False)


def covered(crop: Square, shape: tuple[int, ...], object_: MaskPrompt) -> NDArray[np.bool_]:
    """Which of the features of a crop, ``(h, w)``, have their centre in an object; at least one."""
    mask = object_.mask
    step = np.array(crop.side) / shape
    rows, cols = (
        np.floor((corner + (np.arange(count) + 0.5) * each - start) / object_.downsample)
        for corner, count, each, start in (
            (crop.y, shape[0], step[0], object_.y),
            (crop.x, shape[1], step[1], object_.x),
        )
    )
    inside = np.zeros(shape, bool)
    ys, xs = ((at >= 0) & (at < side) for at, side in zip((rows, cols), mask.shape, strict=True))
    inside[np.ix_(ys, xs)] = mask[np.ix_(rows[ys].astype(int), cols[xs].astype(int))]
    if not inside.any():  # smaller than a feature
        middle = np.argwhere(mask).mean(0) + 0.5
        at = (np.array((object_.y, object_.x)) + middle * object_.downsample) - (crop.y, crop.x)
        row, col = np.floor(at / step).astype(int).clip(0, np.array(shape) - 1)
        inside[row, col] = True
    return inside


def _unit(vectors: NDArray[np.floating]) -> Features:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Features = (vectors / np.maximum(length, 1e-6)).astype(np.float32)
    return unit
