"""The dock widgets that napari's plugin menu opens."""

from __future__ import annotations

from napari import Viewer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from .annotate import EditWindow
from .embed_panel import EmbedPanel
from .explore_panel import ExplorePanel
from .export_panel import ExportPanel
from .job_bar import JobBar
from .map_dock import MapDock
from .prompting import Prompting
from .segment_panel import SegmentPanel
from .slide_panel import SlidePanel
from .steps import Steps
from .workspace import Workspace, workspace


class PathFMDock(QWidget):
    """The steps in the order in which they are done, and what is running below them."""

    def __init__(self, place: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        session, runner = place.session, place.runner
        self.place = place
        self.edit_window = EditWindow(place.viewer, session, self)
        self.prompting = Prompting(place.viewer, session, runner, self)
        self.slide = SlidePanel(session, runner)
        self.embed = EmbedPanel(session, runner)
        self.explore = ExplorePanel(session, runner)
        self.segment = SegmentPanel(session, runner, self.prompting, self.edit_window)
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
        self.jobs = JobBar(runner)
        column = QVBoxLayout(self)
        column.addWidget(self.steps, 1)
        column.addWidget(self.jobs)
        self._connect()

    def _connect(self) -> None:
        place = self.place
        self.slide.open_requested.connect(place.open)
        self.slide.sample_requested.connect(place.open_sample)
        self.slide.project_requested.connect(place.open_project)
        self.slide.mpp_entered.connect(place.set_mpp)
        self.explore.lasso_requested.connect(place.picker.start_lasso)
        self.explore.jump.connect(place.jump_to_tile)


def pathfm_dock(viewer: Viewer) -> PathFMDock:
    """Make the dock with the steps for a viewer."""
    return PathFMDock(workspace(viewer))


def map_dock(viewer: Viewer) -> MapDock:
    """Make the dock with the map of a viewer's embeddings."""
    return MapDock(workspace(viewer).session)
