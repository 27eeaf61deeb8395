"""An encoder in another's clothes, for what changes one thing about it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import FeatureKey
from .base import Encoder, EncoderSpec
from .precision import Calibrating, agreement_of, compiling

E = TypeVar("E", bound=Encoder)


class WrappedEncoder(Generic[E]):
    """An encoder that does all that another one does; a subclass changes some of it.

    Parameters
    ----------
    encoder : Encoder
    """

    def __init__(self, encoder: E) -> None:
        self._encoder = encoder

    @property
    def spec(self) -> EncoderSpec:
        """Facts of the encoder."""
        return self._encoder.spec

    @property
    def key(self) -> FeatureKey:
        """What makes its embeddings comparable."""
        return self._encoder.key

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._encoder.device

    @property
    def calibrated(self) -> bool:
        """Whether there is nothing to calibrate any more."""
        encoder: object = self._encoder
        return not isinstance(encoder, Calibrating) or encoder.calibrated

    @property
    def agreement(self) -> str:
        """How near its vectors are to those of float32, in words."""
        return agreement_of(self._encoder)

    @property
    def compiling(self) -> bool:
        """Whether it is being compiled meanwhile."""
        return compiling(self._encoder)

    def calibration(self, tiles: NDArray[np.uint8], unit: int) -> Generator[None, None, None]:
        """Find the encoder's precision."""
        encoder: object = self._encoder
        if isinstance(encoder, Calibrating):
            yield from encoder.calibration(tiles, unit)

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed ``(B, H, W, 3)`` uint8 tiles: ``(B, D)`` float32."""
        return self._encoder.embed(tiles)

    def tokens(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Patch tokens ``(B, h, w, C)`` of ``(B, H, W, 3)`` uint8 tiles."""
        return self._encoder.tokens(tiles)
