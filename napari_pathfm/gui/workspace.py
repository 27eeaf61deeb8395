"""What belongs to one viewer: session, runner, and everything that connects them to its layers."""

from __future__ import annotations

import sys
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from napari import Viewer
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication

from ..core import inference
from ..core.edits import AnnotationClass
from ..core.jobs import Job, Progress
from ..core.memory import hand_back_at_once
from ..core.slide import Slide
from ..io.project import Project, ProjectError, default_project
from ..io.reader import SlideReader, open_slide
from ..io.reader_napari import LayerData, slide_layer
from ..io.samples import Sample, sample_slide_job
from ..session import Session
from . import notify
from .annotate import EditWindow
from .annotation_layers import AnnotationLayers
from .beside import Beside
from .camera import CameraWatch
from .colour_profile import ColourProfile
from .embedding import Embedding
from .importing import Importing
from .layer_context import offer_in_layer_list
from .layers import SlideLayers
from .magnification import Magnification
from .measure import Measuring
from .more import More
from .overlays import Overlays
from .picking import Picker
from .polygon import PolygonEdit
from .prompting import Prompting
from .reopening import Reopening
from .runner import Runner
from .sharpen import keep_sharp
from .side_by_side import SideBySide
from .stain_layers import StainLayers
from .view_first import ViewFirst
from .warm_up import make_units, warm_up

SWITCH_SECONDS = 0.001
"""How long the window's thread waits at most for a worker to hand over Python's lock."""

SHOWN_MS = 50
"""A slide is given so long to appear before its masks are opened."""

HOLD_SECONDS = 0.12
"""After a movement of the view the processor belongs to the window for so long."""

UNIT_SECONDS = 0.04
"""What a unit of inference takes on a CPU while a window is open: a click waits for one unit."""

FIRST_CLASSES = (
    AnnotationClass(1, "tumor", "#d55e00"),
    AnnotationClass(2, "stroma", "#0072b2"),
    AnnotationClass(3, "other", "#009e73"),
)
"""Classes of a new project, to begin with (Okabe-Ito colours)."""


def open_job(path: Path) -> Job[LayerData]:
    """Open a slide and decode its coarsest levels."""
    yield Progress(0, 0, f"Opening {path.name}")
    return slide_layer(open_slide(path))


def _open_or_read(folder: Path) -> Project:
    """Open a project, for reading only where it cannot be written."""
    try:
        return Project.open(folder)
    except ProjectError as error:
        try:
            project = Project.open(folder, read_only=True)
        except ProjectError:
            raise error from None
        notify.warn(f"What you change is not kept: {folder.name} is read only. {error}")
        return project


def _hold_inference() -> None:
    inference.queue("cpu").hold(HOLD_SECONDS)


