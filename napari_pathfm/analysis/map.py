"""Lay tiles out on a plane, so that alike tiles are neighbours; and group them."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings
from ..core.jobs import Job, Progress
from .axes import SAMPLE, principal, turned

FEW = 15
"""Up to so many tiles a UMAP says no more than a PCA."""

_EXACT = 200_000  # tiles; exact neighbours take 20 s for 100,000 on 2 cores and grow by the square
_BLOCK = 1024  # rows a step of the exact search


@dataclass(frozen=True, eq=False)
class MapCoordinates:
    """Where tiles lie on the map.

    Attributes
    ----------
    tiles : ndarray
        ``(M,)`` int64: number of the tile in its grid.
    xy : ndarray
        ``(M, 2)`` float32: places on the map ``(x, y)``; the unit means nothing.
    method : str
        "PCA" or "UMAP".
    note : str
        What the user should know of it ("too few tiles for UMAP"), mostly empty.
    """

    tiles: NDArray[np.int64]
    xy: NDArray[np.float32]
    method: str
    note: str = ""

    def __len__(self) -> int:
        return len(self.tiles)


def pca_map(
    embeddings: Embeddings,
    note: str = "",
    like: MapCoordinates | None = None,
    sample: int = SAMPLE,
) -> MapCoordinates:
    """Map tiles by the two principal axes of their vectors, each brought to length 1.

    The axes come from at most `sample` tiles, evenly picked, and all tiles are projected on them:
    the first picture of 100,000 tiles appears within a second.

    Parameters
    ----------
    embeddings : Embeddings
    note : str
        Passed on to :attr:`MapCoordinates.note`.
    like : MapCoordinates, optional
        An earlier map of some of the tiles: this one is turned and mirrored so that they lie
        where they were, as far as that goes.
    sample : int
    """
    xy = principal(embeddings.vectors, 2, sample)
    return MapCoordinates(embeddings.tiles, _as_before(xy, embeddings, like), "PCA", note)


def umap_map(
    embeddings: Embeddings,
    neighbors: int = 15,
    seed: int = 0,
    like: MapCoordinates | None = None,
) -> Job[MapCoordinates]:
    """Map tiles by UMAP, from the 50 principal axes of their vectors of length 1.

    The layout starts from the PCA map, so clusters stay about where :func:`pca_map` showed them.
    Neighbours are exact up to 200,000 tiles. The same seed gives the same map on one machine.

    Parameters
    ----------
    embeddings : Embeddings
    neighbors : int
        How many neighbours of a tile count, itself included; few show detail, many the whole.
    seed : int
    like : MapCoordinates, optional
        An earlier map of some of the tiles, which the layout starts from as :func:`pca_map` does.

    Returns
    -------
    MapCoordinates
        By PCA, with a note, for at most 15 tiles or no more tiles than `neighbors`.

    References
    ----------
    McInnes, Healy, Melville 2018, arXiv:1802.03426; https://github.com/lmcinnes/umap
    """
    if neighbors < 2:
        raise ValueError(f"UMAP needs at least 2 neighbours, not {neighbors}")
    count = len(embeddings)
    if count <= max(FEW, neighbors):
        return pca_map(embeddings, f"PCA: {count} tiles are too few for UMAP", like)
    yield Progress(0, 0, "UMAP: principal axes")
    vectors = principal(embeddings.vectors, 50)
    vectors[:, :2] = _as_before(vectors[:, :2], embeddings, like)  # distances stay what they are
    if count <= _EXACT:
        indices, distances = yield from _exact_neighbors(vectors, neighbors)
    else:
        indices, distances = yield from _in_thread(
            lambda _: _descent_neighbors(vectors, neighbors, seed),
            "UMAP: finding neighbours (compiled on first use)",
        )
    xy = yield from _in_thread(
        lambda told: _layout(vectors, indices, distances, seed, told),
        "UMAP: preparing the layout (compiled on first use, which takes some seconds)",
    )
    return MapCoordinates(embeddings.tiles, xy, "UMAP")


def cluster(embeddings: Embeddings, k: int, seed: int = 0) -> NDArray[np.int32]:
    """Group tiles by k-means on the 50 principal axes of their vectors of length 1.

    Parameters
    ----------
    embeddings : Embeddings
    k : int
        Number of groups.
    seed : int

    Returns
    -------
    ndarray
        ``(M,)`` int32: a group for each row of `embeddings`, 0 for the largest.

    Raises
    ------
    ValueError
        There are fewer tiles than groups.
    """
    if not 1 <= k <= len(embeddings):
        raise ValueError(
            f"{len(embeddings)} tiles cannot make {k} clusters: ask for 1 to {len(embeddings)}."
        )
    from sklearn.cluster import MiniBatchKMeans

    vectors = principal(embeddings.vectors, 50)
    groups = MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096).fit_predict(vectors)
    by_size = np.argsort(-np.bincount(groups, minlength=k), kind="stable")
    rank = np.empty(k, np.int32)
    rank[by_size] = np.arange(k)
    renamed: NDArray[np.int32] = rank[groups]
    return renamed


def _as_before(
    xy: NDArray[np.float32], embeddings: Embeddings, like: MapCoordinates | None
) -> NDArray[np.float32]:
    """Turn places ``(M, 2)`` of tiles to where an earlier map has them."""
    if like is None:
        return xy
    _, here, there = np.intersect1d(embeddings.tiles, like.tiles, return_indices=True)
    return turned(xy, xy[here], like.xy[there])


def _exact_neighbors(
    vectors: NDArray[np.float32], neighbors: int
) -> Job[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Indices and Euclidean distances ``(M, neighbors)`` of the nearest, itself among them."""
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=neighbors, algorithm="brute").fit(vectors)
    indices = np.empty((len(vectors), neighbors), np.int64)
    distances = np.empty((len(vectors), neighbors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        yield Progress(start, len(vectors), "UMAP: finding neighbours", "tiles")
        rows = slice(start, start + _BLOCK)
        distances[rows], indices[rows] = finder.kneighbors(vectors[rows])
    return indices, distances


def _descent_neighbors(
    vectors: NDArray[np.float32], neighbors: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    from pynndescent import NNDescent

    indices, distances = NNDescent(
        vectors, n_neighbors=neighbors, random_state=seed, low_memory=True, compressed=False
    ).neighbor_graph
    return indices, distances


def _layout(
    vectors: NDArray[np.float32],
    indices: NDArray[np.int64],
    distances: NDArray[np.float32],
    seed: int,
    told: _Told,
) -> NDArray[np.float32]:
    from umap import UMAP

    # It warns that new tiles cannot be added to such a map later: nobody asks for that here.
    warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]")
    # Scaled as UMAP does with its own starts: it moves points by steps of that size.
    start = vectors[:, :2] * (10 / max(np.abs(vectors[:, :2]).max(), 1e-12))
    start = start + np.random.default_rng(seed).normal(0, 1e-4, start.shape)
    mapper = UMAP(
        n_neighbors=indices.shape[1],
        precomputed_knn=(indices, distances),
        init=start.astype(np.float32),
        random_state=seed,
        n_jobs=1,
        # UMAP reports its epochs to tqdm alone, and tqdm writes to any file it is given.
        tqdm_kwds={
            "disable": False,
            "file": told,
            "bar_format": "{n_fmt}/{total_fmt}",
            "mininterval": 0.1,
        },
    )
    try:
        xy: NDArray[np.float32] = mapper.fit_transform(vectors)
    except _CancelledError:
        _let_go_of_bars()
        raise
    return np.ascontiguousarray(xy, np.float32)


def _let_go_of_bars() -> None:
    # While tqdm writes it holds a lock that all bars share, and keeps it if writing fails: every
    # later bar of this process, such as that of a model being loaded, would wait for ever.
    from tqdm import tqdm

    with contextlib.suppress(RuntimeError, AssertionError):
        while True:
            tqdm.get_lock().release()


class _CancelledError(Exception):
    """Raised in the helper thread, at its next report, when nobody waits for it any longer."""


class _Told:
    """A file for tqdm that remembers how far it is, and stops the work once it is cancelled."""

    def __init__(self) -> None:
        self.done, self.total, self.cancelled = 0, 0, False

    def write(self, text: str) -> None:
        if self.cancelled:
            raise _CancelledError
        done, slash, total = text.strip().partition("/")
        if slash and done.isdigit() and total.isdigit():
            self.done, self.total = int(done), int(total)

    def flush(self) -> None:
        """Nothing is kept back."""


# numba's thread pool must not be entered by two threads at once: it would end the process. A
# cancelled map leaves the pool a little later than its job ends.
_numba = threading.Lock()


def _in_thread(work: Callable[[_Told], Any], text: str) -> Job[Any]:
    """Run `work` beside the job, so that one long call leaves room for progress and cancel."""
    told = _Told()
    outcome: list[Any] = []

    def go() -> None:
        with _numba:
            if told.cancelled:
                return
            try:
                outcome.append(work(told))
            except BaseException as error:  # noqa: BLE001 - raised again in the job's thread
                outcome.append(error)

    thread = threading.Thread(target=go, name="umap", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            layout = told.total > 0
            yield Progress(
                told.done,
                told.total,
                "UMAP: layout" if layout else text,
                "epochs" if layout else "",
            )
            thread.join(0.1)
    finally:
        told.cancelled = True
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
