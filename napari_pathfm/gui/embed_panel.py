"""Step 2: let a foundation model look at every tile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..core.embeddings import Embeddings
from ..core.slide import Slide
from ..models import catalog
from ..models.base import Encoder
from ..models.fetch import fetch
from ..session import Session
from .embedding import embed_job
from .follow import follow
from .model_chooser import ModelChooser
from .runner import Runner, RunningJob

SLOT = "embed"


class EmbedPanel(QWidget):
    """Chooses an encoder and embeds the tile grid with it."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._embedding: Slide | None = None
        self._loaded: dict[tuple[str, Path | None], Encoder] = {}
        self.model = ModelChooser("encoder", session, runner, SLOT)
        self.encoder, self.question = self.model.picker, self.model.question
        self.embed_button = QPushButton("Embed tiles")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setEnabled(False)
        self.state = QLabel()
        self.state.setWordWrap(True)
        column = QVBoxLayout(self)
        column.addWidget(self.model)
        row = QHBoxLayout()
        row.addWidget(self.embed_button)
        row.addWidget(self.cancel_button)
        column.addLayout(row)
        column.addWidget(self.question)
        column.addWidget(self.state)
        column.addStretch(1)
        self.embed_button.clicked.connect(self.embed)
        self.cancel_button.clicked.connect(self._cancel)
        follow(
            self,
            (session.events.embeddings, self._on_embeddings),
            (session.events.slides, self._on_slides),
        )
        runner.finished.connect(self._on_finished)

    def blocked(self) -> str:
        grid = self._session.grid
        if self._session.slide is None:
            return "open a slide first"
        if grid is None:
            return "find tissue and tiles first"
        return "" if len(grid) else "no tile holds enough tissue"

    def embed(self) -> None:
        """Embed the grid; what the project already has is not computed again."""
        name, file = self.model.name, self.model.file
        if self.blocked():
            return
        if (name, file) in self._loaded:
            self._start()
        else:
            self.model.permit(name, file, "Embedding", self._start)

    def _start(self) -> None:
        slide, grid = self._session.slide, self._session.grid
        if slide is None or grid is None:
            return
        self._embedding = slide
        self.embed_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.state.setText("")
        name = self.model.name
        weights = fetch(name, self.model.file)
        job = embed_job(slide, grid, self._session.project, partial(self._load, name), weights)
        self._runner.start(job, "Embedding", self._take, slot=SLOT)

    def loader(self, name: str) -> Callable[[], Encoder]:
        """Return what loads an encoder: the one in memory, from the file chosen for it if any."""
        files = [file for known, file in self._loaded if known == name]
        chosen = self.model.given if name == self.model.name else None
        return partial(self._load, name, files[-1] if files else chosen)

    def _load(self, name: str, weights: Path | None) -> Encoder:
        if (name, weights) not in self._loaded:
            self._loaded[name, weights] = catalog.get_encoder(name, weights=weights)
        return self._loaded[name, weights]

    def _take(self, embeddings: Embeddings) -> None:
        grid = self._session.grid
        if grid is not None and embeddings.grid_hash == grid.hash:
            self._session.set_embeddings(embeddings)

    def _cancel(self) -> None:
        self._runner.cancel(SLOT)

    def _on_finished(self, running: RunningJob) -> None:
        if running.slot != SLOT or self._runner.busy(SLOT):
            return
        self.embed_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.state.setText(
            "Stopped. What is done is kept: “Embed tiles” goes on from there."
            if running.cancelled
            else ""
        )

    def _on_slides(self) -> None:
        if self._embedding not in self._session.slides and self._runner.busy(SLOT):
            self._cancel()  # it was closed

    def _on_embeddings(self) -> None:
        found = self._session.embeddings
        if found is None:
            self.state.setText("")
        else:
            self.state.setText(
                f"{len(found):,} tiles embedded with {found.key.encoder} ({found.key.precision})"
            )
