"""Hashed lattices: random numbers that belong to a place, and smooth noise between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Whole = NDArray[np.int64]


def hashed(seed: int, *keys: NDArray[np.integer] | int) -> NDArray[np.uint32]:
    """Mix whole numbers into one 32-bit number each (the keys are broadcast).

    The mixer is the finalizer of MurmurHash3 (A. Appleby, public domain), one round a key.
    """
    # an array even for one number: only scalars warn when they wrap around
    state = np.full(np.broadcast_shapes(*map(np.shape, keys)) or (1,), 0, np.uint32)
    state += np.uint32(seed * 2654435761 & 0xFFFFFFFF)
    for key in keys:
        state = state ^ (np.asarray(key).astype(np.int64) & 0xFFFFFFFF).astype(np.uint32)
        state = (state ^ (state >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        state = state ^ (state >> np.uint32(16))
    return state.reshape(np.broadcast_shapes(*map(np.shape, keys)))


def uniform(seed: int, *keys: NDArray[np.integer] | int) -> Array:
    """Random numbers in [0, 1) that follow from their keys."""
    return (hashed(seed, *keys) >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


@dataclass(frozen=True)
class Noise:
    """Smooth random field of mean 0 and standard deviation 1: a cubic B-spline over a lattice.

    Attributes
    ----------
    period : float
        Distance of lattice points in pixels: about the size of its features.
    seed : int
    """

    period: float
    seed: int

    def __call__(self, y: Array, x: Array) -> Array:
        """Evaluate at points ``(N,)``, ``(N,)``, or on a grid ``(h, 1)``, ``(1, w)``."""
        if y.ndim == 2:
            return self._on_grid(y[:, 0], x[0])
        (row, row_weights), (col, col_weights) = self._taps(y), self._taps(x)
        values = uniform(self.seed, row[:, :, None], col[:, None, :])
        return self._scaled(np.einsum("nij,ni,nj->n", values, row_weights, col_weights))

    def _on_grid(self, y: Array, x: Array) -> Array:
        """Interpolate axis by axis, with sparse products: four look-ups a pixel, not sixteen.

        (A dense product would be left to BLAS, whose threads spin and whose sums differ from one
        machine to another.)
        """
        (rows, down), (cols, across) = self._matrix(y), self._matrix(x)
        wide = across @ uniform(self.seed, rows, cols[:, None])
        return self._scaled(down @ np.ascontiguousarray(wide.T))

    def _matrix(self, at: Array) -> tuple[Whole, Any]:
        """Lattice points of an axis, and the sparse matrix from them to positions."""
        from scipy.sparse import csr_array

        taps, weights = self._taps(at)
        first, last = int(taps.min()), int(taps.max())
        starts = np.arange(0, taps.size + 1, 4)
        matrix = csr_array(
            (weights.ravel(), (taps - first).ravel(), starts), (len(at), last - first + 1)
        )
        return np.arange(first, last + 1), matrix

    def _taps(self, at: Array) -> tuple[Whole, Array]:
        """Four lattice points around each position, and their B-spline weights: ``(N, 4)``."""
        position = np.asarray(at, np.float64) / self.period
        base = np.floor(position)
        t = (position - base)[:, None]
        weights = np.concatenate(
            [
                (1 - t) ** 3,
                3 * t**3 - 6 * t**2 + 4,
                -3 * t**3 + 3 * t**2 + 3 * t + 1,
                t**3,
            ],
            axis=1,
        )
        taps = base.astype(np.int64)[:, None] + np.arange(-1, 3)
        return taps, (weights / 6).astype(np.float32)

    @staticmethod
    def _scaled(values: NDArray[np.floating]) -> Array:
        # a uniform number has sd 0.289, and the spline leaves 0.479 of the variance on each axis
        return ((values - 0.5) / np.float32(0.138)).astype(np.float32, copy=False)
