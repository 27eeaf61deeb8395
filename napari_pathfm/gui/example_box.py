"""Segment by example: an object is saved by name, and what looks like it is found in the view."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..analysis.by_example import FoundByExample
from ..analysis.found_edit import found_edit
from ..core.edits import Edit
from ..core.slide import Slide
from ..io.examples import (
    count_examples,
    delete_examples,
    example_names,
)
from ..io.masks import AnnotationLayer
from ..io.project import Project
from ..models import catalog
from ..models.base import Encoder
from ..session import Session
from . import notify
from .annotate import EditWindow
from .example_jobs import SEGGPT, ExampleModels, by_example_job, save_job
from .follow import follow
from .prompting import Prompting
from .runner import Runner

SLOT = "by example"
WAYS = {"": "like its patch tokens", SEGGPT: "as SegGPT sees it"}
"""What the ways are called; the empty name is that without a model of its own."""

MOST = 20
"""Objects that are saved by one press, each with an image of its own."""

HOW = (
    "Mark one thing, choose it in the table of objects and save it here as an example: then "
    "everything like it is found, here or on another slide."
)


class ExampleBox(QWidget):
    """Names of the project's examples, and what is done with them.

    Parameters
    ----------
    session : Session
    runner : Runner
    prompting : Prompting
        Whose segmenter draws the objects.
    edit_window : EditWindow
        Knows the chosen object and the view; its history takes what is found.
    loader : callable
        Takes the name of an encoder and returns what loads it.
    selected : callable
        Returns the objects that are selected in the table.
    """

    def __init__(
        self,
        session: Session,
        runner: Runner,
        prompting: Prompting,
        edit_window: EditWindow,
        loader: Callable[[str], Callable[[], Encoder]],
        selected: Callable[[], NDArray[np.uint32]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._prompting, self._edits = prompting, edit_window
        self._models, self._selected = ExampleModels(loader), selected
        self.names = QComboBox()
        self.line = QLineEdit()
        self.names.setLineEdit(self.line)
        self.names.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.names.setToolTip("Examples of this project; type a new name to begin another")
        self.line.setPlaceholderText("name of an example")
        self.save_button = QPushButton("Save chosen object as example")
        self.save_button.setToolTip(
            "Or all that are selected in the table. More under the same name make it surer"
        )
        self.ways = QComboBox()
        for way, words in WAYS.items():
            self.ways.addItem(words, way)
        self.ways.setToolTip(
            "Patch tokens of the encoder that has embedded the slide, and objects by the "
            "segmenter of “Draw”; or SegGPT, which is downloaded the first time (1.5 GB)"
        )
        self.segment_button = QPushButton("Segment this view by example")
        self.segment_button.setToolTip("What is annotated already stays as it is")
        self.forget_button = QPushButton("Forget")
        self.forget_button.setToolTip("Delete all examples of this name")
        self.state = QLabel()
        self.state.setWordWrap(True)
        grid = QGridLayout()
        grid.addWidget(self.names, 0, 0)
        grid.addWidget(self.forget_button, 0, 1)
        for row, part in enumerate((self.save_button, self.ways, self.segment_button), 1):
            grid.addWidget(part, row, 0, 1, 2)
        grid.setColumnStretch(0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(grid)
        column.addWidget(self.state)
        self.save_button.clicked.connect(self.save)
        self.segment_button.clicked.connect(self.segment)
        self.forget_button.clicked.connect(self.forget)
        self.line.textChanged.connect(self._on_name)
        follow(self, (session.events.project, self._on_project))
        self._on_project()

    @property
    def name(self) -> str:
        """The name that is chosen or typed."""
        return self.line.text().strip()

    def save(self) -> None:
        """Keep the chosen object, or all that are selected, as examples of the name."""
        slide, layer, project = self._where()
        if slide is None or layer is None or project is None:
            return
        name, numbers = self.name, self._chosen()
        if not name:
            notify.tell("Type a name for the example first.")
        elif not numbers:
            notify.tell("Choose an object first: in the table, or with napari's picker.")
        elif len(numbers) > MOST:
            notify.tell(
                f"{len(numbers):,} objects are selected in the table: a few say what is meant, so "
                f"select {MOST} at most."
            )
        else:
            job = save_job(slide, layer, project, numbers, name)
            self._runner.start(
                job, "Saving the example", lambda _: self._list(name), slot="example"
            )

    def _chosen(self) -> list[int]:
        """What is selected in the table, unless another object has been chosen since."""
        selected: list[int] = self._selected().tolist()
        chosen = self._edits.chosen
        if chosen and chosen not in selected:
            return [chosen]
        return selected

    def segment(self) -> None:
        """Find what looks like the examples in the view: one edit."""
        slide, layer, project = self._where()
        region = self._edits.region
        if slide is None or layer is None or project is None or region is None:
            return
        name, way = self.name, str(self.ways.currentData())
        title = "Segmenting by example"
        take = partial(self._take, layer)

        def start() -> None:
            model = self._models.load(way, self._encoder(), project)
            outlines = self._prompting.segmenter.load_job()
            job = by_example_job(slide, project, name, region, model, outlines)
            self._runner.start(job, title, take, slot=SLOT)

        if way:
            start()
        else:
            self._prompting.segmenter.when_permitted(title, start)

    def forget(self) -> None:
        """Delete all examples of the name."""
        project = self._session.project
        if project is None:
            return
        try:
            delete_examples(project, self.name)
        except notify.EXPECTED as error:
            notify.fail("Forgetting the example", error)
        self._list("")

    def _where(self) -> tuple[Slide | None, AnnotationLayer | None, Project | None]:
        slide, layer, project = (
            self._session.slide,
            self._session.annotations,
            self._session.project,
        )
        if slide is None:
            notify.tell("Open a slide first.")
        elif layer is None or project is None:
            notify.tell("Choose a project folder in the step Slide first: examples are kept there.")
        return slide, layer, project

    def _encoder(self) -> str:
        """Name of the encoder that has embedded the slide, if it can be loaded."""
        embeddings = self._session.embeddings
        known = catalog.encoders().names()
        if embeddings is not None and embeddings.key.encoder in known:
            return embeddings.key.encoder
        return catalog.DEFAULT_ENCODER

    def _take(self, layer: AnnotationLayer, found: FoundByExample) -> None:
        project = self._session.project
        if layer is not self._session.annotations or project is None:
            notify.warn(
                "What was found by example was not kept: another slide or layer is open by now."
            )
            return
        class_id, author = self._edits.active.id, project.author
        before = len(layer.objects)

        def build(current: AnnotationLayer) -> Edit:
            return found_edit(current, found, class_id, author)

        def done() -> None:
            count = len(layer.objects) - before
            objects = "1 object" if count == 1 else f"{count:,} objects"
            self.state.setText(f"{objects} like “{found.example}”; Ctrl+Z takes them back.")

        self._edits.history.commit(f"segment by example {found.example}", build, done=done)

    def _on_project(self) -> None:
        self._list("")

    def _list(self, chosen: str) -> None:
        """List the names that there are."""
        project = self._session.project
        names = example_names(project) if project is not None else []
        self.names.clear()
        self.names.addItems(names)
        self.names.setCurrentText(chosen or next(iter(names), ""))
        self._on_name()

    def _on_name(self) -> None:
        project, name = self._session.project, self.name
        count = count_examples(project, name) if project is not None else 0
        for button in (self.segment_button, self.forget_button):
            button.setEnabled(count > 0)
        are = "1 example" if count == 1 else f"{count} examples"
        self.state.setText(f"{are} of “{name}”." if count else HOW)