class Workspace(QObject):
    """Composition root of a window.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.session = Session()
        self.runner = Runner(self)
        inference.queue("cpu").unit_seconds = UNIT_SECONDS
        sys.setswitchinterval(SWITCH_SECONDS)
        hand_back_at_once()
        for event in (viewer.scene.camera.events.center, viewer.scene.camera.events.zoom):
            event.connect(_hold_inference)
        self.session.events.slide.connect(self._on_slide)
        self.session.events.grid.connect(self._on_grid)
        self.session.events.classes.connect(self._on_classes)
        self.sharpener = keep_sharp(viewer)
        self.watch = CameraWatch(viewer, self)
        self.measuring = Measuring(viewer, self.session, self.watch, self)
        self.magnification = Magnification(viewer, self.session, self)
        self.view_first = ViewFirst(viewer, self.session, self.watch, self)
        self.embedding = Embedding(self.session, self.runner, self.view_first.order, self)
        self.overlays = Overlays(viewer, self.session, self)
        self.layers = SlideLayers(viewer, self.session, self)
        self.side_by_side = SideBySide(viewer, self.session, self.layers, self)
        self.colours = ColourProfile(viewer, self.session, self.layers, self)
        self.stains = StainLayers(viewer, self.session, self.layers, self)
        self.picker = Picker(viewer, self.session, self.layers, self)
        self.edit_window = EditWindow(viewer, self.session, self.runner, self)
        self.edit_window.class_changes.merged.connect(self._on_grid)
        self.beside = Beside(viewer, self.session, self)
        self.masks = AnnotationLayers(self.session, self.runner, self.beside, self)
        self.reopening = Reopening(self.session, self.runner, self._use, self._enter_quietly, self)
        self.prompting = Prompting(viewer, self.session, self.runner, self.edit_window, self)
        self.more = More(viewer, self.session, self.runner, self.edit_window, self.prompting, self)
        history, active = self.edit_window.history, self.edit_window.active
        self.polygon = PolygonEdit(viewer, self.session, self.runner, history, self)
        self.importing = Importing(viewer, self.session, self.runner, history, active, self)
        offer_in_layer_list()
        make_units()
        self.runner.start(warm_up(), "Getting ready", lambda _: None, slot="warm-up")
        app = QApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close)
        # One window of several may be closed in a running program; napari has no event for it.
        viewer.window._qt_window.destroyed.connect(self.close)

    def open(self, path: Path) -> None:
        """Open a slide in a worker and show it."""
        slot = f"open {path}"  # several may be dropped at once
        self.runner.start(open_job(path), f"Opening {path.name}", self._show, slot=slot)

    def open_sample(self) -> None:
        """Fetch the sample slide unless it is there, and open it."""

        def opened(sample: Sample) -> None:
            self.open(sample.path)

        self.runner.start(sample_slide_job(), "Fetching the sample slide", opened, slot="open")

    def open_project(self, folder: Path) -> None:
        """Keep everything in another project from now on."""
        now = self.session.project
        if now is not None and not now.read_only and now.folder.resolve() == folder.resolve():
            return
        if self.edit_window.history.unsaved:
            notify.warn(
                "Some strokes are not saved yet: save them to another folder, or undo them."
            )
            return
        try:
            project = _open_or_read(folder)
        except ProjectError as error:
            notify.fail("Opening the project", error)
            return
        self._use(project)

    def set_mpp(self, mpp: float) -> None:
        """Keep the user's word on how large a pixel is, and start anew with it."""
        slide = self.session.slide
        if not isinstance(slide, SlideReader):
            return
        project = self.session.project
        if project is not None and not project.read_only:
            try:
                project.add_slide(slide)  # it may be on screen for a moment only
                project.set_mpp(slide.id, mpp)
            except (ProjectError, ValueError) as error:
                notify.fail("Pixel size", error)
                return
        self._replace(slide.with_mpp(mpp))

    def jump(self, y: float, x: float, side: float) -> None:
        """Move the view to a level-0 position so that `side` level-0 pixels fill a third of it."""
        slide = self.session.slide
        if slide is None:
            return
        scale = slide.mpp or 1.0
        self.viewer.scene.camera.center = (0.0, y * scale, x * scale)
        shorter = min(self.viewer.canvas.size)
        self.viewer.scene.camera.zoom = shorter / (3 * side * scale)

    def jump_to_tile(self, tile: int) -> None:
        """Move the view to a tile of the grid."""
        grid = self.session.grid
        if grid is not None:
            y, x = grid.centers[tile]
            self.jump(float(y), float(x), grid.side)

    def close(self) -> None:
        """Stop the jobs, leaving every store in order, and let go of the project."""
        self.edit_window.close()
        self.runner.shutdown()
        self.sharpener.close()
        if self.session.project is not None:
            self.session.project.close()
            self.session.project = None
        _workspaces.pop(self.viewer, None)

    def _show(self, data: LayerData) -> None:
        ours = data[1]["metadata"]["pathfm"]
        slide: SlideReader = ours["slide"]
        if self.layers.layer(slide) is not None:
            notify.tell(f"{slide.name} is open already")
            ours["loader"].close()
            slide.close()
            return
        self.layers.add(data)

    def _on_slide(self, slide: Slide | None) -> None:
        # The slide is on screen before its project is opened and its layers are made.
        if slide is not None:
            QTimer.singleShot(SHOWN_MS, self.enter)

    def enter(self) -> None:
        """Open the project and the masks of the slide, unless that is done."""
        slide = self.session.slide
        if slide is None or self.session.annotations is not None:
            return
        if self.session.project is None:
            self._use(self._default_project(slide.path))
        else:
            self._enter_slide(slide)

    def _default_project(self, path: Path) -> Project | None:
        folder = default_project(path)
        try:
            return _open_or_read(folder)
        except ProjectError as error:
            notify.warn(f"Nothing is kept until you choose another project folder. {error}")
            return None

    def _use(self, project: Project | None) -> None:
        session = self.session
        old, session.project = session.project, project
        if old is not None:
            session.annotations = None
            old.close()
        kept = project.classes() if project is not None else ()
        session.classes = kept or session.classes or FIRST_CLASSES
        if not kept:
            self._on_classes()  # the same ones fire no event
        if session.slide is not None and project is not None:
            self._enter_slide(session.slide)
            if not kept and (old is None or old.read_only):
                self._keep_labels(project)
            self._on_grid()
        if session.slide is not None:
            self.reopening.watch()

    def _keep_labels(self, project: Project) -> None:
        # What was labelled before there was a project to keep it goes into a new one.
        grid, labels = self.session.grid, self.session.labels
        if grid is None or labels is None or not labels.any() or project.read_only:
            return
        given = {int(tile): int(labels[tile]) for tile in np.flatnonzero(labels)}
        try:
            project.set_labels(grid.slide_id, grid.hash, given)
        except ProjectError as error:
            notify.fail("Keeping the labels", error)

    def _enter_slide(self, slide: Slide) -> None:
        project = self.session.project
        if project is None:
            return
        try:
            self._open_masks(project, slide)
        except ProjectError as error:
            notify.fail("Opening the annotations", error)
            self.reopening.watch()

    def _open_masks(self, project: Project, slide: Slide) -> None:
        if not project.read_only:
            project.add_slide(slide)
        known = project.mpp(slide.id)
        if known not in (None, slide.mpp) and isinstance(slide, SlideReader):
            self._replace(slide.with_mpp(known))
            return
        self.masks.enter(project, slide)

    def _enter_quietly(self) -> bool:
        """Try once more what failed before; whether it worked."""
        slide, project = self.session.slide, self.session.project
        if slide is None or project is None:
            return False
        try:
            self._open_masks(project, slide)
        except ProjectError:
            return False
        return True

    def _replace(self, slide: SlideReader) -> None:
        session = self.session
        session.slides = tuple(slide if s.id == slide.id else s for s in session.slides)
        self.layers.replace_slide(slide)
        session.show_slide(slide)

    def _on_grid(self) -> None:
        grid, project = self.session.grid, self.session.project
        if grid is None or project is None:
            return
        kept = project.labels(grid.slide_id, grid.hash)
        labels = np.zeros(len(grid), np.uint8)
        labels[list(kept)] = list(kept.values())
        self.session.labels = labels

    def _on_classes(self) -> None:
        project = self.session.project
        if project is None or project.read_only:
            return
        if self.session.classes == project.class_book.now.rows:
            return
        try:
            project.set_classes(self.session.classes)
        except ProjectError as error:
            notify.fail("Changing the classes", error)


_workspaces: WeakKeyDictionary[Viewer, Workspace] = WeakKeyDictionary()


def workspace(viewer: Viewer) -> Workspace:
    """Return the workspace of a viewer, made at the first call.

    Plugins get a proxy of the viewer that wraps all its parts anew at each access; the workspace
    lives as long as the viewer itself and belongs to that.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _workspaces:
        _workspaces[viewer] = Workspace(viewer)
    return _workspaces[viewer]
