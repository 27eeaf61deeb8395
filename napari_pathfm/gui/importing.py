"""Objects of files and of Shapes layers come into the annotation layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari import Viewer
from napari.layers import Shapes
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QMessageBox

from ..analysis.draw_labels import Meaning
from ..analysis.draw_outlines import draw_table
from ..analysis.drawing import Drawing
from ..analysis.import_objects import ImportReport, import_job, read_objects
from ..core.jobs import Job
from ..io.interop import geojson_reader
from ..io.interop.label_image import is_image
from ..io.masks import AnnotationLayer
from ..io.project import Project
from ..session import Session
from . import notify
from .active import ActiveClass
from .history import History
from .runner import Runner
from .shape_outlines import shape_outlines

FILES = (
    "Objects (*.geojson *.json *.gz *.zip *.tif *.tiff *.png *.npy);;"
    "Outlines: GeoJSON (*.geojson *.json *.gz *.zip);;"
    "Label images (*.tif *.tiff *.png *.npy);;"
    "All files (*)"
)


def is_geojson(path: Path) -> bool:
    """Tell by its name whether a file that is dropped holds outlines."""
    return path.name.lower().endswith(geojson_reader.DROPPED)


class Importing(QObject):
    """Reads in a worker, then draws and writes after all strokes that came before.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    runner : Runner
    history : History
        Takes the edit.
    active : ActiveClass
        Class of objects that are made of shapes.
    """

    finished = Signal(object)
    """An import is in the layer (:class:`~napari_pathfm.analysis.import_objects.ImportReport`)."""

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        runner: Runner,
        history: History,
        active: ActiveClass,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._runner = viewer, session, runner
        self._history, self._active = history, active

    def choose(self) -> None:
        """Let the user choose a file."""
        if self._ready():
            window = self._viewer.window._qt_window
            path, _ = QFileDialog.getOpenFileName(window, "Import objects", "", FILES)
            if path:
                self.open(Path(path))

    def choose_folder(self) -> None:
        """Let the user choose OME-Zarr labels, which are a folder."""
        if self._ready():
            window = self._viewer.window._qt_window
            folder = QFileDialog.getExistingDirectory(window, "Import OME-Zarr labels (a folder)")
            if folder:
                self.open(Path(folder))

    def open(self, path: Path, meaning: Meaning | None = None) -> None:
        """Import a file; asks what the values of an image mean unless that is said."""
        slide, layer = self._session.slide, self._session.annotations
        if not self._ready() or slide is None or layer is None:
            return
        if meaning is None:
            meaning = self._ask_meaning(path) if _holds_values(path) else "objects"
        if meaning is None:
            return
        job = read_objects(path, slide.levels, meaning)
        draw = partial(self._draw, layer, path.name)
        self._runner.start(job, f"Importing {path.name}", draw, slot=f"import {path}")

    def take_shapes(self, layer: Shapes | None = None) -> None:
        """Make objects of the active class of all shapes of a layer, the active one if absent."""
        slide, store = self._session.slide, self._session.annotations
        chosen = layer or self._viewer.layers.selection.active
        if not isinstance(chosen, Shapes):
            notify.tell("Choose a layer of shapes in the list of layers first.")
            return
        if not self._ready() or slide is None or store is None:
            return
        row = self._active.row
        table, left_out = shape_outlines(chosen, slide, -1 if row is None else 0)
        classes = [] if row is None else [(row.name, row.color)]
        drawing = draw_table(table, classes, store.shape)
        drawing.objects.left_out += left_out
        if not len(drawing.objects):
            reasons = "; ".join(f"{n:,} {why}" for why, n in drawing.objects.left_out.items())
            notify.tell(f"“{chosen.name}” has no shape that makes an object. {reasons}".strip())
            return
        self._draw(store, chosen.name, drawing)
        chosen.visible = False  # the objects lie where it is

    def _ready(self) -> bool:
        project = self._session.project
        if self._session.slide is None:
            notify.tell("Open the slide first that the objects belong to; then import them.")
        elif self._session.annotations is None or project is None:
            notify.tell("Choose a project folder first: imported objects are kept in a project.")
        elif project.read_only:
            notify.tell(
                "This project is read only: to import objects, choose another folder in step 1."
            )
        else:
            return True
        return False

    def _ask_meaning(self, path: Path) -> Meaning | None:
        box = QMessageBox(self._viewer.window._qt_window)
        box.setWindowTitle("Import objects")
        box.setText(f"What do the values of {path.name} mean?")
        box.setInformativeText(
            "An object each, as of nuclei that are numbered; or a class each, as of a map of "
            "tissue: then what hangs together is an object. 0 is nothing."
        )
        role = QMessageBox.ButtonRole.AcceptRole
        answers: dict[object, Meaning] = {
            box.addButton("Objects", role): "objects",
            box.addButton("Classes", role): "classes",
        }
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.exec()
        return answers.get(box.clickedButton())

    def _draw(self, layer: AnnotationLayer, source: str, drawing: Drawing) -> None:
        project = self._session.project
        if project is None or layer is not self._session.annotations:
            drawing.close()
            notify.warn(f"{source} was not imported: another slide or layer is open by now.")
            return
        reports: list[ImportReport] = []
        write = partial(_write, drawing, project, source, reports)
        self._history.work(f"Import {source}", write, lambda: self._tell(reports))

    def _tell(self, reports: list[ImportReport]) -> None:
        for report in reports:
            notify.tell(report.summary())
            self.finished.emit(report)


def _holds_values(path: Path) -> bool:
    try:
        return is_image(path)
    except ValueError:
        return False  # the job says what is wrong with it


def _write(
    drawing: Drawing,
    project: Project,
    source: str,
    reports: list[ImportReport],
    layer: AnnotationLayer,
) -> Job[None]:
    reports.append((yield from import_job(layer, drawing, project.class_book, source)))
