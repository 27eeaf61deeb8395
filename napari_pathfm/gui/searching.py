"""Scores the tiles by what the user asks for, and those that are embedded later, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt, Signal

from ..analysis.search import TileScores, search
from ..analysis.text_search import search_slide
from ..core.embeddings import Embeddings
from ..core.jobs import Job, Progress, one_step
from ..core.tiles import TileGrid
from ..io.project import Project
from ..io.reader import SlideReader
from ..models import catalog
from ..models.base import Encoder
from ..session import Session
from . import notify
from .embedding import SLOT as EMBEDDING
from .follow import follow
from .runner import Runner, RunningJob

SLOT = "search"


@dataclass(frozen=True, eq=False)
class Question:
    """What the user has asked for.

    Attributes
    ----------
    title : str
    score : callable
        Returns the job that answers it for embeddings.
    chosen : ndarray
        ``(K,)`` int64: tiles that were asked with, and are no answer.
    at_once : bool
        Whether tiles that come later are scored as they come, or only when all are there.
    """

    title: str
    score: Callable[[Embeddings], Job[TileScores]]
    chosen: NDArray[np.int64]
    at_once: bool = True


class Searching(QObject):
    """Answers questions with scores, which become the session's.

    Parameters
    ----------
    session : Session
    runner : Runner
    """

    found = Signal(object, object)
    """The scores, and the tiles that were asked with."""

    def __init__(self, session: Session, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._question: Question | None = None
        self._answer: TileScores | None = None
        self._asked_of = 0
        events = session.events
        follow(self, (events.embeddings, self._on_embeddings), (events.embedded, self._grow))
        # After what the job has returned is the session's.
        runner.finished.connect(self._on_finished, Qt.ConnectionType.QueuedConnection)

    def similar(self, tiles: NDArray[np.int64]) -> None:
        """Score all tiles by their likeness to some of them."""

        def score(embeddings: Embeddings) -> Job[TileScores]:
            return one_step("Searching", lambda: search(embeddings, tiles))

        self._ask(Question("Finding similar tiles", score, tiles))

    def text(self, text: str, load: Callable[[], Encoder]) -> None:
        """Score all tiles by their likeness to a text, with an encoder that is loaded for it."""
        session = self._session
        slide, grid, embeddings = session.slide, session.grid, session.embeddings
        if slide is None or grid is None or embeddings is None:
            return

        def score(embeddings: Embeddings) -> Job[TileScores]:
            return text_job(slide, grid, embeddings, text, load, session.project)

        spec = catalog.encoder_specs().get(embeddings.key.encoder)
        # Where tiles are embedded once more for texts, that would halve the speed of the first.
        at_once = spec is not None and spec.joint
        nothing = np.zeros(0, np.int64)
        self._ask(Question(f"Searching for “{text}”", score, nothing, at_once))

    def forget(self) -> None:
        """Take the scores away."""
        self._runner.cancel(SLOT)
        self._question = None
        self._session.scores = None

    def _ask(self, question: Question) -> None:
        embeddings = self._session.embeddings
        self._question = question
        if embeddings is None:
            return
        self._asked_of = len(embeddings)

        def done(scores: TileScores) -> None:
            if self._session.still(embeddings):
                self._answer = self._session.scores = scores
                self.found.emit(scores, question.chosen)
                self._grow()  # more may have come in the meantime

        def failed(error: BaseException) -> None:
            self._question = None
            notify.fail(question.title, error)

        job = question.score(embeddings)
        self._runner.start(job, question.title, done, slot=SLOT, failed=failed)

    def _grow(self) -> None:
        asked, shown = self._question, self._answer
        if asked is None or shown is None or shown is not self._session.scores:
            return  # nothing was asked, or something else is shown
        waits = self._runner.busy(SLOT) or (self._runner.busy(EMBEDDING) and not asked.at_once)
        if self._session.embedded > self._asked_of and not waits:
            self._ask(asked)

    def _on_embeddings(self) -> None:
        self._runner.cancel(SLOT)
        self._question = None

    def _on_finished(self, running: RunningJob) -> None:
        if running.slot == EMBEDDING:
            self._grow()


def text_job(
    slide: SlideReader,
    grid: TileGrid,
    embeddings: Embeddings,
    text: str,
    load: Callable[[], Encoder],
    project: Project | None,
) -> Job[TileScores]:
    """Load the encoder of embeddings, unless that is done, and search them by a text."""
    yield Progress(0, 0, "Loading the encoder")
    encoder = load()
    writable = project is not None and not project.read_only
    store = project.slide_store(slide.id) if project is not None and writable else None
    return (yield from search_slide(slide, grid, embeddings, text, encoder, store))
