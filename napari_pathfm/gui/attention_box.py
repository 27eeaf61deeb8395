"""Asks a model that was trained on labels of slides what this one is, and where it sees that."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..analysis.search import TileScores
from ..analysis.slide_attention import judge_slide
from ..core.embeddings import Embeddings
from ..core.jobs import Job, Progress
from ..models.base import ModelError
from ..models.slide_classifier import BagSource, Card, SlideJudgement, load_classifier
from ..session import Session
from .follow import follow
from .runner import Runner

SLOT = "attention"
WITHOUT = ("mean", "max")
"""Heads that do not weigh tiles."""

Found = tuple[Card, SlideJudgement, TileScores]


def attention_job(card_path: Path, embeddings: Embeddings) -> Job[Found]:
    """Load a trained head and have it judge a slide by the embeddings of its tiles."""
    yield Progress(0, 0, f"Loading {card_path.stem}")
    model = load_classifier(card_path)
    judged, (scores,) = judge_slide(model, (embeddings.in_grid_order(),))
    return model.card, judged, scores


def fitting_models(folder: Path, source: BagSource) -> list[Path]:
    """Files of the trained heads that take such embeddings, and no others besides."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            card = Card.read(path)
        except ModelError:
            continue  # no trained head: other models have files of that kind, too
        fits = [each.difference(source) is None for each in card.sources]
        if fits == [True] and card.head not in WITHOUT:
            found.append(path)
    return found


class AttentionBox(QWidget):
    """A choice of the project's trained heads; shows itself where there is one that fits.

    Its heatmap is the session's scores.

    Parameters
    ----------
    session : Session
    runner : Runner
    """

    found = Signal(object)
    """The scores of the tiles, a :class:`~napari_pathfm.analysis.search.TileScores`."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self.models = QComboBox()
        self.button = QPushButton("Show attention")
        self.button.setToolTip("Colours the slide by what the trained model looks at")
        self.verdict = QLabel()
        self.verdict.setTextFormat(Qt.TextFormat.PlainText)
        row = QHBoxLayout()
        row.addWidget(self.models, 1)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.verdict)
        self.button.clicked.connect(self.ask)
        follow(self, (session.events.embeddings, self.offer), (session.events.project, self.offer))
        self.offer()

    def offer(self) -> None:
        """List the models that take the embeddings of the slide."""
        self._runner.cancel(SLOT)
        session = self._session
        self.models.clear()
        self.verdict.clear()
        if session.project and session.grid is not None and session.embeddings is not None:
            spec, embeddings = session.grid.spec, session.embeddings
            source = BagSource(embeddings.key, embeddings.vectors.shape[1], spec.tile_px, spec.mpp)
            for path in fitting_models(session.project.models, source):
                self.models.addItem(path.stem, path)
        self.setVisible(self.models.count() > 0)

    def ask(self) -> None:
        """Have the chosen model judge the slide."""
        embeddings, path = self._session.embeddings, self.models.currentData()
        if embeddings is None or path is None:
            return

        def take(answer: Found) -> None:
            if embeddings is not self._session.embeddings:
                return
            card, judged, scores = answer
            best = int(judged.probabilities.argmax())
            self.verdict.setText(f"{card.classes[best]}: {judged.probabilities[best]:.0%}")
            self._session.scores = scores
            self.found.emit(scores)

        title = f"Attention of {path.stem}"
        self._runner.start(attention_job(path, embeddings), title, take, slot=SLOT)
