"""Split annotated patches into train, val and test so that no region is in two of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Split = tuple[float, float, float]
"""Fractions of train, val and test."""


@dataclass(frozen=True)
class Patch:
    """A square of a slide's patch grid.

    Attributes
    ----------
    slide_id : str
    row, col : int
        Place in the grid, which begins at the slide's upper left corner.
    objects : frozenset of int
        Ids of the objects on it.
    """

    slide_id: str
    row: int
    col: int
    objects: frozenset[int] = frozenset()


def regions(patches: Sequence[Patch]) -> list[int]:
    """Number the connected groups of patches.

    Two patches are connected if they are neighbours (also over a corner) or share an object.

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

    first: dict[tuple[str | int, ...], int] = {}  # who had a place or an object first
    for number, patch in enumerate(patches):
        near = [
            (patch.slide_id, patch.row + down, patch.col + right)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        ]
        shared = [(patch.slide_id, each) for each in sorted(patch.objects)]
        for key in (*near, *shared):
            if key in first:
                parent[root(number)] = root(first[key])
        for mine in ((patch.slide_id, patch.row, patch.col), *shared):
            first.setdefault(mine, number)
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
