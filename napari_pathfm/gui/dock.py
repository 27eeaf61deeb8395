"""The dock widgets that napari's plugin menu opens."""

from __future__ import annotations

from pathlib import Path

from napari import Viewer
from qtpy.QtCore import QMimeData, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from ..io.backends.remote import RemotePath, slide_path
from .embed_panel import EmbedPanel
from .explore_panel import ExplorePanel
from .export_panel import ExportPanel
from .importing import is_geojson
from .job_bar import JobBar
from .magnification import MagnificationBar
from .map_dock import MapDock
from .segment_panel import SegmentPanel
from .slide_panel import SlidePanel
from .steps import Steps
from .stored_box import is_features
from .unsaved import UnsavedBar
from .view_menu import ViewMenu
from .workspace import workspace

WIDTH = 370


class PathFMDock(QWidget):
    """The steps in the order in which they are done, and what is running below them."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        # napari hands the viewer to a parameter of this name.
        super().__init__(parent)
        place = workspace(napari_viewer)
        session, runner = place.session, place.runner
        self.place = place
        self.slide = SlidePanel(session, runner)
        self.embed = EmbedPanel(session, runner, place.embedding)
        self.explore = ExplorePanel(session, runner, self.embed.loader)
        self.segment = SegmentPanel(
            session,
            runner,
            place.prompting,
            place.edit_window,
            place.importing,
            place.masks,
            place.more,
            self.embed.loader,
        )
        self.segment.table.as_polygon.connect(place.polygon.start)
        self.export = ExportPanel(session, runner)
        self.steps = Steps(session)
        for title, panel in (
            ("Slide", self.slide),
            ("Embed", self.embed),
            ("Explore", self.explore),
            ("Segment", self.segment),
            ("Export", self.export),
        ):
            self.steps.add(title, panel)
        self.magnification = MagnificationBar(place.magnification, session, place.watch)
        self.view_menu = ViewMenu(place)
        self.unsaved = UnsavedBar(place)
        self.jobs = JobBar(runner)
        column = QVBoxLayout(self)
        top = QHBoxLayout()
        top.addWidget(self.magnification, 1)
        top.addWidget(self.view_menu)
        column.addLayout(top)
        column.addWidget(self.steps, 1)
        column.addWidget(self.unsaved)
        column.addWidget(self.jobs)
        self.setMinimumWidth(WIDTH)
        self.setAcceptDrops(True)
        self._connect()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Offer to take slides and outlines."""
        if event is not None and _files(event.mimeData()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Open or import what is dropped; napari takes those dropped beside the dock."""
        if event is not None:
            for path in _files(event.mimeData()):
                self._take(path)
            event.acceptProposedAction()

    def _take(self, path: Path) -> None:
        if is_geojson(path):
            self.place.importing.open(path)
        elif is_features(path):
            self.slide.stored.take_file(path)
        else:
            self.place.open(path)

    def _connect(self) -> None:
        place = self.place
        self.slide.open_requested.connect(place.open)
        self.slide.sample_requested.connect(place.open_sample)
        self.slide.project_requested.connect(place.open_project)
        self.slide.mpp_entered.connect(place.set_mpp)
        self.embed.slides.open_requested.connect(place.open)
        self.explore.lasso_requested.connect(place.picker.start_lasso)
        self.explore.jump.connect(place.jump_to_tile)
        place.edit_window.history.changed.connect(self.steps.update_titles)


def _files(dropped: QMimeData | None) -> list[Path]:
    urls = dropped.urls() if dropped is not None else []
    places = [slide_path(url.toString(QUrl.UrlFormattingOption.PreferLocalFile)) for url in urls]
    return [each for each in places if isinstance(each, RemotePath) or each.is_absolute()]


class PathFMMap(MapDock):
    """The map of a viewer's embeddings."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(workspace(napari_viewer).session, parent)
