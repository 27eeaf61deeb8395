"""Embeddings, and what decides whether two of them may be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

STAIN = "; stain "
"""What stands in a key between preprocessing by the encoder and stain normalisation before it."""


UNKNOWN = "unknown"
"""Precision of vectors that another program made."""


@dataclass(frozen=True)
class FeatureKey:
    """What makes embeddings comparable: all fields but the precision must agree.

    Attributes
    ----------
    encoder : str
        Name in the catalogue.
    pooling : str
        How one vector comes out of the network ("cls", "cls+mean", "avg", ...).
    weights : str
        Hash of the weights.
    preprocessing : str
        Size, interpolation, mean and std, and stain normalisation if any, in words.
    precision : str
        Recorded, but not compared: it is only taken where it gives the same answers.
    """

    encoder: str
    pooling: str
    weights: str
    preprocessing: str
    precision: str = "float32"

    @property
    def stain(self) -> str:
        """Stain normalisation of the tiles ("macenko to 1a2b3c4d"); empty: as they were scanned."""
        return self.preprocessing.partition(STAIN)[2]

    @property
    def imported(self) -> bool:
        """Whether another program made them, so that nobody knows of which weights they are."""
        return self.precision == UNKNOWN

    def normalised(self, stain: str) -> FeatureKey:
        """Return the key of such vectors of tiles of another :attr:`stain`; empty: as scanned."""
        encoder = self.preprocessing.partition(STAIN)[0]
        return replace(self, preprocessing=encoder + (STAIN + stain if stain else ""))

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits over everything that decides what may be compared."""
        facts = {k: v for k, v in asdict(self).items() if k != "precision"}
        text = json.dumps(facts, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    def difference(self, other: FeatureKey) -> str | None:
        """Name the first field that forbids a comparison, or ``None`` if there is none."""
        for name, value in asdict(self).items():
            theirs = getattr(other, name)
            if name != "precision" and value != theirs:
                return f"{name}: {value!r} here, {theirs!r} there"
        return None


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of the tiles of one grid, in the order in which they were computed.

    Attributes
    ----------
    key : FeatureKey
    grid_hash : str
        :attr:`TileGrid.hash` of the grid.
    tiles : ndarray
        ``(M,)`` int64: number of the tile in its grid.
    vectors : ndarray
        ``(M, D)`` float32.
    """

    key: FeatureKey
    grid_hash: str
    tiles: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.tiles)

    def continues(self, earlier: Embeddings) -> bool:
        """Whether these are earlier ones, and maybe more: what holds for those holds still."""
        return (
            self.grid_hash == earlier.grid_hash
            and self.key.difference(earlier.key) is None
            and np.array_equal(self.tiles[: len(earlier)], earlier.tiles)
        )

    def in_grid_order(self) -> Embeddings:
        """Return the same vectors sorted by tile number."""
        if (np.diff(self.tiles) > 0).all():
            return self
        order = np.argsort(self.tiles, kind="stable")
        return Embeddings(self.key, self.grid_hash, self.tiles[order], self.vectors[order])
