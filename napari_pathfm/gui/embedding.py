"""The job behind “Embed tiles”: weights, encoder, tiles; and how the session gets its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qtpy.QtCore import QObject, Qt, Signal

from ..analysis.embed import TileSource, embed
from ..analysis.from_store import FromStore, look_in_store
from ..analysis.stain_normalise import Reference, normalise_for
from ..analysis.tile_order import TileOrder
from ..core import inference
from ..core.embeddings import Embeddings, FeatureKey
from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..core.tiles import TileGrid
from ..io.project import Project
from ..io.store import FeatureStore
from ..models.base import DeviceLost, Encoder, ModelError
from ..models.fetch import fetch
from ..models.precision import agreement_of
from ..session import Session
from . import notify
from .encoders import Encoders
from .follow import follow
from .runner import Runner, RunningJob

SLOT = "embed"

Order = Callable[[Slide, TileGrid], TileOrder]


@dataclass(frozen=True)
class Heard:
    """Where a job tells what it finds on its way; it is called in the job's thread.

    Attributes
    ----------
    grown : callable
        Gets all embeddings that there are, again and again.
    stored : callable
        Gets what is in the store, before anything is computed.
    """

    grown: Callable[[Embeddings], None]
    stored: Callable[[FromStore], None]


def embed_job(
    slide: TileSource,
    grid: TileGrid,
    project: Project | None,
    load: Callable[[Path | None], Encoder],
    weights: Job[Path | None],
    order: TileOrder,
    heard: Heard,
    reference: Reference | None = None,
) -> Job[Embeddings]:
    """Load an encoder and embed a grid with it, into the project's store if that is writable.

    Stains are normalised to a `reference` if there is one.
    """
    file = yield from weights
    yield Progress(0, 0, "Loading the encoder")
    tiles, encoder = yield from normalise_for(slide, grid, load(file), reference)
    store = None
    if project is not None and not project.read_only:
        path = project.slide_store(grid.slide_id)
        heard.stored(look_in_store(path, grid, encoder.key.encoder, encoder.key))
        store = FeatureStore(path, encoder.key, grid)
    queue = inference.queue(encoder.device)
    try:
        return (yield from embed(tiles, grid, encoder, store, queue, order, heard.grown))
    except (GeneratorExit, ModelError):
        if store is not None:
            heard.grown(store.read())
        raise


class Embedding(QObject):
    """Embeds the grid of the session, and lets the session's embeddings grow meanwhile.

    Parameters
    ----------
    session : Session
    runner : Runner
    order : callable, optional
        Returns the order in which tiles are embedded, and keeps it up with the view.

    Attributes
    ----------
    encoders : Encoders
    slide : Slide or None
        The one that is being embedded, or was last.
    """

    said = Signal(str)
    """What there is already, and what has come."""
    ended = Signal(bool)
    """It is over; whether it was stopped by the user."""
    lost = Signal(str)
    """The device does not answer any more; what it said."""
    _grown = Signal(object, object)
    _stored = Signal(object, object)

    def __init__(
        self,
        session: Session,
        runner: Runner,
        order: Order | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._order = order or (lambda _, grid: TileOrder(grid))
        self.encoders = Encoders()
        self.slide: Slide | None = None
        self._run = object()
        self._found = FromStore()
        self._asked: tuple[str, Path | None] = ("", None)
        queued = Qt.ConnectionType.QueuedConnection
        self._grown.connect(self._on_grown, queued)
        self._stored.connect(self._on_stored, queued)
        runner.finished.connect(self._on_finished)
        follow(self, (session.events.slides, self._on_slides))

    @property
    def busy(self) -> bool:
        """Whether tiles are being embedded."""
        return self._runner.busy(SLOT)

    def start(self, name: str, weights: Path | None, reference: Reference | None = None) -> None:
        """Embed the grid with an encoder; what the project already has is not computed again.

        Stains are normalised to a `reference` if there is one.
        """
        slide, grid = self._session.slide, self._session.grid
        if slide is None or grid is None:
            return
        self.slide, self._found = slide, FromStore()
        self._asked = (name, weights)
        run = self._run = object()  # what an earlier one still tells is of no interest
        heard = Heard(partial(self._grown.emit, run), partial(self._stored.emit, run))
        load = partial(self.encoders.load, name, weights)
        order, project, file = self._order(slide, grid), self._session.project, fetch(name, weights)
        job = embed_job(slide, grid, project, load, file, order, heard, reference)
        self._runner.start(job, "Embedding", self._take, slot=SLOT, failed=self._on_failed)

    def cancel(self) -> None:
        """Stop; what is done is kept."""
        self._runner.cancel(SLOT)

    def _on_grown(self, run: object, embeddings: Embeddings) -> None:
        if run is self._run and len(embeddings):
            self._take(embeddings)

    def _on_stored(self, run: object, found: FromStore) -> None:
        if run is self._run:
            self._found = found
            self.said.emit(found.before)

    def _take(self, embeddings: Embeddings) -> None:
        grid = self._session.grid
        if grid is None or embeddings.grid_hash != grid.hash:
            return
        self._session.set_embeddings(embeddings)
        self.said.emit(self.summary(embeddings))

    def summary(self, embeddings: Embeddings) -> str:
        """Say how many embeddings there are and where they come from."""
        key, found = embeddings.key, self._found
        stain = f", stain {key.stain}" if key.stain else ""
        text = f"{found.after(len(embeddings))} ({key.encoder}, {key.precision}{stain})"
        return "\n".join(filter(None, (text, self._agreement(key), found.difference)))

    def _agreement(self, key: FeatureKey) -> str:
        encoder = self.encoders.known(*self._asked)
        if encoder is None or (encoder.key.encoder, encoder.key.precision) != (
            key.encoder,
            key.precision,
        ):
            return ""  # made in an earlier session
        return agreement_of(encoder)

    def _on_slides(self) -> None:
        if self.slide not in self._session.slides and self.busy:
            self.cancel()  # it was closed

    def _on_failed(self, error: BaseException) -> None:
        if isinstance(error, DeviceLost):
            self.lost.emit(str(error.__cause__ or error).splitlines()[0])
        else:
            notify.fail("Embedding", error)

    def _on_finished(self, running: RunningJob) -> None:
        if running.slot == SLOT and not self.busy:
            self.ended.emit(running.cancelled)
