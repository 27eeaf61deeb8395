"""Sort the tiles into classes by their names alone: heatmaps, and labels that can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from ..analysis.text_search import for_texts, text_encoder
from ..analysis.zero_shot import ZeroShot, zero_shot
from ..core.embeddings import Embeddings
from ..core.jobs import Job, Progress
from ..core.tiles import TileGrid
from ..io.project import Project
from ..io.reader import SlideReader
from ..models.base import Encoder
from ..session import Session
from . import notify
from .follow import follow
from .labelling import label_tiles
from .runner import Runner
from .text_box import NEEDS, OTHER_ENCODER, knows_words

SLOT = "zero-shot"
NAMES = "Classes, with synonyms after “|”; those of the project if nothing is written"


def classes_of(text: str) -> dict[str, list[str]]:
    """Read ``"tumor | carcinoma, stroma"``: synonyms of each class by its name."""
    parts = ([name.strip() for name in part.split("|")] for part in text.split(","))
    filled = (list(filter(None, names)) for names in parts)
    return {names[0]: names for names in filled if names}


def zero_shot_job(
    slide: SlideReader,
    grid: TileGrid,
    embeddings: Embeddings,
    classes: Mapping[str, Sequence[str]],
    load: Callable[[], Encoder],
    project: Project | None,
) -> Job[ZeroShot]:
    """Load the encoder of embeddings, unless that is done, and ask it for classes."""
    yield Progress(0, 0, "Loading the encoder")
    encoder = text_encoder(load())
    writable = project is not None and not project.read_only
    store = project.slide_store(slide.id) if project is not None and writable else None
    vectors = yield from for_texts(slide, grid, embeddings, encoder, store)
    return (yield from zero_shot(vectors, encoder, classes))


class ZeroShotBox(QWidget):
    """Names of classes, the heatmap of each, and labels of the best ones.

    Parameters
    ----------
    session : Session
    runner : Runner
    loader : callable
        Takes the name of an encoder and returns what loads it.
    """

    found = Signal(object)
    """Scores for one class, a :class:`~napari_pathfm.analysis.search.TileScores`."""

    def __init__(
        self,
        session: Session,
        runner: Runner,
        loader: Callable[[str], Callable[[], Encoder]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner, self._loader = session, runner, loader
        self._answer: ZeroShot | None = None
        self._given: dict[int, int] = {}
        self.line = QLineEdit()
        self.button = QPushButton("Classify")
        self.shown = QComboBox()
        self.shown.setToolTip("The class whose likeness colours the slide")
        self.label_button = QPushButton("Label")
        self.label_button.setToolTip("Give each tile without a label the class that fits best")
        self.back_button = QPushButton("Take back")
        self.back_button.setToolTip("Take these labels away again")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for parts in ((self.line, self.button), (self.shown, self.label_button, self.back_button)):
            row = QHBoxLayout()
            for part in parts:
                row.addWidget(part, int(part is parts[0]))
            column.addLayout(row)
        self.line.textChanged.connect(self._on_names)
        self.line.returnPressed.connect(self.classify)
        self.button.clicked.connect(self.classify)
        self.shown.activated.connect(self.show_class)
        self.label_button.clicked.connect(self.label)
        self.back_button.clicked.connect(self.take_back)
        events = session.events
        follow(self, (events.embeddings, self._on_embeddings), (events.classes, self._on_names))
        self._on_embeddings()

    @property
    def classes(self) -> dict[str, list[str]]:
        """Synonyms of each class to tell apart, by its name."""
        written = classes_of(self.line.text())
        return written or {each.name: [each.name] for each in self._session.classes}

    def classify(self) -> None:
        """Ask the encoder for the classes, and show the heatmap of the first."""
        session = self._session
        slide, grid, embeddings = session.slide, session.grid, session.embeddings
        if slide is None or grid is None or embeddings is None or not self.button.isEnabled():
            return

        def take(answer: ZeroShot) -> None:
            if self._session.still(embeddings):
                self._take(answer)

        load = self._loader(embeddings.key.encoder)
        job = zero_shot_job(slide, grid, embeddings, self.classes, load, session.project)
        self._runner.start(job, "Classifying tiles", take, slot=SLOT)

    def show_class(self) -> None:
        """Colour the slide by its likeness to the chosen class."""
        if self._answer is not None:
            scores = self._answer.of(self.shown.currentData())
            self._session.scores = scores
            self.found.emit(scores)

    def label(self) -> None:
        """Give each tile without a label the class that fits best: one step, to be taken back."""
        answer, labels = self._answer, self._session.labels
        if answer is None or labels is None:
            return
        ids = {each.name: each.id for each in self._session.classes}
        if missing := [name for name in answer.classes if name not in ids]:
            notify.warn(
                f"The project has no class {missing[0]!r}, whose tiles get no label: add it in the "
                "step Segment, then label again."
            )
        best = (ids.get(answer.classes[number], 0) for number in answer.best)
        given = {
            int(tile): class_id
            for tile, class_id in zip(answer.tiles, best, strict=True)
            if class_id and not labels[tile]
        }
        if given and label_tiles(self._session, given):
            self._given |= given
        self._on_given()

    def take_back(self) -> None:
        """Take away the labels that were given here and that nobody has changed since."""
        labels = self._session.labels
        if labels is None:
            return
        ours = {tile: 0 for tile, class_id in self._given.items() if labels[tile] == class_id}
        if label_tiles(self._session, ours):
            self._given = {}
        self._on_given()

    def _take(self, answer: ZeroShot) -> None:
        self._answer = answer
        self.shown.clear()
        for number, name in enumerate(answer.classes):
            count = int((answer.best == number).sum())
            self.shown.addItem(f"{name}: {count:,} tile{'' if count == 1 else 's'}", name)
        self._on_given()
        self.show_class()

    def _on_embeddings(self) -> None:
        self._runner.cancel(SLOT)
        self._answer, self._given = None, {}
        embeddings = self._session.embeddings
        words = embeddings is not None and knows_words(embeddings.key.encoder)
        self.line.setEnabled(words)
        self.line.setPlaceholderText("tumor | carcinoma, stroma" if words else NEEDS)
        self.line.setToolTip(NAMES if words else OTHER_ENCODER)
        self.button.setToolTip(self.line.toolTip())
        self._on_names()
        self._on_given()

    def _on_names(self) -> None:
        self.button.setEnabled(self.line.isEnabled() and len(self.classes) > 1)

    def _on_given(self) -> None:
        self.shown.setVisible(self._answer is not None)
        self.label_button.setVisible(self._answer is not None)
        self.back_button.setVisible(bool(self._given))
