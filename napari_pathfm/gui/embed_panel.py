"""Step 2: let a foundation model look at every tile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..analysis.embed import TileSource, embed
from ..core import inference
from ..core.embeddings import Embeddings
from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..core.tiles import TileGrid
from ..io.project import Project
from ..io.store import FeatureStore
from ..models import catalog
from ..models.base import Encoder
from ..session import Session
from .follow import follow
from .runner import Runner, RunningJob

SLOT = "embed"


def embed_job(
    slide: TileSource, grid: TileGrid, project: Project | None, load: Callable[[], Encoder]
) -> Job[Embeddings]:
    """Load an encoder and embed a grid with it, into the project's store if that is writable."""
    yield Progress(0, 0, "Loading the encoder")
    encoder = load()
    store = None
    if project is not None and not project.read_only:
        store = FeatureStore(project.slide_store(grid.slide_id), encoder.key, grid)
    queue = inference.queue(encoder.device)
    return (yield from embed(slide, grid, encoder, store=store, queue=queue))


class EmbedPanel(QWidget):
    """Chooses an encoder and embeds the tile grid with it."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._weights: Path | None = None
        self._embedding: Slide | None = None
        self._loaded: dict[tuple[str, Path | None], Encoder] = {}
        self.encoder = QComboBox()
        self.encoder.addItems(catalog.encoders().names())
        self.encoder.setCurrentText(catalog.DEFAULT_ENCODER)
        self.facts = QLabel()
        self.facts.setWordWrap(True)
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
        column.addWidget(self.state)
        column.addStretch(1)
        self.encoder.currentTextChanged.connect(self._on_encoder)
        self.weights_button.clicked.connect(self._choose_weights)
        self.embed_button.clicked.connect(self.embed)
        self.cancel_button.clicked.connect(self._cancel)
        follow(
            self,
            (session.events.embeddings, self._on_embeddings),
            (session.events.slides, self._on_slides),
        )
        runner.finished.connect(self._on_finished)
        self._on_encoder(self.encoder.currentText())

    def blocked(self) -> str:
        grid = self._session.grid
        if self._session.slide is None:
            return "open a slide first"
        if grid is None:
            return "find tissue and tiles first"
        return "" if len(grid) else "no tile holds enough tissue"

    def embed(self) -> None:
        """Embed the grid; what the project already has is not computed again."""
        slide, grid = self._session.slide, self._session.grid
        if slide is None or grid is None:
            return
        self._embedding = slide
        self.embed_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.state.setText("")
        load = self._encoder(self.encoder.currentText(), self._weights)
        job = embed_job(slide, grid, self._session.project, load)
        self._runner.start(job, "Embedding", self._take, slot=SLOT)

    def weights_file(self, path: Path) -> None:
        """Load the encoder that is chosen from a checkpoint on this computer."""
        self._weights = path
        self.weights.setText(f"from {path.name}")

    def loader(self, name: str) -> Callable[[], Encoder]:
        """Return what loads an encoder: the one in memory, from the file chosen for it if any."""
        files = [file for known, file in self._loaded if known == name]
        chosen = self._weights if name == self.encoder.currentText() else None
        return self._encoder(name, files[-1] if files else chosen)

    def _encoder(self, name: str, weights: Path | None) -> Callable[[], Encoder]:
        def load() -> Encoder:
            if (name, weights) not in self._loaded:
                self._loaded[name, weights] = catalog.get_encoder(name, weights=weights)
            return self._loaded[name, weights]

        return load

    def _take(self, embeddings: Embeddings) -> None:
        grid = self._session.grid
        if grid is not None and embeddings.grid_hash == grid.hash:
            self._session.set_embeddings(embeddings)

    def _cancel(self) -> None:
        self._runner.cancel(SLOT)

    def _on_encoder(self, name: str) -> None:
        self._weights = None
        self.weights.setText("")
        spec = catalog.encoder_specs().get(name)
        if spec is None:
            self.facts.setText("from a plugin")
            return
        lines = [
            f"{spec.params / 1e6:,.1f} M parameters, {spec.dim} numbers a tile",
            f"made for {spec.tile_px} px at {spec.mpp} µm/px",
            f"licence: {spec.licence}",
        ]
        if not spec.commercial:
            lines.append("<b>not for commercial use</b>")
        if spec.gate:
            lines.append(f"download: {spec.gate}")
        self.facts.setText("<br>".join(lines))

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
