"""Models of whole slides that need no weights, and what all of them check."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .base import SlideSpec

Pool = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Pooling:
    """A :class:`~napari_pathfm.models.base.SlideModel` that pools the tiles of any encoder.

    Parameters
    ----------
    name : str
    pool : callable
        ``(N, D)`` to ``(D,)``.
    """

    device = "cpu"

    def __init__(self, name: str, pool: Pool) -> None:
        self._pool = pool
        self.spec = SlideSpec(
            name=name,
            kind="slide",
            params=0,
            licence="none needed",
            commercial=True,
            gate="",
            source="",
            encoder="",
            dim_in=0,
            dim=0,
            tile_px=0,
            mpp=0.0,
            precision="float32",
        )

    def embed_slide(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32]:
        """Return the pooled vector, ``(D,)`` float32."""
        check_bag(vectors, centres, self.spec)
        return self._pool(vectors).astype(np.float32)

    def attention(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32] | None:
        """Nothing: no tile was chosen by what it shows."""
        return None


def mean() -> Pooling:
    """Mean of each feature over the tiles."""
    return Pooling("mean", lambda vectors: vectors.mean(0, dtype=np.float64))


def maximum() -> Pooling:
    """Largest value of each feature over the tiles."""
    return Pooling("max", lambda vectors: vectors.max(0))


def check_bag(vectors: NDArray[np.float32], centres: NDArray[np.float64], spec: SlideSpec) -> None:
    """Raise ``ValueError`` unless these are the tiles of a slide that the model can take."""
    if vectors.ndim != 2 or not len(vectors) or centres.shape != (len(vectors), 2):
        raise ValueError(
            "a slide is vectors (N, D) and as many centres (N, 2), N at least 1, not "
            f"{vectors.shape} and {centres.shape}"
        )
    if spec.dim_in and vectors.shape[1] != spec.dim_in:
        raise ValueError(
            f"{spec.name} takes the {spec.dim_in} numbers that {spec.encoder} gives, not "
            f"{vectors.shape[1]}: embed the slide with {spec.encoder}."
        )
