"""Step 3: lay the tiles out on a map, group them, find alike ones, give them classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..analysis.map import cluster
from ..analysis.search import TileScores
from ..core.jobs import one_step
from ..models.base import Encoder
from ..session import Session
from .attention_box import AttentionBox
from .encoders import fresh
from .follow import follow
from .gallery import Gallery
from .label_box import LabelBox
from .map_maker import MapMaker
from .runner import Runner
from .searching import Searching
from .text_box import TextBox
from .zero_shot_box import ZeroShotBox

CLUSTERS = "clusters"
HITS = 24
"""Thumbnails of a search."""


class ExplorePanel(QWidget):
    """Explores the embeddings of the slide.

    Parameters
    ----------
    session : Session
    runner : Runner
    loader : callable
        Takes the name of an encoder and returns what loads it; that may be loaded already.
    """

    jump = Signal(int)
    """Number of a tile to show."""
    lasso_requested = Signal()
    """The user wants to draw round a region of the slide."""

    def __init__(
        self,
        session: Session,
        runner: Runner,
        loader: Callable[[str], Callable[[], Encoder]] = fresh,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner, self._loader = session, runner, loader
        self.maps = MapMaker(session, runner, self)
        self.searching = Searching(session, runner, self)
        self.selected = QLabel()
        self.lasso_button = QPushButton("Draw region")
        self.clear_button = QPushButton("Clear selection")
        self.map_button = QPushButton("Make map")
        self.map_state = QLabel()
        self.clusters = QSpinBox()
        self.cluster_button = QPushButton("Find clusters")
        self.similar_button = QPushButton("Find similar tiles")
        self.forget_button = QPushButton("Clear")
        self.text = TextBox()
        self.zero_shot = ZeroShotBox(session, runner, loader, self)
        self.attention = AttentionBox(session, runner, self)
        self.hits = QLabel()
        self.gallery = Gallery(session, runner)
        self.labels = LabelBox(session)
        self._lay_out()
        self._connect()
        self._on_embeddings()

    def blocked(self) -> str:
        if self._session.slide is None:
            return "open a slide first"
        return "embed the slide first" if self._session.embeddings is None else ""

    def find_clusters(self) -> None:
        """Group the tiles."""
        embeddings, k = self._session.embeddings, self.clusters.value()
        if embeddings is None:
            return

        def take(found: NDArray[np.int32]) -> None:
            if self._session.still(embeddings):
                self._session.clusters = found

        job = one_step("Finding clusters", lambda: cluster(embeddings, k))
        self._runner.start(job, "Finding clusters", take, slot=CLUSTERS)

    def find_similar(self) -> None:
        """Score all tiles by their likeness to the selected ones, and show the best."""
        self.searching.similar(self._session.selection.tiles)

    def find_text(self, text: str) -> None:
        """Score all tiles by their likeness to a text, and show the best."""
        embeddings = self._session.embeddings
        if embeddings is not None:
            self.searching.text(text, self._loader(embeddings.key.encoder))

    def show_scores(self, scores: TileScores) -> None:
        """Show the best tiles of a heatmap."""
        self._show_hits(scores, scores.best(HITS))

    def show_attention(self, scores: TileScores) -> None:
        """Show the tiles that counted most for what a model says of the slide."""
        self._show_hits(scores, scores.best(HITS))
        self.hits.setText("Tiles that counted most; 1 is what a tile counts in the mean:")

    def _on_found(self, scores: TileScores, chosen: NDArray[np.int64]) -> None:
        self._show_hits(scores, scores.best(HITS, chosen))

    def _show_hits(self, scores: TileScores, best: NDArray[np.int64]) -> None:
        order = np.argsort(scores.tiles, kind="stable")
        rows = order[np.searchsorted(scores.tiles[order], best)]
        captions = [f"{value:.2f}" for value in scores.values[rows]]
        if (best.tolist(), captions) != self.gallery.shown():  # while tiles come, it often stays
            self.gallery.show_tiles(best, captions)
        self.hits.setText(f"Most {scores.text}, with their cosine similarity:")

    def _on_embeddings(self) -> None:
        self._runner.cancel(CLUSTERS)
        self._on_coordinates()
        self._on_scores()
        self._on_selection()
        found = self._session.embeddings
        there = found is not None
        self.text.offer("" if found is None else found.key.encoder)
        for widget in (self.map_button, self.cluster_button, self.clusters):
            widget.setEnabled(there)

    def _on_coordinates(self) -> None:
        found, embedded = self._session.coordinates, self._session.embedded
        text = "" if found is None else found.note or f"{found.method} of {len(found):,} tiles"
        if found is not None and len(found) < embedded:
            text = f"{found.method} of {len(found):,} of {embedded:,} tiles"
        self.map_state.setText(text)

    def _on_scores(self) -> None:
        there = self._session.scores is not None
        self.forget_button.setEnabled(there)
        self.gallery.setVisible(there)
        if not there:
            self.gallery.clear_tiles()
            self.hits.setText("Select tiles on the slide or on the map, then find similar ones.")

    def _on_selection(self) -> None:
        count = len(self._session.selection)
        self.selected.setText(f"<b>{count:,}</b> tile{'' if count == 1 else 's'} selected")
        self.clear_button.setEnabled(count > 0)
        self.similar_button.setEnabled(count > 0 and self._session.embeddings is not None)

    def _clear_selection(self) -> None:
        self._session.select(np.zeros(0, np.int64))

    def _connect(self) -> None:
        events = self._session.events
        follow(
            self,
            (events.embeddings, self._on_embeddings),
            (events.embedded, self._on_coordinates),
            (events.coordinates, self._on_coordinates),
            (events.scores, self._on_scores),
            (events.selection, self._on_selection),
        )
        self.gallery.jump.connect(self.jump)
        self.lasso_button.clicked.connect(self.lasso_requested)
        self.clear_button.clicked.connect(self._clear_selection)
        self.map_button.clicked.connect(self.maps.make)
        self.cluster_button.clicked.connect(self.find_clusters)
        self.similar_button.clicked.connect(self.find_similar)
        self.forget_button.clicked.connect(self.searching.forget)
        self.text.asked.connect(self.find_text)
        self.searching.found.connect(self._on_found)
        self.zero_shot.found.connect(self.show_scores)
        self.attention.found.connect(self.show_attention)

    def _lay_out(self) -> None:
        self.clusters.setRange(2, 20)
        self.clusters.setValue(8)
        self.clusters.setToolTip("Number of clusters")
        self.lasso_button.setToolTip("Draw round a region of the slide to select its tiles")
        self.map_button.setToolTip("Alike tiles lie together: PCA at once, then UMAP")
        self.similar_button.setToolTip("Colours the slide by its likeness to the selected tiles")
        for label in (self.hits, self.map_state):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)  # a text that was searched may hold "<"
        column = QVBoxLayout(self)
        column.addWidget(_group("Map", (self.map_button,), self.map_state))
        column.addWidget(_group("Clusters", (self.clusters, self.cluster_button)))
        column.addWidget(_group("Selection", (self.lasso_button, self.clear_button), self.selected))
        buttons = (self.similar_button, self.forget_button)
        below = (self.text, self.zero_shot, self.attention, self.hits, self.gallery)
        similar = _group("Similar", buttons, *below)
        column.addWidget(similar)
        column.addWidget(_group("Label", (self.labels,)))
        column.addStretch(1)


def _group(
    title: str, row: tuple[QWidget, ...], above: QWidget | None = None, *below: QWidget
) -> QGroupBox:
    group = QGroupBox(title)
    column = QVBoxLayout(group)
    if above is not None:
        column.addWidget(above)
    line = QHBoxLayout()
    for widget in row:
        line.addWidget(widget)
    column.addLayout(line)
    for widget in below:
        column.addWidget(widget)
    return group
