"""Segmentation by example with nothing but an encoder of tiles: its patch tokens and prototypes.

The tokens of the examples, inside and outside of what is meant, are each summed up as a few mean
vectors (k-means); a token of another image is meant where it is nearer, by cosine, to a prototype
of the inside than to any of the outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB
from ..models.base import Answering, Encoder, EncoderSpec, ExamplePair

TOKENS = 28
"""Tokens along a side of an image; it is enlarged until there are so many."""

PROTOTYPES = 4
"""Of the inside, and of the outside."""

MOSTLY_IN, MOSTLY_OUT = 0.5, 0.25
"""A token is inside if more than this part of it is meant, outside if less than that."""

SOFTNESS = 0.05
"""Difference of cosines at which an answer is sure to 73%."""

Vectors = NDArray[np.float32]


class Prototypes:
    """An encoder as an :class:`~napari_pathfm.models.base.ExampleSegmenter`.

    Parameters
    ----------
    encoder : Encoder
        Any that has patch tokens.
    input_px : int
        Side of the square to look at; as large as the examples'.
    """

    def __init__(self, encoder: Encoder, input_px: int = 448) -> None:
        self._encoder = encoder
        self.name, self.device = f"prototypes of {encoder.spec.name}", encoder.device
        self.input_px = input_px

    def learn(self, examples: Sequence[ExamplePair]) -> Answering:
        """Make prototypes of examples.

        Raises
        ------
        ValueError
            There is no example, or what is meant is too small to fill a token, or fills all.
        """
        marked = [self._marked(*pair) for pair in examples]
        inside, outside = (
            np.concatenate([np.zeros((0, self._encoder.spec.token_dim), np.float32), *parts])
            for parts in (list(zip(*marked, strict=True)) or [(), ()])
        )
        if not len(inside) or not len(outside):
            raise ValueError(
                "The examples show too little of what is meant, or nothing else: save an example "
                "of an object that can be seen well, with something around it."
            )
        meant, others = _prototypes(inside), _prototypes(outside)

        def answer(rgb: RGB) -> NDArray[np.float32]:
            tokens = _unit(image_tokens(self._encoder, rgb))
            margin: Vectors = (tokens @ meant.T).max(-1) - (tokens @ others.T).max(-1)
            return _enlarged(1 / (1 + np.exp(-margin / SOFTNESS)), rgb.shape[:2])

        return answer

    def _marked(self, rgb: RGB, mask: NDArray[np.bool_]) -> tuple[Vectors, Vectors]:
        """Tokens inside and outside of a mask, each ``(N, token_dim)``."""
        from PIL import Image

        tokens = image_tokens(self._encoder, rgb)
        size = tokens.shape[1], tokens.shape[0]
        part = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
        share = np.asarray(part)
        return tokens[share > MOSTLY_IN], tokens[share < MOSTLY_OUT]


def image_tokens(encoder: Encoder, rgb: RGB) -> Vectors:
    """Patch tokens of a whole image, as fine as :data:`TOKENS`; a unit of inference.

    An encoder that takes one size only gets the image in as many tiles as it needs.

    Parameters
    ----------
    encoder : Encoder
    rgb : ndarray
        ``(h, w, 3)`` uint8; seen as a square.

    Returns
    -------
    ndarray
        ``(n, n, token_dim)`` float32.
    """
    spec = encoder.spec
    if spec.any_size:
        found: Vectors = encoder.tokens(_resized(rgb, TOKENS * spec.patch)[None])[0]
        return found
    across = -(-TOKENS * spec.patch // spec.input_px)
    tokens = encoder.tokens(_cut(rgb, spec, across))
    side = tokens.shape[1]
    grid = tokens.reshape(across, across, side, side, -1).swapaxes(1, 2)
    whole: Vectors = grid.reshape(across * side, across * side, -1)
    return whole


def _cut(rgb: RGB, spec: EncoderSpec, across: int) -> RGB:
    """Cut an image into ``across ** 2`` tiles, row by row, the middles of which lie side by side.

    Some encoders see the middle of a tile only; what is around comes from the neighbours.
    """
    edge = (spec.tile_px - spec.input_px) // 2
    image = _resized(rgb, across * spec.input_px)
    image = np.pad(image, ((edge, edge), (edge, edge), (0, 0)), "reflect")
    starts = [number * spec.input_px for number in range(across)]
    px = spec.input_px + 2 * edge
    return np.stack([image[y : y + px, x : x + px] for y in starts for x in starts])


def _prototypes(vectors: Vectors) -> Vectors:
    """Up to :data:`PROTOTYPES` mean directions of ``(N, C)`` vectors, each of length 1."""
    from sklearn.cluster import KMeans

    units = _unit(vectors)
    count = min(PROTOTYPES, len(np.unique(units, axis=0)))
    return _unit(KMeans(count, n_init=3, random_state=0).fit(units).cluster_centers_)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return units


def _resized(rgb: RGB, px: int) -> RGB:
    from PIL import Image

    return np.asarray(Image.fromarray(rgb).resize((px, px), Image.Resampling.BICUBIC))


def _enlarged(values: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float32]:
    from PIL import Image

    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
