"""The map of the tiles: what looks alike lies together, and is selected together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ..analysis.map import MapCoordinates
from ..core.tiles import points_in_polygon
from ..session import Session
from .colors import Paint, by_class, by_cluster, by_score, unknown
from .follow import follow
from .map_view import MapView
from .raster import Marks

COLOR_BY = ("Label", "Cluster", "Score")
_DIMMED = 0.5  # opacity of what is not selected, while something is


class MapDock(QWidget):
    """Shows ``session.coordinates``, and shares the selection with the slide."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._shown: MapCoordinates | None = None
        self._order = np.zeros(0, np.int64)
        self.view = MapView()
        self.message = QLabel()
        self.legend = QLabel()
        self.status = QLabel()
        self.lasso_button = QPushButton("Lasso")
        self.fit_button = QPushButton("Fit")
        self.color_by = QComboBox()
        self._lay_out()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self.refresh)
        self._connect()
        self.refresh()

    def refresh(self) -> None:
        """Draw what the session holds now."""
        found = self._session.coordinates
        self.message.setText(self._why_empty())
        self._stack.setCurrentIndex(0 if self._why_empty() else 1)
        for widget in (self.lasso_button, self.fit_button, self.color_by):
            widget.setEnabled(not self._why_empty())
        self.legend.setVisible(found is not None)
        self._say_status()
        if found is None:
            self._shown = None
            self.view.set_marks(None)
            return
        before, self._shown = self._shown, found
        fresh = found is not before
        if fresh:
            # Drawn in a random order: no part of the slide always lies on top.
            self._order = np.random.default_rng(0).permutation(len(found))
        self._draw(found)
        if fresh and not (self.view.moved and _grown(found, before)):
            self.view.fit()

    def _why_empty(self) -> str:
        session = self._session
        if session.slide is None:
            return "Open a slide first."
        if session.embeddings is None:
            return "Embed the slide first: each tile becomes a point of the map."
        if session.coordinates is None:
            return "No map yet: press “Make map” in the step Explore."
        return ""

    def _draw(self, found: MapCoordinates) -> None:
        tiles = found.tiles[self._order]
        paint = self._paint(tiles)
        chosen = np.isin(tiles, self._session.selection.tiles)
        colors = paint.colors
        if chosen.any() and self.color_by.currentText() != "Score":  # whose shades say something
            colors = np.where(chosen, colors, _dim(colors))
        x, y = found.xy[self._order].T
        self.view.set_marks(
            Marks(np.ascontiguousarray(x), np.ascontiguousarray(y), colors, paint.symbols, chosen)
        )
        self.legend.setText(paint.legend)

    def _paint(self, tiles: NDArray[np.int64]) -> Paint:
        session = self._session
        by = self.color_by.currentText()
        if by == "Cluster":
            if session.clusters is None or session.embeddings is None:
                return unknown(tiles, "No clusters yet: find them in the step Explore.")
            clustered = session.embeddings.tiles[: len(session.clusters)]
            return by_cluster(tiles, clustered, session.clusters)
        if by == "Score":
            if session.scores is None:
                return unknown(tiles, "No scores yet: find similar tiles in the step Explore.")
            return by_score(tiles, session.scores)
        return by_class(tiles, session.labels, session.classes)

    def _say_status(self) -> None:
        found, selected = self._session.coordinates, len(self._session.selection)
        if found is None:
            self.status.setText("")
            return
        parts = [found.method, f"{len(found):,} tiles"]
        if selected:
            parts.append(f"<b>{selected:,} selected</b>")
        text = " · ".join(parts)
        self.status.setText(f"{text}<br>{found.note}" if found.note else text)

    def _on_lasso(self, corners: NDArray[np.float64], modifiers: Qt.KeyboardModifier) -> None:
        found = self._shown
        if found is not None:
            self._select(found.tiles[points_in_polygon(found.xy, corners)], modifiers)

    def _on_click(self, x: float, y: float, modifiers: Qt.KeyboardModifier) -> None:
        hit = self.view.nearest(x, y)
        tiles = np.zeros(0, np.int64)
        if hit is not None and self._shown is not None:
            tiles = self._shown.tiles[self._order[[hit]]]
        self._select(tiles, modifiers)

    def _select(self, tiles: NDArray[np.int64], modifiers: Qt.KeyboardModifier) -> None:
        before = self._session.selection.tiles
        if modifiers & Qt.KeyboardModifier.ShiftModifier:
            tiles = np.union1d(before, tiles)
        elif modifiers & Qt.KeyboardModifier.AltModifier:
            tiles = np.setdiff1d(before, tiles)
        self._session.select(tiles)

    def _on_lasso_button(self, lasso: bool) -> None:
        self.view.lasso = lasso

    def _on_change(self) -> None:
        # One action often changes several values: they are drawn once.
        self._soon.start()

    def _on_clusters(self) -> None:
        self._color_by_new("Cluster", self._session.clusters is not None)

    def _on_scores(self) -> None:
        self._color_by_new("Score", self._session.scores is not None)

    def _on_labels(self) -> None:
        labels = self._session.labels
        self._color_by_new("Label", labels is not None and bool(labels.any()))

    def _color_by_new(self, name: str, there: bool) -> None:
        if there:
            self.color_by.setCurrentText(name)
        self._on_change()

    def _connect(self) -> None:
        events = self._session.events
        follow(
            self,
            (events.slide, self._on_change),
            (events.embeddings, self._on_change),
            (events.coordinates, self._on_change),
            (events.selection, self._on_change),
            (events.classes, self._on_change),
            (events.labels, self._on_labels),
            (events.clusters, self._on_clusters),
            (events.scores, self._on_scores),
        )
        self.view.lassoed.connect(self._on_lasso)
        self.view.clicked.connect(self._on_click)
        self.lasso_button.toggled.connect(self._on_lasso_button)
        self.fit_button.clicked.connect(self.view.fit)
        self.color_by.currentIndexChanged.connect(self._on_change)

    def _lay_out(self) -> None:
        self.lasso_button.setCheckable(True)
        self.lasso_button.setChecked(True)
        self.lasso_button.setToolTip(
            "Drag with the left button round points to select them; Shift adds, Alt removes.\n"
            "Without it the left button moves the map; the right one always does, the wheel zooms."
        )
        self.fit_button.setToolTip("Show all points")
        self.color_by.addItems(COLOR_BY)
        self.color_by.setToolTip("What the colours of the points say")
        for label in (self.message, self.legend, self.status):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.RichText)
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.message.setMargin(24)
        self.view.setStyleSheet("background: transparent; border: none")
        row = QHBoxLayout()
        row.addWidget(self.lasso_button)
        row.addWidget(self.fit_button)
        row.addStretch(1)
        row.addWidget(QLabel("Colour by"))
        row.addWidget(self.color_by)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.message)
        self._stack.addWidget(self.view)
        column = QVBoxLayout(self)
        column.addLayout(row)
        column.addWidget(self._stack, 1)
        column.addWidget(self.legend)
        column.addWidget(self.status)


def _grown(found: MapCoordinates, before: MapCoordinates | None) -> bool:
    """Whether a map is an earlier one with more tiles, so that its view may stay."""
    if before is None or found.method != before.method:
        return False
    return np.array_equal(found.tiles[: len(before)], before.tiles)


def _dim(colors: NDArray[np.uint32]) -> NDArray[np.uint32]:
    channels = colors.view(np.uint8) * np.float32(_DIMMED)
    return channels.astype(np.uint8).view(np.uint32)
