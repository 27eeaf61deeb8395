"""Asks a model that was trained on labels of slides what this one is, and where it sees that."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..analysis.search import TileScores
from ..analysis.slide_attention import judge_slide
from ..core.embeddings import Embeddings
from ..core.jobs import Job, Progress
from ..models.slide_classifier import BagSource, Card, SlideJudgement
from ..models.trained_heads import trained_cards, trained_heads
from ..session import Session
from .follow import follow
from .runner import Runner

SLOT = "attention"
WITHOUT = ("mean", "max")
"""Heads that do not weigh tiles."""

Found = tuple[Card, SlideJudgement, TileScores]


def attention_job(folder: Path, name: str, embeddings: Embeddings) -> Job[Found]:
    """Load a trained head and have it judge a slide by the embeddings of its tiles."""
    yield Progress(0, 0, f"Loading {name}")
    model = trained_heads(folder).get(name)
    judged, (scores,) = judge_slide(model, (embeddings.in_grid_order(),))
    return model.card, judged, scores


def fitting_heads(folder: Path, source: BagSource) -> list[str]:
    """Names of the trained heads that take such embeddings, and no others besides."""
    return [
        name
        for name, card in trained_cards(folder).items()
        if [each.difference(source) is None for each in card.sources] == [True]
        and card.head not in WITHOUT
    ]


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
            self.models.addItems(fitting_heads(session.project.models, source))
        self.setVisible(self.models.count() > 0)

    def ask(self) -> None:
        """Have the chosen model judge the slide."""
        project, embeddings = self._session.project, self._session.embeddings
        name = self.models.currentText()
        if project is None or embeddings is None or not name:
            return

        def take(answer: Found) -> None:
            if not self._session.still(embeddings):
                return
            card, judged, scores = answer
            best = int(judged.probabilities.argmax())
            self.verdict.setText(f"{card.classes[best]}: {judged.probabilities[best]:.0%}")
            self._session.scores = scores
            self.found.emit(scores)

        job = attention_job(project.models, name, embeddings)
        self._runner.start(job, f"Attention of {name}", take, slot=SLOT)
