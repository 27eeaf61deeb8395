"""Threads that decode what the window shows, nearest to the pointer first."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from psygnal import EmitLoopError, Signal

from ..core.slide import RGB, Level, SlideError
from ..core.threads import be_polite, reader_threads
from .reader import SlideReader

THREADS = 4
"""At most; the jobs have threads of their own."""

NOT_YET = 242
"""Grey of what has not been read at any resolution."""

Place = tuple[int, int, int]
"""``(level, row, col)`` of a segment."""

_log = logging.getLogger(__name__)


class SegmentLoader:
    """Brings segments into the cache on request.

    A request replaces the one before: what is not asked for again (the user has moved on) is
    dropped before it is decoded. Pinned levels come first and stay; what may be asked for next
    comes last.

    Parameters
    ----------
    slide : SlideReader

    Attributes
    ----------
    loaded : psygnal.Signal
        ``(level, row, col)``, from the loader's threads, after each segment that was asked for.
    focus : tuple of float or None
        ``(y, x)`` in level-0 pixels, where the user looks; the middle of the request if ``None``.
    """

    loaded: ClassVar[Signal] = Signal(int, int, int)

    def __init__(self, slide: SlideReader) -> None:
        self.focus: tuple[float, float] | None = None
        self._slide = slide
        self._whole: dict[int, RGB] = {}
        self._have: set[Place] = set()  # of pinned levels
        self._broken: dict[Place, RGB] = {}
        self._first: deque[Place] = deque()
        self._wanted: dict[Place, tuple[float, float]] = {}  # centres, level-0 (y, x)
        self._awaited: set[Place] = set()  # what was asked for and is not there yet
        self._likely: deque[Place] = deque()
        self._busy: set[Place] = set()
        self._held_until = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._serve, name=f"segments-{number}", daemon=True)
            for number in range(min(THREADS, reader_threads()))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pending(self) -> int:
        """Segments that are waited for or being decoded."""
        with self._changed:
            return len(self._first) + len(self._wanted) + len(self._busy)

    def pin(self, level: int) -> None:
        """Hold a level in memory completely, and start to read it."""
        facts = self._slide.levels[level]
        self._whole[level] = np.full((*facts.shape, 3), NOT_YET, np.uint8)
        rows, cols = facts.segments
        with self._changed:
            self._first.extend((level, row, col) for row in range(rows) for col in range(cols))
            self._changed.notify_all()

    def pinned(self, level: int) -> RGB | None:
        """Return a pinned level, ``(h, w, 3)`` uint8, as far as it is read, else ``None``."""
        return self._whole.get(level)

    def peek(self, level: int, row: int, col: int) -> RGB | None:
        """Return a segment to show, if it is there: a damaged one has stripes."""
        segment = self._slide.cached_segment(level, row, col)
        return self._broken.get((level, row, col)) if segment is None else segment

    def has(self, level: int, row: int, col: int) -> bool:
        """Whether a segment can be shown at once."""
        if level in self._whole:
            return (level, row, col) in self._have
        return self.peek(level, row, col) is not None

    def request(
        self,
        level: int,
        places: Iterable[tuple[int, int]],
        likely: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Ask for segments ``(row, col)`` of a level instead of those of the last request.

        `likely` are read when nothing else is to be done: the view may move there next.
        """
        if level in self._whole:  # on its way since it was pinned
            return
        facts = self._slide.levels[level]
        wanted = {(level, *place): _centre(facts, *place) for place in places}
        with self._changed:
            self._awaited = set(wanted)
            self._wanted = {k: v for k, v in wanted.items() if k not in self._busy}
            self._likely = deque(k for row, col in likely if (k := (level, row, col)) not in wanted)
            self._changed.notify_all()

    def hold(self, seconds: float) -> None:
        """Leave what is only likely for so long: the view moves, and drawing needs the cores."""
        self._held_until = time.monotonic() + seconds

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is pending, at most so long; whether that was reached."""
        end = time.monotonic() + seconds
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._first or self._wanted or self._likely or self._busy),
                end - time.monotonic(),
            )

    def close(self) -> None:
        """Stop the threads; each finishes the segment that it is at."""
        with self._changed:
            self._closed = True
            self._first.clear()
            self._wanted.clear()
            self._likely.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _serve(self) -> None:
        be_polite()
        while (place := self._next()) is not None:
            self._load(place)
            with self._changed:
                shown = place in self._awaited or place[0] in self._whole
            if shown:
                try:
                    self.loaded.emit(*place)
                except EmitLoopError:
                    _log.exception("a listener failed after segment %s", place)
            with self._changed:
                self._busy.discard(place)
                self._changed.notify_all()

    def _next(self) -> Place | None:
        with self._changed:
            while not (self._closed or self._first or self._wanted):
                held = self._held_until - time.monotonic()
                if self._likely and not self._busy and held <= 0:
                    break  # what is only likely is left to one thread
                self._changed.wait(held if self._likely and held > 0 else None)
            if self._closed:
                return None
            if self._first:
                place = self._first.popleft()
            elif self._wanted:
                place = self._nearest()
                del self._wanted[place]
            else:
                place = self._likely.popleft()
            self._busy.add(place)
            return place

    def _nearest(self) -> Place:
        centres = np.array(list(self._wanted.values()))
        focus = centres.mean(0) if self.focus is None else np.array(self.focus)
        return list(self._wanted)[int(np.square(centres - focus).sum(1).argmin())]

    def _load(self, place: Place) -> None:
        try:
            segment = self._slide.segment(*place)
        except SlideError:  # noted in slide.damage
            if self._closed:
                return
            segment = self._broken[place] = stripes(self._slide.levels[place[0]])
        whole = self._whole.get(place[0])
        if whole is not None:
            level, row, col = place
            height, width = self._slide.levels[level].tile_shape
            part = whole[row * height : (row + 1) * height, col * width : (col + 1) * width]
            part[:] = segment[: part.shape[0], : part.shape[1]]
            self._have.add(place)


def stripes(level: Level) -> RGB:
    """Return the pattern that is shown where a segment is damaged, ``(*tile_shape, 3)`` uint8."""
    rows, cols = np.ogrid[: level.tile_shape[0], : level.tile_shape[1]]
    dark = (rows + cols) // 16 % 2 == 0
    return np.where(dark[..., None], (200, 0, 120), (250, 230, 240)).astype(np.uint8)


def _centre(level: Level, row: int, col: int) -> tuple[float, float]:
    height, width = level.tile_shape
    return (row + 0.5) * height * level.downsample, (col + 0.5) * width * level.downsample
