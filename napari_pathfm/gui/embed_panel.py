"""Step 2: let a foundation model look at every tile."""

from __future__ import annotations

from collections.abc import Generator
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
from ..core.jobs import Progress
from ..core.tiles import TileGrid
from ..io.store import FeatureStore
from ..models import catalog
from ..models.base import Encoder
from ..session import Session
from .runner import Runner

SLOT = "embed"


class EmbedPanel(QWidget):
    """Chooses an encoder and embeds the tile grid with it."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._weights: Path | None = None
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
        session.events.embeddings.connect(self._on_embeddings)
        runner.progressed.connect(self._on_progress)
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
        self.embed_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.state.setText("")
        self._runner.start(self._job(), "Embedding", self._take, slot=SLOT)

    def _job(self) -> Generator[Progress, None, Embeddings]:
        session = self._session
        slide, grid, project = session.slide, session.grid, session.project
        return self._embed(slide, grid, project, self.encoder.currentText(), self._weights)

    def _embed(
        self,
        slide: TileSource,
        grid: TileGrid,
        project: object,
        name: str,
        weights: Path | None,
    ) -> Generator[Progress, None, Embeddings]:
        yield Progress(0, 0, f"Loading {name}")
        encoder = self._loaded.get((name, weights))
        if encoder is None:
            encoder = catalog.get_encoder(name, weights=weights)
            self._loaded[name, weights] = encoder
        store = None
        if project is not None and not project.read_only:  # type: ignore[attr-defined]
            store = FeatureStore(
                project.slide_store(grid.slide_id),  # type: ignore[attr-defined]
                encoder.key,
                grid,
            )
        return (
            yield from embed(
                slide, grid, encoder, store=store, queue=inference.queue(encoder.device)
            )
        )

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
            self._weights = Path(path)
            self.weights.setText(f"from {self._weights.name}")

    def _on_progress(self, running: object) -> None:
        if getattr(running, "slot", "") == SLOT:
            self.state.setText(running.status())  # type: ignore[attr-defined]

    def _on_finished(self, running: object) -> None:
        if getattr(running, "slot", "") != SLOT or self._runner.busy(SLOT):
            return
        self.embed_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        if running.cancelled:  # type: ignore[attr-defined]
            self.state.setText("Stopped. What is done is kept: “Embed tiles” goes on from there.")

    def _on_embeddings(self) -> None:
        found = self._session.embeddings
        if found is None:
            self.state.setText("")
        else:
            self.state.setText(
                f"{len(found):,} tiles embedded with {found.key.encoder} ({found.key.precision})"
            )
