"""The principal axes of vectors: what they differ in most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .search import lengths

SAMPLE = 8192
"""Vectors from which the axes are found."""

_ITERATIONS = 12
_CHUNK = 16_384


def principal(vectors: NDArray[np.float32], dims: int, sample: int = SAMPLE) -> NDArray[np.float32]:
    """Project vectors, each brought to length 1, on their first principal axes.

    Parameters
    ----------
    vectors : ndarray
        ``(M, D)`` float32.
    dims : int
    sample : int
        The axes come from at most so many vectors, evenly picked; all are projected on them.

    Returns
    -------
    ndarray
        ``(M, dims)`` float32. Axes that do not exist (few vectors, or short ones) are columns of 0.
    """
    result = np.zeros((len(vectors), dims), np.float32)
    if len(vectors) < 2:
        return result
    picked = np.linspace(0, len(vectors) - 1, min(sample, len(vectors))).astype(int)
    unit = vectors[picked] / lengths(vectors[picked])[:, None]
    mean = unit.mean(0)
    axes = _axes(unit - mean, dims)
    for start in range(0, len(vectors), _CHUNK):
        block = vectors[start : start + _CHUNK]
        # Divided after the projection: the vectors of a whole slide are not copied.
        flat = block @ axes / lengths(block)[:, None] - mean @ axes
        result[start : start + _CHUNK, : axes.shape[1]] = flat
    return result


def turned(
    xy: NDArray[np.float32], some: NDArray[np.float32], before: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Turn and mirror places on a plane, so that some of them lie about where they were before.

    By the orthogonal Procrustes problem (Schönemann 1966, doi:10.1007/BF02289451): distances stay.

    Parameters
    ----------
    xy : ndarray
        ``(M, 2)`` float32: all places.
    some, before : ndarray
        ``(K, 2)`` float32: some of them as they are now, and as they were.
    """
    if len(some) < 2:
        return xy
    left, _, right = np.linalg.svd((some - some.mean(0)).T @ (before - before.mean(0)))
    rotated: NDArray[np.float32] = (xy @ (left @ right)).astype(np.float32)
    return rotated


def _axes(centred: NDArray[np.float32], dims: int) -> NDArray[np.float32]:
    """First principal axes of ``(S, D)`` centred vectors: ``(D, <= dims)``, widest first.

    By subspace iteration (Halko, Martinsson, Tropp 2011, arXiv:0909.4061) with products and small
    decompositions only: larger ones take long, and stop all other threads meanwhile.
    """
    count, size = centred.shape
    covariance: NDArray[np.float32] = centred.T @ centred
    width = min(size, count, dims + 16)
    start = np.random.default_rng(0).standard_normal((size, width), dtype=np.float32)
    basis = _orthonormal(start)
    for _ in range(_ITERATIONS):
        spread: NDArray[np.float32] = covariance @ basis
        basis = _orthonormal(spread)
    _, turn = np.linalg.eigh(basis.T @ covariance @ basis)
    axes = basis @ turn[:, : -dims - 1 : -1]
    # An axis has no direction of its own: fix it, so that a map is never mirrored by chance.
    strongest = np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0)
    return np.ascontiguousarray(axes * np.where(strongest < 0, -1, 1), np.float32)


def _orthonormal(basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns ``(D, K)`` that span the same, at right angles and of length 1."""
    for _ in range(2):  # the second round takes away what rounding left in the first
        wide = basis.astype(np.float64)
        squares, turn = np.linalg.eigh(wide.T @ wide)
        scale = np.sqrt(np.maximum(squares, squares[-1] * 1e-12 + 1e-300))
        basis = (wide @ (turn / scale)).astype(np.float32)
    return basis
