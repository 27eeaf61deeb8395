"""How much memory a model needs to run at all: for one tile, or one image."""

from __future__ import annotations

from .base import EncoderSpec, ModelSpec

FLOAT32 = 4
"""Bytes of a number; every network is loaded in float32."""
HALF_COPIES = {"GPU": 2, "computer": 1}
"""Copies in half precision that an encoder holds beside it while its precision is chosen on the
first tiles: the best one so far and the one that is tried; on a processor there is but one."""
NUMBERS_PER_CHANNEL = 20
NUMBERS_PER_PIXEL = 100
"""What is alive at once within a network, for each channel of each patch token and for each pixel
of its input. No encoder of the catalogue needs more, for most it is a half or a third of that."""


def needed_bytes(spec: ModelSpec, where: str) -> int:
    """Estimate what a model needs at its peak.

    The weights in float32; for an encoder also its copies in half precision, and what one tile
    takes on its way through the network; for a segmenter what one image takes, from the catalogue.
    More tiles at once need more, but their number is cut until they fit.

    Parameters
    ----------
    spec : ModelSpec
    where : str
        "GPU" or "computer".

    Returns
    -------
    int
        Bytes; 0 if nobody has said how many parameters it has.
    """
    if not spec.params:
        return 0
    weights = spec.params * FLOAT32 + spec.image_mb * 1_000_000
    if not isinstance(spec, EncoderSpec):
        return weights
    return weights + spec.params * 2 * HALF_COPIES[where] + tile_bytes(spec)


def tile_bytes(spec: EncoderSpec) -> int:
    """Estimate what one tile takes in float32 on its way through an encoder, in bytes."""
    tokens = (spec.input_px // spec.patch) ** 2
    channels = tokens * spec.token_dim * NUMBERS_PER_CHANNEL
    passes = 4 if spec.pooling == "two-scale" else 1
    return passes * FLOAT32 * (channels + spec.input_px**2 * NUMBERS_PER_PIXEL)
