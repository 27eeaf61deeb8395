"""Which tiles are good enough: how sharp they are, and how much pen is on them."""

from __future__ import annotations

import numpy as np
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..analysis.quality import quality_of
from ..analysis.search import TileScores
from ..core.quality import MEASURES, QualityLimits, Sifted, TileQuality, sift
from ..core.tiles import TileGrid
from ..session import Session
from .follow import follow
from .runner import Runner

SLOT = "quality"
NOTHING = "nothing"
UNITS = {"tissue": "fraction of tissue", "blur": "size of detail in µm", "pen": "fraction of pen"}


class QualityBox(QWidget):
    """Measures the tiles of the grid and leaves out those that are not good enough."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._whole: TileGrid | None = None
        self._quality: TileQuality | None = None
        self._sifted: Sifted | None = None
        usual = QualityLimits()
        self.measure_button = QPushButton("Measure quality")
        self.measure_button.setToolTip("Tissue, blur and pen of every tile; no model is needed")
        self.max_blur = QDoubleSpinBox()
        self.max_blur.setRange(0.5, 10)
        self.max_blur.setSingleStep(0.05)
        self.max_blur.setValue(usual.max_blur)
        self.max_blur.setSuffix(" µm")
        self.max_blur.setToolTip("Size of the finest detail: sharp tissue lies below 1.2 µm")
        self.max_pen = QSpinBox()
        self.max_pen.setRange(0, 100)
        self.max_pen.setValue(round(100 * usual.max_pen))
        self.max_pen.setSuffix(" %")
        self.show_box = QComboBox()
        self.show_box.addItems([NOTHING, *MEASURES])
        self.show_box.setToolTip("Lay a measure over the slide")
        self.apply_button = QPushButton("Use these tiles")
        self.apply_button.setToolTip("Go on with the tiles that stay")
        self.result = QLabel()
        self.result.setWordWrap(True)
        self._limits = QWidget()
        self._lay_out()
        self.measure_button.clicked.connect(self.measure)
        self.max_blur.valueChanged.connect(self._sift)
        self.max_pen.valueChanged.connect(self._sift)
        self.show_box.textActivated.connect(self._show)
        self.apply_button.clicked.connect(self.apply)
        follow(
            self,
            (session.events.grid, self._on_grid),
            (session.events.scores, self._on_scores),
        )
        self._on_grid()

    def value(self) -> QualityLimits:
        """Return the limits as entered; the grid has its own of tissue."""
        return QualityLimits(0.0, self.max_blur.value(), self.max_pen.value() / 100)

    def measure(self) -> None:
        """Measure the tiles of the grid, unless the project knows them."""
        session, grid = self._session, self._whole
        if session.slide is None or grid is None:
            return
        project = session.project
        kept = project is not None and not project.read_only
        store = project.slide_store(grid.slide_id) if project is not None and kept else None
        job = quality_of(session.slide, grid, session.tissue, store)
        self._runner.start(job, "Measuring quality", self._take, slot=SLOT)

    def apply(self) -> None:
        """Go on with the tiles that stay; embeddings of others remain in the project."""
        sifted = self._sifted
        if sifted is None:
            return
        left_out, shown = self._session.left_out, self.show_box.currentText()
        self._session.set_grid(sifted.grid)
        self._session.left_out = left_out
        self._offer(sifted)
        self._show(shown)

    def _take(self, quality: TileQuality) -> None:
        if self._whole is not None and quality.grid_hash == self._whole.hash:
            self._quality = quality
            self._limits.setVisible(True)
            self._sift()

    def _sift(self) -> None:
        if self._whole is None or self._quality is None:
            return
        self._sifted = sifted = sift(self._whole, self._quality, self.value())
        left_out = self._whole.where(~sifted.keep)
        self._session.left_out = left_out if len(left_out) else None
        self._offer(sifted)

    def _offer(self, sifted: Sifted) -> None:
        grid = self._session.grid
        used = grid is not None and grid.hash == sifted.grid.hash
        self.apply_button.setEnabled(bool(len(sifted.grid)) and not used)
        self.result.setText(sifted.summary())

    def _show(self, measure: str) -> None:
        session, grid = self._session, self._session.grid
        quality = self._of(grid)
        if measure == NOTHING or quality is None:
            if session.scores is not None and session.scores.name in MEASURES:
                session.scores = None
            return
        values = getattr(quality, measure)
        session.scores = TileScores(np.arange(len(values)), values, UNITS[measure], measure)

    def _of(self, grid: TileGrid | None) -> TileQuality | None:
        """Measures of the whole grid, or of that part of it which is worked on."""
        if self._quality is None or grid is None or grid is self._whole:
            return self._quality
        sifted = self._sifted
        if sifted is None or sifted.grid.hash != grid.hash:
            return None  # limits have changed since it was chosen
        return self._quality.where(sifted.keep, grid)

    def _on_grid(self) -> None:
        grid, sifted = self._session.grid, self._sifted
        self.measure_button.setEnabled(grid is not None and len(grid) > 0)
        if sifted is not None and grid is sifted.grid:
            return  # ours
        self._runner.cancel(SLOT)
        self._whole, self._quality, self._sifted = grid, None, None
        self._limits.setVisible(False)
        self.show_box.setCurrentText(NOTHING)
        self.result.setText("")

    def _on_scores(self) -> None:
        scores = self._session.scores
        ours = scores is not None and scores.name in MEASURES
        self.show_box.setCurrentText(scores.name if ours and scores is not None else NOTHING)

    def _lay_out(self) -> None:
        form = QFormLayout(self._limits)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("At most blur", self.max_blur)
        form.addRow("At most pen", self.max_pen)
        form.addRow("Show", self.show_box)
        form.addRow(self.result)
        form.addRow(self.apply_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.measure_button)
        column.addWidget(self._limits)
