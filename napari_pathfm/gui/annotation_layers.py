"""The annotation layers of the slide: which there are, which one is edited, which are shown."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..io.layer_names import layer_names, unfinished
from ..io.masks import AnnotationLayer
from ..io.project import Project
from ..session import Session
from .beside import Beside
from .runner import Runner

FIRST = "regions"
"""The layer of a slide that has none yet."""

SLOT = "annotation layer"


class AnnotationLayers(QObject):
    """Opens and chooses annotation layers; the one that is edited is ``session.annotations``.

    Parameters
    ----------
    session : Session
    runner : Runner
        Opens layers: a million objects take a second.
    beside : Beside
        Draws the others.
    """

    changed = Signal()
    """Which layers there are, which one is edited, or which are shown beside."""

    def __init__(
        self, session: Session, runner: Runner, beside: Beside, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._runner, self._beside = session, runner, beside
        self._wanted: tuple[str, ...] = ()
        self._entering: Slide | None = None
        self.names: tuple[str, ...] = ()
        beside.hidden.connect(self._on_hidden)
        session.events.annotations.connect(self._on_annotations)

    names: tuple[str, ...]
    """Names of the slide's layers, oldest first."""

    @property
    def active(self) -> str:
        """Name of the layer that is edited; empty for none."""
        layer = self._session.annotations
        return layer.name if layer is not None else ""

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the layers that are shown beside it."""
        return self._beside.names

    def enter(self, project: Project, slide: Slide) -> None:
        """Open the layer of a slide that was edited last.

        At once, but for one that a kill has left unfinished: that is finished in a job.

        Raises
        ------
        ProjectError
            It cannot be opened.
        """
        known = layer_names(project, slide.id)
        last = project.last_layer(slide.id)
        name = last if last in known else next(iter(known), FIRST)
        if not unfinished(project, slide.id, name):
            self._session.annotations = AnnotationLayer.open(
                project, slide.id, name, slide.levels[0].shape
            )
        elif slide is not self._entering or not self._runner.busy(SLOT):
            self._entering = slide
            self._open(project, slide, name)

    def choose(self, name: str) -> None:
        """Edit another layer of the slide; a new one is made if there is none of this name."""
        project, slide = self._session.project, self._session.slide
        if project is None or slide is None or name == self.active:
            return
        self._open(project, slide, name)

    def _open(self, project: Project, slide: Slide, name: str) -> None:
        def opened(layer: AnnotationLayer) -> None:
            if slide is self._session.slide and project is self._session.project:
                self._session.annotations = layer

        job = _open_job(project, slide, name)
        self._runner.start(job, f"Opening the layer {name}", opened, slot=SLOT)

    def rename(self, name: str) -> None:
        """Give the layer that is edited another name, once its strokes are written."""
        layer = self._session.annotations
        if layer is None or name == layer.name:
            return

        def renamed(_: None) -> None:
            if layer is self._session.annotations:
                self._on_annotations()

        job = _rename_job(layer, name)
        self._runner.start(job, f"Renaming {layer.name}", renamed, slot=SLOT)

    def show_beside(self, name: str, shown: bool) -> None:
        """Show another layer as outlines, or hide it."""
        others = tuple(other for other in self._wanted if other != name)
        self._wanted = (*others, name) if shown else others
        self._show()

    def _on_annotations(self) -> None:
        project, slide = self._session.project, self._session.slide
        if self._session.annotations is None or project is None or slide is None:
            self.names = ()
            self._beside.show(())
        else:
            self.names = tuple(layer_names(project, slide.id))
            self._show()
        self.changed.emit()

    def _show(self) -> None:
        project, slide = self._session.project, self._session.slide
        names = [name for name in self._wanted if name in self.names and name != self.active]
        if project is None or slide is None:
            return

        def opened(layers: list[AnnotationLayer]) -> None:
            if slide is self._session.slide and project is self._session.project:
                self._beside.show(layers)
                self.changed.emit()

        self._runner.start(
            _read_job(project, slide, names), "Showing layers", opened, slot="beside"
        )

    def _on_hidden(self, name: str) -> None:
        self._wanted = tuple(other for other in self._wanted if other != name)
        self.changed.emit()


def _open_job(project: Project, slide: Slide, name: str) -> Job[AnnotationLayer]:
    yield Progress(0, 0, f"Opening the layer {name}")
    layer = yield from AnnotationLayer.open_job(project, slide.id, name, slide.levels[0].shape)
    if not project.read_only:
        project.set_last_layer(slide.id, name)
    return layer


def _rename_job(layer: AnnotationLayer, name: str) -> Job[None]:
    yield Progress(0, 0, f"Renaming {layer.name}")
    layer.rename(name)


def _read_job(project: Project, slide: Slide, names: list[str]) -> Job[list[AnnotationLayer]]:
    layers = []
    for number, name in enumerate(names):
        yield Progress(number, len(names), f"Reading the layer {name}")
        layers.append(AnnotationLayer.open(project, slide.id, name, slide.levels[0].shape))
    return layers
