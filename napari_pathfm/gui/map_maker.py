"""Makes the map of the session's embeddings, and keeps it up with them while they grow."""

from __future__ import annotations

from qtpy.QtCore import QObject, Qt

from ..analysis.axes import SAMPLE
from ..analysis.map import MapCoordinates, pca_map, umap_map
from ..core.embeddings import Embeddings
from ..core.jobs import Job, one_step
from ..session import Session
from .embedding import SLOT as EMBEDDING
from .follow import follow
from .runner import Runner, RunningJob

SLOT = "map"
ENOUGH = 50
"""While a slide is embedded, its map appears as soon as there are so many tiles."""

GROWING_SAMPLE = 2048
"""Tiles from which the axes of a growing map are found: it shall take little from embedding."""


class MapMaker(QObject):
    """Makes maps; while tiles are embedded, a PCA of those that are there.

    A UMAP that was asked for meanwhile stays, and is made anew when all tiles are there.
    """

    def __init__(self, session: Session, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        events = session.events
        follow(self, (events.embeddings, self._on_embeddings), (events.embedded, self._grow))
        # After what the job has returned is the session's.
        runner.finished.connect(self._on_finished, Qt.ConnectionType.QueuedConnection)

    def make(self) -> None:
        """Show the PCA at once, then the UMAP."""
        embeddings = self._session.embeddings
        if embeddings is not None:
            self._start(embeddings, self._pca(embeddings), then_umap=True)

    def _start(self, embeddings: Embeddings, job: Job[MapCoordinates], then_umap: bool) -> None:
        def done(found: MapCoordinates) -> None:
            if not self._session.still(embeddings):
                return
            self._session.coordinates = found
            if then_umap and not found.note:
                self._start(embeddings, umap_map(embeddings, like=found), then_umap=False)
            else:
                self._grow()  # more may have come in the meantime

        self._runner.start(job, "Map", done, slot=SLOT)

    def _pca(self, embeddings: Embeddings, sample: int = SAMPLE) -> Job[MapCoordinates]:
        like = self._session.coordinates
        return one_step("PCA map", lambda: pca_map(embeddings, like=like, sample=sample))

    def _grow(self) -> None:
        embeddings, shown = self._session.embeddings, self._session.coordinates
        if embeddings is None or self._runner.busy(SLOT):
            return
        if shown is not None and len(shown) == len(embeddings):
            return
        umap = shown is not None and shown.method != "PCA"
        if self._runner.busy(EMBEDDING):
            if not umap and len(embeddings) >= ENOUGH:
                job = self._pca(embeddings, GROWING_SAMPLE)
                self._start(embeddings, job, then_umap=False)
        elif umap:
            self._start(embeddings, umap_map(embeddings, like=shown), then_umap=False)
        elif shown is not None:
            self._start(embeddings, self._pca(embeddings), then_umap=False)

    def _on_embeddings(self) -> None:
        self._runner.cancel(SLOT)
        self._grow()

    def _on_finished(self, running: RunningJob) -> None:
        if running.slot == EMBEDDING:
            self._grow()
