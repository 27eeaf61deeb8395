"""Find the tiles that look like the chosen ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.embeddings import Embeddings

_CHUNK = 65_536  # rows a block: the temporary stays small beside the vectors


@dataclass(frozen=True, eq=False)
class TileScores:
    """One number for each of some tiles of a grid.

    Attributes
    ----------
    tiles : ndarray
        ``(M,)`` int64: number of the tile in its grid.
    values : ndarray
        ``(M,)`` float32; for a search the cosine similarity, -1 to 1.
    text : str
        What the numbers say, for people ("similar to tile 12").
    name : str
        Of the heatmap in the window.
    """

    tiles: NDArray[np.int64]
    values: NDArray[np.float32]
    text: str
    name: str = "similarity"

    def __len__(self) -> int:
        return len(self.tiles)

    def best(
        self, k: int, exclude: Collection[int] | NDArray[np.integer] = ()
    ) -> NDArray[np.int64]:
        """Return the numbers of the `k` tiles with the highest values, best first.

        Parameters
        ----------
        k : int
            Fewer come back where there are fewer.
        exclude : collection of int
            Tiles that do not count, usually the ones that were asked for.

        Returns
        -------
        ndarray
            ``(<= k,)`` int64; equal values are in the order of the tile numbers.
        """
        keep = ~np.isin(self.tiles, np.fromiter(exclude, np.int64, len(exclude)))
        tiles, values = self.tiles[keep], self.values[keep]
        if 0 < k < len(values):  # all that tie with the k-th stay in, so that ties are fair
            near = values >= np.partition(values, -k)[-k]
            tiles, values = tiles[near], values[near]
        return tiles[np.lexsort((tiles, -values))][: max(0, k)]


def search(embeddings: Embeddings, query_tiles: ArrayLike) -> TileScores:
    """Score every tile by its cosine similarity to the chosen ones (exact).

    Parameters
    ----------
    embeddings : Embeddings
    query_tiles : array_like of int
        Numbers of tiles in the grid; several are averaged after each was brought to length 1.

    Returns
    -------
    TileScores
        In the order of `embeddings`.

    Raises
    ------
    ValueError
        There is no query, or a tile of it is not embedded (yet).
    """
    wanted = np.unique(np.asarray(query_tiles, np.int64))
    if not len(wanted):
        raise ValueError("Nothing to search for: select one tile or more first.")
    missing = wanted[~np.isin(wanted, embeddings.tiles)]
    if len(missing):
        raise ValueError(
            f"Tile {missing[0]} is not embedded ({len(missing)} of {len(wanted)} chosen tiles are "
            "not). Finish the embedding of this slide, or choose other tiles."
        )
    rows = embeddings.vectors[np.isin(embeddings.tiles, wanted)]
    query = (rows / lengths(rows)[:, None]).mean(0)
    values = cosine(embeddings.vectors, query)
    one = f"similar to tile {wanted[0]}"
    return TileScores(
        embeddings.tiles, values, one if len(wanted) == 1 else f"similar to {len(wanted)} tiles"
    )


def cosine(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine similarity of ``(M, D)`` vectors to one ``(D,)`` query: ``(M,)`` float32."""
    query = np.asarray(query, np.float32)
    query = query / lengths(query[None])[0]
    values = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _CHUNK):
        block = np.asarray(vectors[start : start + _CHUNK], np.float32)
        values[start : start + _CHUNK] = block @ query / lengths(block)
    np.clip(values, -1, 1, out=values)
    return values


def lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Euclidean lengths of ``(M, D)`` vectors; never 0, so that they can be divided by."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    found: NDArray[np.float32] = np.maximum(np.sqrt(squares), np.finfo(np.float32).tiny)
    return found
