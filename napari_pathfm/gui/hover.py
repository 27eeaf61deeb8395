"""The mask under the pointer, before the click."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from ..analysis.candidate import Candidate
from ..analysis.crop import crop_side
from ..analysis.crop_cache import CropCache
from ..analysis.segment import preview, segment
from ..core.inference import Priority
from ..core.jobs import Job
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..models.base import Segmenter
from .runner import Runner

PREVIEW, AHEAD = "preview", "look ahead"

REST_MS = 120
"""A pointer that has not moved for so long rests: what is around it is encoded."""


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


class Hover(QObject):
    """Asks for the mask under the pointer as often as it is answered, and encodes where it rests.

    Parameters
    ----------
    runner : Runner
    cache : CropCache
    """

    answered = Signal(object)
    """The :class:`~napari_pathfm.analysis.segment.Candidate` under the pointer."""

    def __init__(self, runner: Runner, cache: CropCache, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runner, self._cache = runner, cache
        self._wanted: Hovered | None = None
        self._asked: Hovered | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._look_ahead)

    def move(self, hovered: Hovered) -> None:
        """The pointer is somewhere else."""
        self._wanted = hovered
        self._rest.start()
        if not self._runner.busy(PREVIEW):
            self._ask()

    def leave(self) -> None:
        """There is nothing to preview any more."""
        self._wanted = None
        self._rest.stop()
        self._runner.cancel(PREVIEW)
        self._runner.cancel(AHEAD)

    def _ask(self) -> None:
        hovered = self._asked = self._wanted
        if hovered is not None:
            job = _preview(hovered, self._cache)
            self._runner.start(job, "", self._take, slot=PREVIEW, failed=_nothing)

    def _take(self, candidate: Candidate | None) -> None:
        if self._wanted is None:
            return
        if candidate is not None:
            self.answered.emit(candidate)
        if self._wanted is not self._asked:
            self._ask()

    def _look_ahead(self) -> None:
        hovered = self._wanted
        if hovered is None or self._runner.busy(AHEAD):
            return
        job = segment(
            hovered.slide,
            hovered.prompts,
            hovered.segmenter,
            hovered.downsample,
            self._cache,
            size=hovered.size,
            priority=Priority.HOVER,
        )
        self._runner.start(job, "", self._seen, slot=AHEAD, failed=_nothing)

    def _seen(self, candidate: Candidate) -> None:
        if self._wanted is not None:
            self.answered.emit(candidate)


def with_point(prompts: Prompts, y: float, x: float, positive: bool) -> Prompts:
    """Return prompts and one point more, ``(y, x)`` in level-0 pixels."""
    points = np.concatenate([prompts.points, [[y, x]]])
    return Prompts(points, np.append(prompts.positive, positive), prompts.box, prompts.mask)


def _preview(hovered: Hovered, cache: CropCache) -> Job[Candidate | None]:
    prompts, segmenter = hovered.prompts, hovered.segmenter
    side = crop_side(prompts, segmenter.input_px, hovered.downsample, hovered.size)
    return (yield from preview(hovered.slide, prompts, segmenter, cache, side))


def _nothing(_: BaseException) -> None:
    """The click will tell what is wrong."""
