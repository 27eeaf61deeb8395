"""Opens a project or its annotations by itself when what was in the way is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, QTimer

from ..core.jobs import Job, Progress
from ..io.project import Project, default_project
from ..session import Session
from . import notify
from .runner import Runner

EVERY_MS = 5000
SLOT = "reopen"


class Reopening(QObject):
    """Tries every few seconds, as long as a slide is open and nothing can be written for it.

    Parameters
    ----------
    session : Session
    runner : Runner
        A disk that is in trouble may also be slow.
    use : callable
        Takes a project that can be written now.
    enter : callable
        Opens the annotations of the slide; whether that worked.
    """

    def __init__(
        self,
        session: Session,
        runner: Runner,
        use: Callable[[Project], None],
        enter: Callable[[], bool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._use, self._enter = use, enter
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MS)
        self._timer.timeout.connect(self.try_again)

    def watch(self) -> None:
        """Look whether something is in the way, and go on looking until it is not."""
        if self._folder() is not None or self._session.annotations is None:
            self._timer.start()
        else:
            self._timer.stop()

    def try_again(self) -> None:
        """Try now."""
        session, folder = self._session, self._folder()
        if session.slide is None or self._runner.busy(SLOT):
            return
        if folder is not None:
            job = _open_job(folder)
            self._runner.start(job, "Opening the project", self._opened, slot=SLOT, failed=_wait)
        elif session.annotations is not None or self._enter():
            self._timer.stop()

    def _folder(self) -> Path | None:
        """The project that cannot be written."""
        project, slide = self._session.project, self._session.slide
        if project is not None:
            return project.folder if project.read_only else None
        return default_project(slide.path) if slide is not None else None

    def _opened(self, project: Project) -> None:
        if self._folder() != project.folder:
            project.close()  # the user has chosen another one meanwhile
            return
        self._timer.stop()
        self._use(project)
        notify.tell(f"The project {project.folder.name} can be written again: changes are kept.")


def _open_job(folder: Path) -> Job[Project]:
    yield Progress(0, 0, f"Opening {folder.name}")
    return Project.open(folder)


def _wait(_: BaseException) -> None:
    """What is in the way was told when it was met; the next try is soon."""
