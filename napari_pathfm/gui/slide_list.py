"""The slides of the project and how far each is embedded; embeds all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..analysis.cohort import SlideState, State, embed_cohort, stored_state
from ..analysis.embed_slide import ENOUGH_TISSUE, EmbedTask
from ..core import inference
from ..core.jobs import Job, Progress
from ..io.find_slides import find_slides
from ..io.project import Project, SlideRow
from ..models.base import Encoder
from ..models.fetch import fetch
from ..session import Session
from . import notify
from .encoders import Encoders
from .follow import follow
from .model_chooser import ModelChooser
from .runner import Runner, RunningJob
from .stain_box import StainBox

SLOT = "cohort"
SHOW_SECONDS = 0.4

Stored = list[tuple[SlideRow, State, int, int]]


def look_job(project: Project, encoder: str) -> Job[Stored]:
    """Look how far each slide of a project is embedded."""
    rows, found = project.slides(), list[tuple[SlideRow, State, int, int]]()
    for number, row in enumerate(rows):
        yield Progress(number, len(rows), "Looking at slides")
        found.append((row, *stored_state(project, row.id, encoder)))
    return found


def cohort_job(
    tasks: list[EmbedTask],
    load: Callable[[Path | None], Encoder],
    weights: Job[Path | None],
    project: Project,
    show: Callable[[SlideState], None],
) -> Job[tuple[SlideState, ...]]:
    """Load an encoder and embed slides with it; what the window need not see is not shown."""
    file = yield from weights
    yield Progress(0, 0, "Loading the encoder")
    encoder, shown = load(file), 0.0

    def seldom(state: SlideState) -> None:
        nonlocal shown
        if state.state is State.EMBEDDING and time.monotonic() - shown < SHOW_SECONDS:
            return
        shown = time.monotonic()
        show(state)

    queue = inference.queue(encoder.device)
    return (yield from embed_cohort(tasks, encoder, project, seldom, queue))


class SlideList(QWidget):
    """Name, state and tiles of each slide; a double click opens one.

    Parameters
    ----------
    session : Session
    runner : Runner
    model : ModelChooser
        Which encoder.
    encoders : Encoders
        Those in memory.
    stain : StainBox
        What the tiles are made to look like.
    """

    open_requested = Signal(object)
    _changed = Signal(object)

    def __init__(
        self,
        session: Session,
        runner: Runner,
        model: ModelChooser,
        encoders: Encoders,
        stain: StainBox,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._model, self._encoders, self._stain = model, encoders, stain
        self._items: dict[str, QTreeWidgetItem] = {}
        self.list = QTreeWidget()
        self.list.setHeaderLabels(["Slide", "State", "Tiles"])
        self.list.setRootIsDecorated(False)
        self.add_button = QPushButton("Add folder…")
        self.embed_button = QPushButton("Embed all")
        self.cancel_button = QPushButton("Cancel")
        self.add_button.setToolTip(
            "List all slides in a folder; embedding adds them to the project"
        )
        self.embed_button.setToolTip("Embed all slides of the list, cut as the one that is shown")
        self.list.setToolTip("Double click opens a slide")
        row = QHBoxLayout()
        for button in (self.add_button, self.embed_button, self.cancel_button):
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.addWidget(self.list)
        column.addLayout(row)
        self.add_button.clicked.connect(self._choose_folder)
        self.embed_button.clicked.connect(self.embed_all)
        self.cancel_button.clicked.connect(self._cancel)
        self.list.itemDoubleClicked.connect(self._open)
        self._changed.connect(self._on_changed, Qt.ConnectionType.QueuedConnection)
        runner.finished.connect(self._on_finished)
        follow(
            self,
            (session.events.project, self.look),
            (session.events.annotations, self.look),
            (session.events.embeddings, self.look),
        )
        self.look()

    def look(self) -> None:
        """Look how far each slide is, in a worker."""
        project = self._session.project
        self._show_busy()
        if project is None:
            self.list.clear()
            self._items.clear()
        elif not self._runner.busy(SLOT):
            job = look_job(project, self._model.name)
            self._runner.start(job, "Looking at slides", self._take, slot="slides")

    def add_folder(self, folder: Path) -> None:
        """List the slides of a folder; they join the project when they are embedded."""
        for path in find_slides(folder):
            self._show(str(path), path.stem, State.WAITING.value, "")

    def embed_all(self) -> None:
        """Embed every slide of the list with the encoder that is chosen."""
        if self._session.project is not None and not self._runner.busy(SLOT):
            name, file = self._model.name, self._model.file
            self._model.permit(name, file, "Embedding", partial(self._start, name, file))

    def _start(self, name: str, file: Path | None) -> None:
        project = self._session.project
        if project is None:
            return
        tasks = [self._task(path, project, name, file) for path in self._items]
        load = partial(self._encoders.load, name, file)
        job = cohort_job(tasks, load, fetch(name, file), project, self._changed.emit)
        self._runner.start(job, "Embedding all slides", self._say, slot=SLOT)
        self._show_busy()

    def _task(self, path: str, project: Project, name: str, file: Path | None) -> EmbedTask:
        """Cut all slides as the one that is shown, or as the encoder wants it if none is."""
        task = EmbedTask(path, project.folder, name, file, stain=self._stain.value())
        if self._session.grid is None:
            return task
        spec = self._session.grid.spec
        return replace(
            task,
            tile_mpp=spec.mpp,
            tile_px=spec.tile_px,
            overlap=spec.overlap,
            limits=replace(ENOUGH_TISSUE, min_tissue=spec.min_tissue),
        )

    def _say(self, states: tuple[SlideState, ...]) -> None:
        failed = sum(state.state is State.FAILED for state in states)
        if failed:
            notify.tell(
                f"{failed} of {len(states)} slides could not be embedded: rest the pointer on "
                "“failed” in the list of slides to see why."
            )

    def _take(self, found: Stored) -> None:
        for row, state, count, total in found:
            part = f"{count:,} of {total:,}" if count < total else f"{count:,}"
            self._show(str(row.path), row.name, state.value, part if count else "")

    def _on_changed(self, state: SlideState) -> None:
        progress, made = state.progress, state.result
        tiles = f"{progress.done:,} of {progress.total:,}" if progress.total else ""
        tiles = f"{made.tiles:,}" if made is not None else tiles
        item = self._show(state.task.slide, state.task.name, state.state.value, tiles)
        item.setToolTip(1, state.reason)

    def _show(self, path: str, name: str, state: str, tiles: str) -> QTreeWidgetItem:
        if path not in self._items:
            self._items[path] = QTreeWidgetItem(self.list)
            self._items[path].setToolTip(0, path)
        for column, text in enumerate((name, state, tiles)):
            self._items[path].setText(column, text)
        return self._items[path]

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of slides")
        if folder:
            self.add_folder(Path(folder))

    def _open(self, item: QTreeWidgetItem) -> None:
        self.open_requested.emit(Path(item.toolTip(0)))

    def _cancel(self) -> None:
        self._runner.cancel(SLOT)

    def _show_busy(self) -> None:
        busy, project = self._runner.busy(SLOT), self._session.project
        self.embed_button.setEnabled(not busy and project is not None and not project.read_only)
        self.cancel_button.setEnabled(busy)

    def _on_finished(self, running: RunningJob) -> None:
        if running.slot == SLOT:
            self._show_busy()
