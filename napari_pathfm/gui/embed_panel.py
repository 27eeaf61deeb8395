"""Step 2: let a foundation model look at every tile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..core.embeddings import Embeddings
from ..core.slide import Slide
from ..models import catalog
from ..models.base import Encoder, EncoderSpec, ModelError
from ..models.check import Check, Memory, check
from ..models.fetch import fetch, in_project
from ..session import Session
from . import notify
from .embedding import embed_job
from .encoder_picker import EncoderPicker, look
from .follow import follow
from .licence_question import LicenceQuestion
from .model_facts import describe
from .runner import Runner, RunningJob

SLOT = "embed"
ENOUGH = Memory(1 << 60, "computer")
"""Too little memory is no reason not to try: it may be free in the meantime."""


class EmbedPanel(QWidget):
    """Chooses an encoder and embeds the tile grid with it."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._weights: Path | None = None
        self._embedding: Slide | None = None
        self._loaded: dict[tuple[str, Path | None], Encoder] = {}
        self._entries, self._checks = catalog.entries(), dict[str, Check]()
        self.encoder = EncoderPicker()
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self.facts.setOpenExternalLinks(True)
        self.question = LicenceQuestion()
        self.weights_button = QPushButton("Weights file…")
        self.weights_button.setToolTip("Use a checkpoint on this computer instead of a download")
        self.weights = QLabel()
        self.weights.setWordWrap(True)
        self.embed_button = QPushButton("Embed tiles")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setEnabled(False)
        self.state = QLabel()
        self.state.setWordWrap(True)
        column = QVBoxLayout(self)
        column.addWidget(self.encoder)
        column.addWidget(self.facts)
        column.addWidget(self.weights_button)
        column.addWidget(self.weights)
        row = QHBoxLayout()
        row.addWidget(self.embed_button)
        row.addWidget(self.cancel_button)
        column.addLayout(row)
        column.addWidget(self.question)
        column.addWidget(self.state)
        column.addStretch(1)
        self.encoder.chosen.connect(self._on_encoder)
        self.weights_button.clicked.connect(self._choose_weights)
        self.embed_button.clicked.connect(self.embed)
        self.cancel_button.clicked.connect(self._cancel)
        follow(
            self,
            (session.events.embeddings, self._on_embeddings),
            (session.events.slides, self._on_slides),
        )
        runner.finished.connect(self._on_finished)
        self._on_encoder(self.encoder.name)
        self._look()

    def blocked(self) -> str:
        grid = self._session.grid
        if self._session.slide is None:
            return "open a slide first"
        if grid is None:
            return "find tissue and tiles first"
        return "" if len(grid) else "no tile holds enough tissue"

    def embed(self) -> None:
        """Embed the grid; what the project already has is not computed again."""
        name = self.encoder.name
        entry = self._entries.get(name)
        if self.blocked():
            return
        if entry is None or (name, self._file()) in self._loaded:
            self._start()
        elif stopped := check(entry, self._file(), ENOUGH).obstacles:
            why = " ".join(map(str, stopped))
            notify.fail("Embedding", ModelError(f"{name} cannot be used yet. {why}"))
        else:
            self.question.ask(entry.spec, self._start)

    def _start(self) -> None:
        slide, grid = self._session.slide, self._session.grid
        if slide is None or grid is None:
            return
        self._embedding = slide
        self.embed_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.state.setText("")
        name = self.encoder.name
        weights = fetch(name, self._file())
        job = embed_job(slide, grid, self._session.project, partial(self._load, name), weights)
        self._runner.start(job, "Embedding", self._take, slot=SLOT)

    def _look(self) -> None:
        self._runner.start(look(), "Looking which models are here", self._on_look, slot="models")

    def _on_look(self, checks: dict[str, Check]) -> None:
        self._checks = checks
        self.encoder.sort(checks)
        self._show_facts()

    def weights_file(self, path: Path) -> None:
        """Load the encoder that is chosen from a checkpoint on this computer."""
        self._weights = path
        self.weights.setText(f"from {path.name}")
        self._show_facts()

    def loader(self, name: str) -> Callable[[], Encoder]:
        """Return what loads an encoder: the one in memory, from the file chosen for it if any."""
        files = [file for known, file in self._loaded if known == name]
        chosen = self._weights if name == self.encoder.name else None
        return partial(self._load, name, files[-1] if files else chosen)

    def _load(self, name: str, weights: Path | None) -> Encoder:
        if (name, weights) not in self._loaded:
            self._loaded[name, weights] = catalog.get_encoder(name, weights=weights)
        return self._loaded[name, weights]

    def _file(self) -> Path | None:
        """Weights that the user gave, or that lie in the project."""
        project = self._session.project
        if self._weights is not None or project is None:
            return self._weights
        return in_project(project.models, self.encoder.name)

    def _take(self, embeddings: Embeddings) -> None:
        grid = self._session.grid
        if grid is not None and embeddings.grid_hash == grid.hash:
            self._session.set_embeddings(embeddings)

    def _cancel(self) -> None:
        self._runner.cancel(SLOT)

    def _on_encoder(self, name: str) -> None:
        self._weights = None
        self.weights.setText("")
        self.question.hide()
        self._show_facts()

    def _show_facts(self) -> None:
        entry = self._entries.get(self.encoder.name)
        if entry is None or not isinstance(entry.spec, EncoderSpec):
            self.facts.setText("from a plugin")
            return
        found = self._checks.get(entry.spec.name)
        if (file := self._file()) is not None:
            found = check(entry, file, ENOUGH)
        self.facts.setText(describe(entry.spec, found))

    def _choose_weights(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Weights", "", "Weights (*.safetensors *.pth *.pt *.bin *.ckpt);;All files (*)"
        )
        if path:
            self.weights_file(Path(path))

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
        known = self._checks.get(self.encoder.name)
        if known is not None and known.on_disk is None:
            self._look()  # it may have been downloaded

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
