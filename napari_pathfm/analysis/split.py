"""Split annotated patches into train, val and test so that no region is in two of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

Split = tuple[float, float, float]
"""Fractions of train, val and test."""


@dataclass(frozen=True)
class Patch:
    """A square of a slide.

    Attributes
    ----------
    slide_id : str
    y, x, side : float
        Upper left corner and side, level-0 pixels.
    objects : frozenset of int
        Ids of the objects on it.
    """

    slide_id: str
    y: float
    x: float
    side: float
    objects: frozenset[int] = frozenset()

    def touches(self, other: Patch) -> bool:
        """Whether two patches of a slide overlap or are neighbours, also over a corner."""
        # half a pixel, for sides that are not whole numbers
        return (
            self.y <= other.y + other.side + 0.5
            and other.y <= self.y + self.side + 0.5
            and self.x <= other.x + other.side + 0.5
            and other.x <= self.x + self.side + 0.5
        )


def regions(patches: Sequence[Patch]) -> list[int]:
    """Number the connected groups of patches.

    Two patches are connected if they touch or share an object.

    Returns
    -------
    list of int
        For each patch the number of its region, 0 for that of the first patch, and so on.
    """
    parent = list(range(len(patches)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    # Cells that no patch is larger than: what touches a patch is in its cell or one beside it.
    cell = max((patch.side for patch in patches), default=1.0) + 1
    cells: dict[tuple[str, int, int], list[int]] = {}
    first: dict[tuple[str, int], int] = {}  # who had an object first
    for number, patch in enumerate(patches):
        row, col = int(patch.y // cell), int(patch.x // cell)
        for near in product((patch.slide_id,), range(row - 1, row + 2), range(col - 1, col + 2)):
            for other in cells.get(near, ()):
                if patch.touches(patches[other]):
                    parent[root(number)] = root(other)
        cells.setdefault((patch.slide_id, row, col), []).append(number)
        for each in sorted(patch.objects):
            parent[root(number)] = root(first.setdefault((patch.slide_id, each), number))
    names: dict[int, int] = {}
    return [names.setdefault(root(number), len(names)) for number in range(len(patches))]


def assign(sizes: Iterable[int], split: Split = (0.7, 0.15, 0.15), seed: int = 0) -> list[int]:
    """Give each region to train (0), val (1) or test (2).

    Regions come in random order; each goes where most is missing, the first one to train, which
    is therefore never empty.

    Parameters
    ----------
    sizes : iterable of int
        Patches of each region.
    split : tuple of float
        Fractions of train, val and test; they add up to 1.
    seed : int
        The same seed and regions give the same answer.

    Raises
    ------
    ValueError
        The fractions are none.
    """
    check_split(split)
    counts = list(sizes)
    missing = np.array(split) * sum(counts)
    chosen = [0] * len(counts)
    for turn, region in enumerate(np.random.default_rng(seed).permutation(len(counts)).tolist()):
        chosen[region] = int(missing.argmax()) if turn else 0
        missing[chosen[region]] -= counts[region]
    return chosen


def check_split(split: Split) -> None:
    """Raise ``ValueError`` unless `split` is three fractions that add up to 1, train above 0."""
    if len(split) != 3 or min(split) < 0 or not split[0] or abs(sum(split) - 1) > 1e-6:
        raise ValueError(
            "A split is three fractions for train, val and test that add up to 1, the first above "
            f"0 (0.7, 0.15, 0.15), not {tuple(split)}."
        )
