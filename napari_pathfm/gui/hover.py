"""The mask under the pointer, before the click."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from ..analysis.candidate import Candidate
from ..analysis.crop import crop_side, hints
from ..analysis.crop_cache import CropCache
from ..analysis.crop_store import origin_of
from ..analysis.segment import LOOKS, meant, preview, segment
from ..core.inference import Priority, queue
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..models.base import Segmenter
from .runner import Runner

AHEAD = "look ahead"

AT_ONCE = 2
"""Looks that are asked for at the same time: one begins while the answer of another is drawn."""

REST_MS, LONG_REST_MS = 120, 500
"""A pointer that has not moved for so long rests: what the view shows around it is encoded, which
answers at many places, and after the second time what shows the object best. That has time: the
click that comes first must not wait for the encoder."""


@dataclass(frozen=True, eq=False)
class Hovered:
    """What is asked for: the prompts that there are and one point more.

    Attributes
    ----------
    slide : Slide
    segmenter : Segmenter
    prompts : Prompts
    downsample : float
        Level-0 pixels per screen pixel.
    size : float or None
        About how large the object is, level-0 pixels.
    """

    slide: Slide
    segmenter: Segmenter
    prompts: Prompts
    downsample: float
    size: float | None

    @cached_property
    def side(self) -> float:
        """Side of the square that a click would look at, level-0 pixels."""
        return crop_side(self.prompts, self.segmenter.input_px, self.downsample, self.size)

    @cached_property
    def wide_helps(self) -> bool:
        """Whether a square as the view shows it would answer roughly."""
        wide = crop_side(self.prompts, self.segmenter.input_px, self.downsample)
        return hints(wide, self.side)


class Hover(QObject):
    """Asks for the mask under the pointer as often as it is answered, and encodes where it rests.

    Parameters
    ----------
    runner : Runner
    cache : CropCache
    """

    answered = Signal(object)
    """The :class:`~napari_pathfm.analysis.candidate.Candidate` under the pointer."""

    told = Signal()
    """:attr:`encoded` has changed."""

    _ended = Signal(object)

    def __init__(self, runner: Runner, cache: CropCache, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runner, self._cache = runner, cache
        self.encoded = False  # what is around the pointer: a click there is answered at once
        self._latest: Candidate | None = None
        self._wanted: Hovered | None = None
        self._begun: Hovered | None = None
        self._asked = 0  # looks that are not over
        self._left = 0  # how often the pointer has left: what was asked before does not count
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.timeout.connect(self._look_ahead)
        self._ended.connect(self._take, Qt.ConnectionType.QueuedConnection)

    def move(self, hovered: Hovered) -> None:
        """The pointer is somewhere else."""
        self._wanted = hovered
        origin = origin_of(hovered.slide, hovered.segmenter)
        self._tell_encoded(self._cache.knows(origin, hovered.prompts, hovered.side))
        self._rest.start(LONG_REST_MS if self.encoded else REST_MS)
        self._ask()

    def pause(self) -> None:
        """There is nothing to preview until the pointer moves again."""
        self._wanted = None
        self._left += 1
        self._rest.stop()
        self._runner.cancel(AHEAD)

    def leave(self) -> None:
        """There is nothing to preview any more."""
        self.pause()
        self._latest = None
        self._tell_encoded(False)

    def shown(self, prompts: Prompts) -> Candidate | None:
        """Return what was shown under the pointer for these prompts, if it was, and only once."""
        latest, self._latest = self._latest, None
        return latest if latest is not None and latest.prompts.key == prompts.key else None

    def _tell_encoded(self, here: bool) -> None:
        if here is not self.encoded:
            self.encoded = here
            self.told.emit()

    def _ask(self) -> None:
        hovered = self._wanted
        if hovered is None or hovered is self._begun or self._asked == AT_ONCE:
            return
        self._asked += 1
        look = partial(self._look, self._left)
        future = queue(hovered.segmenter.device).submit(look, Priority.HOVER)
        future.add_done_callback(partial(self._tell, self._left))

    def _look(self, left: int) -> Candidate | None:
        """Answer where the pointer is by now; runs on the inference thread."""
        hovered = self._wanted
        if hovered is None or hovered is self._begun or left != self._left:
            return None
        self._begun = hovered
        return preview(hovered.slide, hovered.prompts, hovered.segmenter, self._cache, hovered.side)

    def _tell(self, left: int, look: Future[Candidate | None]) -> None:
        with suppress(RuntimeError):  # the window may be gone by now
            self._ended.emit((look, left))

    def _take(self, ended: tuple[Future[Candidate | None], int]) -> None:
        look, left = ended
        self._asked -= 1
        # What is wrong with it the click will tell.
        known = not look.cancelled() and look.exception() is None
        candidate = look.result() if known else None
        if candidate is not None and left == self._left:
            self._seen(candidate)
        self._ask()

    def _look_ahead(self) -> None:
        hovered = self._wanted
        if hovered is None or self._runner.busy(AHEAD):
            return
        wide = not self.encoded and hovered.wide_helps
        job = segment(
            hovered.slide,
            hovered.prompts,
            hovered.segmenter,
            hovered.downsample,
            self._cache,
            size=None if wide else hovered.size,
            priority=Priority.HOVER,
            looks=1 if wide else LOOKS,
        )
        done = self._seen_wide if wide else self._seen
        self._runner.start(job, "", done, slot=AHEAD, failed=_nothing)

    def _seen_wide(self, candidate: Candidate) -> None:
        self._seen(meant(candidate))
        if self._wanted is not None and not self._rest.isActive():
            self._rest.start(LONG_REST_MS)

    def _seen(self, candidate: Candidate) -> None:
        if self._wanted is not None:
            self._latest = candidate
            self._tell_encoded(True)
            self.answered.emit(candidate)


def with_point(prompts: Prompts, y: float, x: float, positive: bool) -> Prompts:
    """Return prompts and one point more, ``(y, x)`` in level-0 pixels."""
    points = np.concatenate([prompts.points, [[y, x]]])
    return Prompts(points, np.append(prompts.positive, positive), prompts.box, prompts.mask)


def _nothing(_: BaseException) -> None:
    """The click will tell what is wrong."""
