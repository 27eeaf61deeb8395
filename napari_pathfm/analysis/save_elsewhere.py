"""Save a project with what could not be written to it in another folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.jobs import Job, Progress
from ..io.atomic import new_folder
from ..io.errors import explained
from ..io.masks import AnnotationLayer, HandStroke
from ..io.project import Project
from ..io.waiting import WaitingStrokes

LEFT_BEHIND = ("project.sqlite", "project.sqlite-wal", "project.sqlite-shm", "project.lock")
"""Files of a project that are copied in another way, or are nobody else's."""


@dataclass(frozen=True, eq=False)
class UnsavedStroke:
    """A stroke that could not be written.

    Attributes
    ----------
    slide_id : str
    layer : str
        Name of the annotation layer.
    shape : tuple of int
        ``(height, width)`` of the layer.
    stroke : HandStroke
    number : int
        Under which the project keeps it as waiting; 0 for none.
    """

    slide_id: str
    layer: str
    shape: tuple[int, int]
    stroke: HandStroke
    number: int


def save_elsewhere_job(
    project: Project, folder: Path, strokes: Sequence[UnsavedStroke]
) -> Job[None]:
    """Copy a project and draw strokes into the copy; the project itself is only read.

    The folder appears when all of it is there; closing the job leaves nothing behind. Nothing may
    be written to the project meanwhile.

    Parameters
    ----------
    project : Project
        May be open for reading only.
    folder : Path
        New or empty.
    strokes : sequence of UnsavedStroke
        In the order in which they were made.

    Raises
    ------
    ValueError
        There is something in the folder, or it lies inside the project.
    ProjectError
        There is no space for it, either, ...
    """
    folder = folder.expanduser().absolute()
    if folder.resolve().is_relative_to(project.folder.resolve()):
        raise ValueError(f"{folder} lies inside the project: choose a folder elsewhere")
    with explained(f"The project cannot be saved to {folder}"), new_folder(folder) as temporary:
        yield from _copy(project, temporary)
        with Project.open(temporary, author=project.author) as copy:
            yield from _draw(copy, strokes)


def _copy(project: Project, folder: Path) -> Job[None]:
    files = [path for path in project.folder.rglob("*") if _belongs(path, project.folder)]
    total = sum(path.stat().st_size for path in files) >> 10
    done = 0
    for path in files:
        yield Progress(done >> 10, total, f"Copying {project.folder.name}", "KiB")
        there = folder / path.relative_to(project.folder)
        there.parent.mkdir(parents=True, exist_ok=True)
        done += path.stat().st_size
        shutil.copyfile(path, there)
    project.database.copy_to(folder / "project.sqlite")


def _belongs(path: Path, folder: Path) -> bool:
    within = path.relative_to(folder)
    staging = any(part.endswith(".staging") for part in within.parts)
    return path.is_file() and not staging and str(within) not in LEFT_BEHIND


def _draw(copy: Project, strokes: Sequence[UnsavedStroke]) -> Job[None]:
    for each in strokes:
        # Those that are kept as waiting would be drawn when their layer is opened.
        if each.number:
            WaitingStrokes(copy.database, each.slide_id, each.layer).drop(each.number)
    for number, each in enumerate(strokes):
        yield Progress(number, len(strokes), "Drawing what was not saved", "strokes")
        layer = AnnotationLayer.open(copy, each.slide_id, each.layer, each.shape)
        yield from layer.stroke_job(each.stroke)
