"""Step 1: open a slide, say how large a pixel is, find the tissue, cut it into tiles."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..analysis.tissue import TissueMask, find_tissue
from ..core.jobs import Progress
from ..core.slide import Slide
from ..core.tiles import TileGrid, TileSpec, make_grid
from ..io.backends.remote import RemotePath, slide_path
from ..session import Session
from . import notify
from .follow import follow
from .quality_box import QualityBox
from .runner import Runner
from .stored_box import StoredBox

SLIDE_FILES = (
    "Slides (*.svs *.tif *.tiff *.ndpi *.mrxs *.scn *.vms *.vmu *.bif *.svslide *.qptiff *.ptif "
    "*.ptiff *.dcm);;"
    "All files (*)"
)


def tiles_job(
    slide: Slide, spec: TileSpec, tissue: TissueMask | None
) -> Generator[Progress, None, tuple[TissueMask, TileGrid]]:
    """Find the tissue unless it is known, and cut it into tiles."""
    if tissue is None:
        yield Progress(0, 2, "Finding tissue")
        tissue = find_tissue(slide)
    yield Progress(1, 2, "Cutting tiles")
    return tissue, make_grid(slide.id, slide.levels, slide.mpp, spec, tissue.mask)


class SlidePanel(QWidget):
    """Opens slides and cuts them into tiles.

    What concerns more than this panel (opening, the project, mpp) is asked for by signals.
    """

    open_requested = Signal(object)
    sample_requested = Signal()
    project_requested = Signal(object)
    mpp_entered = Signal(float)

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self.open_button = QPushButton("Open slide…")
        self.address_button = QPushButton("Address…")
        self.address_button.setToolTip("Open a tiled TIFF where it lies, by its https:// address")
        self.sample_button = QPushButton("Open sample")
        self.sample_button.setToolTip("A small real H&E slide (1.9 MB), fetched once")
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0, 100)
        self.mpp.setDecimals(4)
        self.mpp.setSingleStep(0.05)
        self.mpp.setSpecialValueText("not known")
        self.mpp.setSuffix(" µm/px")
        self.mpp.setKeyboardTracking(False)
        self.mpp.setToolTip("Size of a level-0 pixel: about 0.25 for a 40x scan, 0.5 for 20x")
        self.ask_mpp = QLabel(
            "This slide does not say how large a pixel is, or nothing that can be true. Enter it "
            "once (0.25 for a 40x scan, 0.5 for 20x); until then sizes are in pixels."
        )
        self.ask_mpp.setWordWrap(True)
        self.ask_mpp.setStyleSheet("color: #e69f00")
        self.tile_px = QSpinBox()
        self.tile_px.setRange(32, 4096)
        self.tile_px.setValue(224)
        self.tile_px.setSuffix(" px")
        self.tile_mpp = QDoubleSpinBox()
        self.tile_mpp.setRange(0.05, 50)
        self.tile_mpp.setDecimals(3)
        self.tile_mpp.setValue(0.5)
        self.tile_mpp.setSingleStep(0.25)
        self.tile_mpp.setSuffix(" µm/px")
        self.overlap = QSpinBox()
        self.overlap.setRange(0, 90)
        self.overlap.setSuffix(" %")
        self.min_tissue = QSpinBox()
        self.min_tissue.setRange(0, 100)
        self.min_tissue.setValue(50)
        self.min_tissue.setSuffix(" %")
        self.tiles_button = QPushButton("Find tissue and tiles")
        self.result = QLabel()
        self.result.setWordWrap(True)
        self.quality = QualityBox(session, runner)
        self.stored = StoredBox(session, runner)
        self.project = QLabel()
        self.project.setWordWrap(True)
        self.project_button = QPushButton("Other project…")
        self.project_button.setToolTip("Keep tiles, embeddings, masks and labels in another folder")
        self._lay_out()
        self.open_button.clicked.connect(self._choose_slide)
        self.address_button.clicked.connect(self._ask_address)
        self.sample_button.clicked.connect(self.sample_requested)
        self.project_button.clicked.connect(self._choose_project)
        self.mpp.valueChanged.connect(self._on_mpp)
        self.tiles_button.clicked.connect(self.find_tiles)
        follow(
            self,
            (session.events.slide, self._on_slide),
            (session.events.grid, self._on_grid),
            (session.events.project, self._on_project),
        )
        self._on_slide()
        self._on_project()

    def blocked(self) -> str:
        return ""

    def value(self) -> TileSpec:
        """Return the tile spec as entered; without mpp where the slide has none."""
        slide = self._session.slide
        known = slide is not None and slide.mpp is not None
        return TileSpec(
            self.tile_px.value(),
            self.tile_mpp.value() if known else None,
            self.overlap.value() / 100,
            self.min_tissue.value() / 100,
        )

    def find_tiles(self) -> None:
        """Find the tissue (unless that is done) and cut it into tiles."""
        slide = self._session.slide
        if slide is None:
            return
        job = tiles_job(slide, self.value(), self._session.tissue)
        self._runner.start(job, "Finding tissue", self._take_tiles, slot="tiles")

    def _take_tiles(self, found: tuple[TissueMask, TileGrid]) -> None:
        tissue, grid = found
        slide = self._session.slide
        if slide is None or grid.slide_id != slide.id:
            return
        if self._session.tissue is not tissue:
            self._session.set_tissue(tissue)
        self._session.set_grid(grid)

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addWidget(self.address_button)
        row.addWidget(self.sample_button)
        column.addLayout(row)
        column.addWidget(self.facts)
        column.addWidget(self.ask_mpp)
        form = QFormLayout()
        form.addRow("Pixel size", self.mpp)
        form.addRow("Tile side", self.tile_px)
        form.addRow("Tile resolution", self.tile_mpp)
        form.addRow("Overlap", self.overlap)
        form.addRow("At least tissue", self.min_tissue)
        column.addLayout(form)
        column.addWidget(self.tiles_button)
        column.addWidget(self.result)
        column.addWidget(self.quality)
        column.addWidget(self.stored)
        column.addWidget(self.project)
        column.addWidget(self.project_button)
        column.addStretch(1)

    def _choose_slide(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open slide", "", SLIDE_FILES)
        if path:
            self.open_requested.emit(Path(path))

    def _ask_address(self) -> None:
        title, label = "Open by address", "Address of the slide (https://… or s3://…)"
        text, chosen = QInputDialog.getText(self, title, label)
        place = slide_path(text.strip())
        if chosen and isinstance(place, RemotePath):
            self.open_requested.emit(place)
        elif chosen:
            notify.tell("An address begins with https:// or s3://. “Open slide…” opens files.")

    def _choose_project(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Project folder (new or existing)")
        if folder:
            self.project_requested.emit(Path(folder))

    def _on_mpp(self, value: float) -> None:
        slide = self._session.slide
        if slide is not None and value > 0 and value != slide.mpp:
            self.mpp_entered.emit(value)

    def _on_slide(self) -> None:
        slide = self._session.slide
        self.tiles_button.setEnabled(slide is not None)
        self.mpp.setEnabled(slide is not None)
        self.ask_mpp.setVisible(slide is not None and slide.mpp is None)
        self.tile_mpp.setEnabled(slide is None or slide.mpp is not None)
        self.mpp.blockSignals(True)
        self.mpp.setValue((slide.mpp or 0) if slide is not None else 0)
        self.mpp.blockSignals(False)
        if slide is None:
            self.facts.setText("Open a slide, or drop one onto the window.")
            return
        height, width = slide.levels[0].shape
        size = f"{width:,} × {height:,} px"
        if slide.mpp:
            size += f", {width * slide.mpp / 1e3:.1f} × {height * slide.mpp / 1e3:.1f} mm"
        self.facts.setText(f"<b>{slide.name}</b><br>{size}<br>{len(slide.levels)} levels")

    def _on_grid(self) -> None:
        grid, tissue, slide = self._session.grid, self._session.tissue, self._session.slide
        if grid is None or slide is None:
            self.result.setText("")
            return
        self._enter(grid.spec)  # it may be one that was stored or imported
        text = f"{len(grid):,} tiles"
        if tissue is not None:
            text += f"; {tissue.mask.mean():.0%} of the slide is tissue"
        if not len(grid):
            text += ". Lower “At least tissue” or the tile side to get tiles."
        self.result.setText(text)

    def _enter(self, spec: TileSpec) -> None:
        self.tile_px.setValue(spec.tile_px)
        if spec.mpp is not None:
            self.tile_mpp.setValue(spec.mpp)
        self.overlap.setValue(round(100 * spec.overlap))
        if spec.min_tissue:  # another program's tiles say nothing of it
            self.min_tissue.setValue(round(100 * spec.min_tissue))

    def _on_project(self) -> None:
        project = self._session.project
        if project is None:
            self.project.setText("<i>No project is open: nothing is kept.</i>")
            self.project.setToolTip("")
            return
        state = " (read only)" if project.read_only else ""
        self.project.setText(f"Kept in <b>{project.folder.name}</b>{state}")
        self.project.setToolTip(str(project.folder))
