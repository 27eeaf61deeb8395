"""Threads that decode what the window shows, nearest to the pointer first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, Protocol

import numpy as np
from psygnal import EmitLoopError, Signal

from ..core.slide import RGB, Level, SlideError
from ..core.threads import be_polite, reader_threads
from .backends.pyramid import Stop, Stopped
from .sketch import Sketch
from .wishes import Place, Wishes, bottom_up, every

THREADS = 4
"""At most; the jobs have threads of their own."""

NOT_YET = 242
"""Grey of what has not been read at any resolution."""

PACE_SHARE = 0.1
"""What the last segment counts in the time that one is expected to take."""

CLOSE_SECONDS = 0.8
"""How long closing waits at most for what is being read: a network may not answer at all."""

_log = logging.getLogger(__name__)


class Segments(Protocol):
    """What is needed of a slide."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest to the coarsest."""

    @property
    def stored_levels(self) -> int:
        """How many of them are in the file; the coarser ones are made of those."""

    def segment(self, level: int, row: int, col: int, stop: Stop | None = None) -> RGB:
        """Decode one segment, ``(*tile_shape, 3)`` uint8."""

    def cached_segment(self, level: int, row: int, col: int) -> RGB | None:
        """Return one segment if it is in the cache."""


class SegmentLoader:
    """Brings segments into the cache on request.

    A request replaces the one before: what is not asked for again (the user has moved on) is
    dropped before it is decoded. Pinned levels come first and stay. Where those have to be made of
    all that is in the file, a sketch of them comes first, and they follow while nothing else is
    asked for. What may be asked for next comes last.

    Parameters
    ----------
    slide : Segments

    Attributes
    ----------
    loaded : psygnal.Signal
        ``(level, row, col)``, from the loader's threads, after each segment that was asked for,
        and while a level is sketched.
    settled : psygnal.Signal
        From the loader's threads: all that was asked for is there.
    focus : tuple of float or None
        ``(y, x)`` in level-0 pixels, where the user looks; the middle of the request if ``None``.
    patient_until : float
        Until then, of ``time.monotonic``, whoever asks waits for what is likely to come so soon.
    lacking : bool or None
        Whether pixels that were handed out since others set it to ``None`` were not all there.
    """

    loaded: ClassVar[Signal] = Signal(int, int, int)
    settled: ClassVar[Signal] = Signal()

    def __init__(self, slide: Segments) -> None:
        self.focus: tuple[float, float] | None = None
        self.patient_until = 0.0
        self.lacking: bool | None = None
        self._slide = slide
        self._whole: dict[int, RGB] = {}
        self._have: set[Place] = set()  # of pinned levels
        self._broken: dict[Place, RGB] = {}
        self._wishes = Wishes()
        self._sketch: Sketch | None = None
        self._sketching = False
        self._held_until = 0.0
        self._pace = 0.0  # seconds a segment takes, of late
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
            return len(self._wishes)

    def pin(self, *levels: int) -> None:
        """Hold levels in memory completely, and start to read them."""
        for level in levels:
            self._whole[level] = np.full((*self._slide.levels[level].shape, 3), NOT_YET, np.uint8)
        with self._changed:
            self._read_pinned()

    def show(self, slide: Segments) -> None:
        """Take all segments from another source: the same slide in other colours."""
        with self._changed:
            self._slide = slide
            self._have.clear()
            self._broken.clear()
            self._read_pinned()

    def pinned(self, level: int) -> RGB | None:
        """Return a pinned level, ``(h, w, 3)`` uint8, as far as it is read, else ``None``."""
        return self._whole.get(level)

    def overview(self, pixels: int) -> RGB:
        """Return the whole slide as far as it is read, ``(h, w, 3)`` uint8: the coarsest pinned
        level whose longer side has so many pixels, or the finest of them."""
        pictures = [self._whole[level] for level in sorted(self._whole, reverse=True)]
        return next((one for one in pictures if max(one.shape) >= pixels), pictures[-1])

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
            self._wishes.want(wanted, ((level, *place) for place in likely))
            self._changed.notify_all()

    def hold(self, seconds: float) -> None:
        """Leave what can wait for so long: the view moves, and drawing needs the cores."""
        self._held_until = time.monotonic() + seconds

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is pending, at most so long; whether that was reached."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._wishes and self._sketch is None, seconds
            )

    def wait_for_overview(self, seconds: float) -> bool:
        """Wait until there is something to show everywhere, at most so long; whether there is."""
        with self._changed:
            return self._changed.wait_for(self._overview, seconds)

    def soon(self) -> None:
        """Wait for what is asked for if that is likely to come before the patience ends."""
        seconds = self.patient_until - time.monotonic()
        with self._changed:
            if 0 < len(self._wishes.awaited) * self._pace < seconds * len(self._threads):
                self._changed.wait_for(lambda: not self._wishes.awaited, seconds)

    def close(self) -> None:
        """Stop the threads; each finishes the segment of the file that it is at."""
        with self._changed:
            self._closed = True
            self._sketch = None
            self._wishes.clear()
            self._changed.notify_all()
        end = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))

    def _read_pinned(self) -> None:
        levels, stored = self._slide.levels, self._slide.stored_levels
        made = [number for number in sorted(self._whole) if number >= stored]
        kept = [number for number in sorted(self._whole, reverse=True) if number < stored]
        if made:
            self._sketch = Sketch(self._slide, {number: self._whole[number] for number in made})
        self._wishes.pin(every(levels, kept), bottom_up(levels, made))
        self._changed.notify_all()

    def _overview(self) -> bool:
        if self._sketch is not None:
            return self._sketch.rough
        return all(place in self._have for place in self._wishes.busy) and not self._wishes.pinned

    def _serve(self) -> None:
        be_polite()
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                wishes, held = self._wishes, self._held_until - time.monotonic()
                if wishes.urgent:
                    return partial(self._load, wishes.take_urgent(self.focus))
                if self._sketch is not None:
                    if not self._sketching:
                        self._sketching = True
                        return partial(self._sketch_more, self._sketch)
                elif held <= 0 and (place := wishes.take_patient()) is not None:
                    return partial(self._load, place)
                self._changed.wait(held if wishes.patient and held > 0 else None)
            return None

    def _sketch_more(self, sketch: Sketch) -> None:
        more = sketch.step()
        with self._changed:
            self._sketching = False
            if not more and self._sketch is sketch:
                self._sketch = None
            self._changed.notify_all()
        self._tell(partial(self.loaded.emit, max(self._whole), 0, 0))

    def _load(self, place: Place) -> None:
        slide, start = self._slide, time.perf_counter()
        segment: RGB | None
        try:
            segment = slide.segment(*place, stop=partial(self._unwanted, place))
        except SlideError:  # noted in slide.damage
            segment = self._broken[place] = stripes(slide.levels[place[0]])
        except Stopped:
            segment = None
        self._pace += PACE_SHARE * (time.perf_counter() - start - self._pace)
        with self._changed:
            wishes, current = self._wishes, slide is self._slide  # or it has other colours now
            pinned = current and place[0] in self._whole
            if pinned and segment is not None:
                self._paint(place, segment)
            elif pinned and not self._closed:
                wishes.put_back(place)
            shown = segment is not None and (pinned or (current and place in wishes.awaited))
        if shown:
            self._tell(partial(self.loaded.emit, *place))
        with self._changed:
            wishes.busy.discard(place)
            wishes.awaited.discard(place)
            self._changed.notify_all()
            settled = shown and not (wishes.awaited or wishes.pinned)
        if settled:
            self._tell(self.settled.emit)

    def _unwanted(self, place: Place) -> bool:
        # Whatever the view shows has precedence over what is being made for later.
        return self._closed or (self._wishes.urgent and place not in self._wishes.awaited)

    def _paint(self, place: Place, segment: RGB) -> None:
        level, row, col = place
        height, width = self._slide.levels[level].tile_shape
        rows, cols = slice(row * height, (row + 1) * height), slice(col * width, (col + 1) * width)
        part = self._whole[level][rows, cols]
        part[:] = segment[: part.shape[0], : part.shape[1]]
        self._have.add(place)

    def _tell(self, emit: Callable[[], None]) -> None:
        try:
            emit()
        except EmitLoopError:
            _log.exception("a listener failed")


def stripes(level: Level) -> RGB:
    """Return the pattern that is shown where a segment is damaged, ``(*tile_shape, 3)`` uint8."""
    rows, cols = np.ogrid[: level.tile_shape[0], : level.tile_shape[1]]
    dark = (rows + cols) // 16 % 2 == 0
    return np.where(dark[..., None], (200, 0, 120), (250, 230, 240)).astype(np.uint8)


def _centre(level: Level, row: int, col: int) -> tuple[float, float]:
    height, width = level.tile_shape
    return (row + 0.5) * height * level.downsample, (col + 0.5) * width * level.downsample
