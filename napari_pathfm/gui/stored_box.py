"""Embeddings that the project has of a slide, or another program: opened with their tiles."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ..analysis.import_features import FeatureImport, import_features
from ..analysis.text_search import FOR_TEXT
from ..core.embeddings import Embeddings, FeatureKey
from ..core.jobs import Job, Progress
from ..core.tiles import TileGrid
from ..io.project import Project
from ..io.store import StoredFeatures, stored_features
from ..session import Session
from . import notify
from .embedding import SLOT as EMBEDDING
from .follow import follow
from .runner import Runner, RunningJob
from .slide_list import SLOT as COHORT

LOOKING, OPENING, IMPORTING = "look for embeddings", "open embeddings", "import features"

FILES = "Features of tiles (*.h5 *.hdf5 *.pt *.pth *.h5ad);;All files (*)"

DROPPED = (".h5", ".hdf5", ".h5ad")
"""Files that are taken for features when they are dropped; a ``.pt`` may be anything."""

Stored = list[tuple[StoredFeatures, str]]


def look_job(project: Project, slide_id: str) -> Job[Stored]:
    """List what there is of a slide, most tiles first, and how to call it."""
    yield Progress(0, 0, "Looking for embeddings")
    found = [
        each
        for each in stored_features(project.slide_store(slide_id))
        if each.count and each.key.pooling != FOR_TEXT
    ]
    found.sort(key=lambda each: -each.count)
    return [(each, words(each)) for each in found]


def open_job(stored: StoredFeatures) -> Job[tuple[TileGrid, Embeddings]]:
    """Read embeddings and the grid of their tiles."""
    yield Progress(0, 0, "Opening embeddings")
    return stored.grid(), stored.read()


def words(stored: StoredFeatures) -> str:
    """Say which embeddings these are: encoder, tiles, and what sets them apart."""
    key, spec = stored.key, stored.grid().spec
    part = "" if stored.count == stored.total else f" of {stored.total:,}"
    size = f"{spec.tile_px} px" + ("" if spec.mpp is None else f" at {spec.mpp:g} µm/px")
    parts = [key.encoder, f"{stored.count:,}{part} tiles", size]
    if key.stain:
        parts.append(key.stain)
    if key.imported:
        parts.append(key.weights)
    return ", ".join(parts)


def is_features(path: Path) -> bool:
    """Tell by its name whether a file that is dropped holds features of tiles."""
    return path.suffix.lower() in DROPPED


class StoredBox(QWidget):
    """Chooses among the embeddings of the slide, and imports those of other programs.

    Parameters
    ----------
    session : Session
    runner : Runner
    """

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._stored: list[StoredFeatures] = []
        self.choice = QComboBox()
        self.choice.setToolTip("Embeddings of this slide in the project")
        self.choice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.open_button = QPushButton("Open")
        self.open_button.setToolTip("Go on with these tiles and embeddings")
        self.import_button = QPushButton("Import features…")
        self.import_button.setToolTip(
            "Vectors of tiles that TRIDENT, CLAM or LazySlide made of this slide"
        )
        menu = QMenu(self)
        menu.addAction("TRIDENT, CLAM or AnnData (a file)…", self._choose_file)
        menu.addAction("SpatialData (a folder)…", self._choose_folder)
        self.import_button.setMenu(menu)
        row = QHBoxLayout()
        row.addWidget(self.choice, 1)
        row.addWidget(self.open_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.import_button)
        self.open_button.clicked.connect(self.open)
        runner.finished.connect(self._on_finished)
        events = session.events
        follow(
            self,
            (events.slide, self.look),
            (events.project, self.look),
            (events.embeddings, self._choose_shown),
        )
        self.look()

    def look(self) -> None:
        """Look anew what there is."""
        slide, project = self._session.slide, self._session.project
        self._runner.cancel(LOOKING)
        self._list([])
        self.import_button.setVisible(slide is not None and not self._session.refusal)
        if slide is not None and project is not None:
            job = look_job(project, slide.id)
            self._runner.start(job, "Looking for embeddings", self._list, slot=LOOKING)

    def open(self) -> None:
        """Show the chosen embeddings and their tiles."""
        index = self.choice.currentIndex()
        if index >= 0:
            job = open_job(self._stored[index])
            self._runner.start(job, "Opening embeddings", self._show, slot=OPENING)

    def take_file(self, path: Path) -> None:
        """Import features of the slide that is open, and show them."""
        slide, project = self._session.slide, self._session.project
        if slide is None or project is None or project.read_only:
            notify.tell("Open the slide first that the features were made of, in a project.")
            return
        job = import_features(path, slide, project)
        self._runner.start(job, f"Importing {path.name}", self._imported, slot=IMPORTING)

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Import features", "", FILES)
        if path:
            self.take_file(Path(path))

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Import features (a SpatialData folder)")
        if folder:
            self.take_file(Path(folder))

    def _list(self, found: Stored) -> None:
        self._stored = [stored for stored, _ in found]
        self.choice.clear()
        self.choice.addItems([text for _, text in found])
        for index, (_, text) in enumerate(found):
            self.choice.setItemData(index, text, Qt.ItemDataRole.ToolTipRole)
        for widget in (self.choice, self.open_button):
            widget.setVisible(bool(found))
        self._choose_shown()

    def _choose_shown(self) -> None:
        shown = self._session.embeddings
        for index, stored in enumerate(self._stored):
            if shown is not None and _which(stored.key, stored.grid_hash) == _which(
                shown.key, shown.grid_hash
            ):
                self.choice.setCurrentIndex(index)

    def _show(self, opened: tuple[TileGrid, Embeddings]) -> None:
        (grid, embeddings), slide, before = opened, self._session.slide, self._session.grid
        if slide is None or slide.id != grid.slide_id:
            return  # another one is shown by now
        if before is None or before.hash != grid.hash:
            self._session.set_grid(grid)
        self._session.set_embeddings(embeddings)

    def _imported(self, made: FeatureImport) -> None:
        notify.tell(made.summary())
        slide, project = self._session.slide, self._session.project
        if slide is None or project is None or slide.id != made.grid.slide_id:
            return
        for stored in stored_features(project.slide_store(slide.id)):
            if _which(stored.key, stored.grid_hash) == _which(made.key, made.grid.hash):
                job = open_job(stored)
                self._runner.start(job, "Opening embeddings", self._show, slot=OPENING)

    def _on_finished(self, running: RunningJob) -> None:
        if running.slot in (EMBEDDING, COHORT, IMPORTING):
            self.look()


def _which(key: FeatureKey, grid_hash: str) -> tuple[str, str]:
    """Return what two embeddings of a slide have in common if they are the same."""
    return key.hash, grid_hash
