"""The only mutable state: what is open, selected and labelled.

Values are frozen and are replaced as a whole, on the GUI thread; each replacement fires an event
of the same name (``session.events.grid.connect(...)``). What follows from a value is cleared when
the value changes, so nobody ever sees a map of another slide's tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from psygnal import SignalGroupDescriptor

from .analysis.map import MapCoordinates
from .analysis.search import TileScores
from .analysis.tissue import TissueMask
from .core.edits import AnnotationClass
from .core.embeddings import Embeddings
from .core.tiles import TileGrid
from .io.masks import AnnotationLayer
from .io.project import Project
from .io.reader import SlideReader


@dataclass(frozen=True, eq=False)
class Selection:
    """Selected tiles, shared by the map and the slide.

    Attributes
    ----------
    tiles : ndarray
        ``(K,)`` int64 numbers in the grid, sorted.
    """

    tiles: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.tiles)


@dataclass(eq=False)
class Session:
    """State of one window (or one script).

    Attributes
    ----------
    project : Project or None
        Where everything is kept.
    slides : tuple of SlideReader
        What is open.
    slide : SlideReader or None
        The one that is worked on.
    tissue, grid, embeddings, coordinates
        Of that slide; each is cleared when one before it changes.
    embedded : int
        Tiles that have a vector; it grows while a slide is being embedded.
    left_out : TileGrid or None
        Tiles that are not in `grid`, or will not be, since they are not good enough.
    clusters : ndarray or None
        ``(M,)`` int32, a cluster for each of the first M rows of `embeddings`.
    scores : TileScores or None
        What the heatmap shows.
    selection : Selection
    classes : tuple of AnnotationClass
    labels : ndarray or None
        ``(N,)`` uint8: class of each tile of `grid`, 0 for none.
    annotations : AnnotationLayer or None
        The layer that is edited.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    project: Project | None = None
    slides: tuple[SlideReader, ...] = ()
    slide: SlideReader | None = None
    tissue: TissueMask | None = None
    grid: TileGrid | None = None
    left_out: TileGrid | None = None
    embeddings: Embeddings | None = None
    embedded: int = 0
    coordinates: MapCoordinates | None = None
    clusters: NDArray[np.int32] | None = None
    scores: TileScores | None = None
    selection: Selection = field(default_factory=Selection)
    classes: tuple[AnnotationClass, ...] = ()
    labels: NDArray[np.uint8] | None = None
    annotations: AnnotationLayer | None = None

    @property
    def refusal(self) -> str:
        """Why nothing can be written to the project; empty if it can, or if there is none."""
        read_only = self.project is not None and self.project.read_only
        return "the project is open for reading only" if read_only else ""

    def show_slide(self, slide: SlideReader | None) -> None:
        """Work on another slide (it joins :attr:`slides` if it is new)."""
        if slide is self.slide:
            return
        self.set_tissue(None)
        self.annotations = None
        if slide is not None and slide not in self.slides:
            self.slides = (*self.slides, slide)
        self.slide = slide

    def set_tissue(self, tissue: TissueMask | None) -> None:
        """Replace the tissue mask; grid and all that follows are cleared."""
        self.set_grid(None)
        self.tissue = tissue

    def set_grid(self, grid: TileGrid | None) -> None:
        """Replace the tile grid; embeddings and all that follows are cleared."""
        self.set_embeddings(None)
        self.selection = Selection()
        self.left_out = None
        self.labels = None if grid is None else np.zeros(len(grid), np.uint8)
        self.grid = grid

    def set_embeddings(self, embeddings: Embeddings | None) -> None:
        """Replace the embeddings; map, clusters and scores are cleared.

        If they are those before and maybe more, all of these stay, for they still hold, and only
        the event of :attr:`embedded` is fired.
        """
        before = self.embeddings
        if before is not None and embeddings is not None and embeddings.continues(before):
            with self.events.embeddings.blocked():
                self.embeddings = embeddings
        else:
            self.scores = None
            self.clusters = None
            self.coordinates = None
            self.embeddings = embeddings
        self.embedded = 0 if embeddings is None else len(embeddings)

    def still(self, embeddings: Embeddings) -> bool:
        """Whether what was found out about embeddings holds for those that there are now."""
        return self.embeddings is not None and self.embeddings.continues(embeddings)

    def select(self, tiles: NDArray[np.integer]) -> None:
        """Select tiles by their numbers in the grid."""
        self.selection = Selection(np.unique(np.asarray(tiles, np.int64)))
