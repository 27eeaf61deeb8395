"""How many tiles go into one unit of inference, found out while the work goes on."""

from __future__ import annotations

from contextlib import suppress
from statistics import median
from weakref import WeakKeyDictionary

from ..models.base import Encoder

SIZES = (1, 2, 4, 8, 16, 32)
"""What is tried on a processor; a batch of a GPU is larger (:data:`GPU_SIZES`)."""

GPU_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

FIRST = {SIZES: 4, GPU_SIZES: 16}
"""Where the search for the fastest size starts: smaller ones are never the fastest."""

ENOUGH = 3
"""Units of a size after which its speed is known. The first one prepares kernels."""

WORSE = 1.15
"""A size that needs this much longer a tile than the best shows that larger ones will, too."""


RETRY = 60
"""Units after which larger sizes get another chance: what slowed them down may be over."""

GROWTH = 1.6
"""How much longer a unit of twice the tiles takes at least: part of the work is the same."""


class BatchSize:
    """Chooses the size of the next unit from how long units took.

    Without a limit it tries sizes from small to large and keeps the fastest; with one it grows
    from a single tile to the largest size that keeps the limit.

    Parameters
    ----------
    sizes : tuple of int
        Ascending.
    """

    def __init__(self, sizes: tuple[int, ...] = SIZES) -> None:
        self._sizes = sizes
        self._largest = sizes[-1]
        self._first = FIRST.get(sizes, sizes[0])
        self._seconds: dict[int, list[float]] = {size: [] for size in sizes}
        self._count = 0

    @property
    def largest(self) -> int:
        """No unit is larger than this."""
        return self._largest

    def choose(self, limit: float | None = None) -> int:
        """Size of the next unit.

        Parameters
        ----------
        limit : float, optional
            Seconds that a unit may take; the fastest size if absent.
        """
        return self._fastest() if limit is None else self._within(limit)

    def took(self, size: int, seconds: float) -> None:
        """Take notice of how long a unit took; sizes that were not asked for are ignored."""
        self._count += 1
        if size in self._seconds:
            self._seconds[size] = [*self._seconds[size][-2 * ENOUGH :], seconds]

    def out_of_memory(self, size: int) -> int:
        """Never choose `size` again, nor a larger one; returns the largest that is left."""
        smaller = [other for other in self._sizes if other < size] or [self._sizes[0]]
        self._largest = min(self._largest, smaller[-1])
        return self._largest

    def _usual(self, size: int) -> float:
        """Seconds that a unit of this size takes, infinite while unknown."""
        seen = self._seconds[size]
        return median(seen[1:] if len(seen) > 1 else seen) if seen else float("inf")

    def _fastest(self) -> int:
        best, best_pace = 0, float("inf")
        for size in self._sizes:
            if not min(self._first, self._largest) <= size <= self._largest:
                continue
            if len(self._seconds[size]) < ENOUGH:
                return size
            pace = self._usual(size) / size
            if pace < best_pace:
                best, best_pace = size, pace
            elif pace > WORSE * best_pace:
                break
        return best

    def _within(self, limit: float) -> int:
        chosen = self._sizes[0]
        if self._count > RETRY:
            self._count = 0
            for size in self._sizes:
                if self._usual(size) > limit:
                    self._seconds[size] = []
        for size in self._sizes:
            if size > self._largest or self._usual(size) > limit:
                # One unit alone says little: the window may have been drawing meanwhile.
                known = len(self._seconds[size]) > ENOUGH
                previous = self._usual(chosen)
                promising = size <= self._largest and not known and GROWTH * previous <= limit
                return size if promising and len(self._seconds[chosen]) >= 2 else chosen
            chosen = size
        return chosen


_known: WeakKeyDictionary[Encoder, BatchSize] = WeakKeyDictionary()


def batch_size_of(encoder: Encoder) -> BatchSize:
    """Return what is known of an encoder: found out once, used for all slides that follow."""
    with suppress(TypeError):  # a stranger's encoder that cannot be remembered
        if encoder not in _known:
            _known[encoder] = BatchSize(SIZES if encoder.device == "cpu" else GPU_SIZES)
        return _known[encoder]
    return BatchSize(SIZES if encoder.device == "cpu" else GPU_SIZES)
