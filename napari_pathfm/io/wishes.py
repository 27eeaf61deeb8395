"""What a window wants of a slide, in the order in which it is to be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..core.slide import Level

Place = tuple[int, int, int]
"""``(level, row, col)`` of a segment."""


class Wishes:
    """Places of segments that are still to be read. Whoever shares it between threads locks it.

    First come pinned levels, then what the view shows, nearest to the focus first, then pinned
    levels that have to be made of all that is in the file, then what may be asked for next.

    Attributes
    ----------
    awaited : set of Place
        What the view shows and is not there yet.
    busy : set of Place
        What was taken and is not done.
    """

    def __init__(self) -> None:
        self.awaited: set[Place] = set()
        self.busy: set[Place] = set()
        self._pinned: deque[Place] = deque()
        self._wanted: dict[Place, tuple[float, float]] = {}  # centres, level-0 (y, x)
        self._made: deque[Place] = deque()
        self._likely: deque[Place] = deque()

    def __len__(self) -> int:
        return len(self._pinned) + len(self._wanted) + len(self._made) + len(self.busy)

    def __bool__(self) -> bool:
        return len(self) + len(self._likely) > 0

    @property
    def urgent(self) -> bool:
        """Whether there is something that the view shows."""
        return bool(self._pinned or self._wanted)

    @property
    def pinned(self) -> bool:
        """Whether pinned levels are still to be read that are in the file."""
        return bool(self._pinned)

    @property
    def patient(self) -> bool:
        """Whether there is something that can wait."""
        return bool(self._made or self._likely)

    def pin(self, stored: Iterable[Place], made: Iterable[Place]) -> None:
        """Replace what is wanted of pinned levels."""
        self._pinned, self._made = deque(stored), deque(made)

    def want(self, wanted: dict[Place, tuple[float, float]], likely: Iterable[Place] = ()) -> None:
        """Replace what the view shows (with the centres of it) and what it may show next."""
        self.awaited = set(wanted)
        self._wanted = {place: at for place, at in wanted.items() if place not in self.busy}
        self._likely = deque(place for place in likely if place not in wanted)

    def clear(self) -> None:
        """Forget all of it."""
        self.pin((), ())
        self.want({})

    def take_urgent(self, focus: tuple[float, float] | None) -> Place:
        """Take the next of what the view shows; the middle of that is nearest without a focus."""
        if self._pinned:
            return self._take(self._pinned.popleft())
        centres = np.array(list(self._wanted.values()))
        middle = centres.mean(0) if focus is None else np.array(focus)
        place = list(self._wanted)[int(np.square(centres - middle).sum(1).argmin())]
        del self._wanted[place]
        return self._take(place)

    def take_patient(self) -> Place | None:
        """Take the next of what can wait; what is only likely is left to one at a time."""
        if self._made:
            return self._take(self._made.popleft())
        if self._likely and not self.busy:
            return self._take(self._likely.popleft())
        return None

    def put_back(self, place: Place) -> None:
        """Give back a place of a pinned level that has to be made."""
        self._made.appendleft(place)

    def _take(self, place: Place) -> Place:
        self.busy.add(place)
        return place


def every(levels: Sequence[Level], numbers: Iterable[int]) -> Iterator[Place]:
    """Yield the places of all segments of some levels."""
    for number in numbers:
        for row, col in np.ndindex(levels[number].segments):
            yield number, row, col


def bottom_up(levels: Sequence[Level], numbers: Sequence[int]) -> Iterator[Place]:
    """Yield all places of consecutive levels, each after those of the 2 x 2 that it is made of.

    Parameters
    ----------
    levels : sequence of Level
    numbers : sequence of int
        From the finest to the coarsest.
    """
    if numbers:
        for _, row, col in every(levels, numbers[-1:]):
            yield from _with_parts(levels, numbers, row, col)


def _with_parts(
    levels: Sequence[Level], numbers: Sequence[int], row: int, col: int
) -> Iterator[Place]:
    number, finer = numbers[-1], numbers[:-1]
    if finer:
        rows, cols = levels[finer[-1]].segments
        for r in range(2 * row, min(2 * row + 2, rows)):
            for c in range(2 * col, min(2 * col + 2, cols)):
                yield from _with_parts(levels, finer, r, c)
    yield number, row, col
