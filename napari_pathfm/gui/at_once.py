"""Every click and every box an object of its own, kept as soon as it is answered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import QObject, Signal

from ..analysis.candidate import Candidate
from ..core.jobs import Job
from ..io.masks import AnnotationLayer
from ..models.base import Segmenter
from ..session import Session
from .runner import Runner, RunningJob

Ask = Callable[[Segmenter], Job[Candidate]]


class AtOnce(QObject):
    """Answers one object after the other; the next may be asked for while one is answered.

    Parameters
    ----------
    session : Session
        What is answered after another annotation layer has been opened is dropped.
    runner : Runner
    """

    answered = Signal(object)
    """The :class:`~napari_pathfm.analysis.candidate.Candidate` of one of them."""

    def __init__(self, session: Session, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._asked: list[Ask] = []
        self._jobs: list[RunningJob] = []
        self.on = False

    def ask(self, ask: Ask) -> None:
        """Have one object answered, once there is a segmenter for it."""
        self._asked.append(ask)

    def answer(self, segmenter: Segmenter) -> None:
        """Answer what was asked for, beside those that are being answered."""
        self._jobs = [each for each in self._jobs if each in self._runner.running]
        done = partial(self._take, self._session.annotations)
        asked, self._asked = self._asked, []
        self._jobs += [self._runner.start(ask(segmenter), "Segmenting", done) for ask in asked]

    def cancel(self) -> None:
        """Forget what is not answered yet."""
        self._asked = []
        for job in self._jobs:
            job.cancel()

    def _take(self, layer: AnnotationLayer | None, candidate: Candidate) -> None:
        if layer is not None and layer is self._session.annotations:
            self.answered.emit(candidate)
