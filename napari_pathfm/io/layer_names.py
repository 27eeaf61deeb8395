"""Which annotation layers a slide has, and how they are called."""

from __future__ import annotations

from pathlib import Path

from .errors import ProjectError, explained
from .journal import Journal
from .project import Project
from .waiting import WaitingStrokes

_TABLES = ("edits", "object_pages", "waiting_strokes")
"""With a column for the layer that their rows belong to."""


def layer_names(project: Project, slide_id: str) -> list[str]:
    """Return the names of a slide's annotation layers, oldest first."""
    rows = project.database.rows(
        "SELECT name FROM layers WHERE slide_id = ? ORDER BY rowid", (slide_id,)
    )
    return [name for (name,) in rows]


def unfinished(project: Project, slide_id: str, name: str) -> bool:
    """Whether opening a layer finishes first what a kill has interrupted, which may take long."""
    pending = Journal(project.database, slide_id, name).pending()
    return bool(pending) or WaitingStrokes(project.database, slide_id, name).any()


def register(project: Project, slide_id: str, name: str, shape: tuple[int, int]) -> None:
    """Note a new layer in the project, or compare the shape of an old one.

    Raises
    ------
    ProjectError
        The layer has another shape, or it is new and cannot be written.
    """
    journal = Journal(project.database, slide_id, name)
    found = journal.shape()
    if found is None and not project.read_only:
        with explained("The annotation layer could not be made"):
            _set_aside(masks_folder(project, slide_id, name))
        found = journal.register(shape)
    if found is None:
        raise ProjectError(
            f"The annotation layer {name!r} does not exist yet, and the project is open for "
            "reading only: open it for writing first."
        )
    if found != shape:
        raise ProjectError(
            f"The annotation layer {name!r} has {found[0]} x {found[1]} pixels and the slide "
            f"{shape[0]} x {shape[1]}: it belongs to another slide; take another name."
        )


def rename(project: Project, slide_id: str, old: str, new: str) -> None:
    """Give a layer another name in the project; its folder keeps the old one until it is moved.

    A layer without its folder is drawn anew from the journal, so a kill between both loses
    nothing.

    Raises
    ------
    ProjectError
        The name cannot be used or is taken, or the project cannot be written.
    """
    check_name(new)
    if new in layer_names(project, slide_id):
        raise ProjectError(f"There is an annotation layer {new!r} already: take another name.")
    own, folder = (masks_folder(project, slide_id, name) for name in (old, new))
    with explained("The layer could not be renamed"):
        # Where letters of both cases are one, it may be the layer's own.
        if not (own.exists() and folder.exists() and folder.samefile(own)):
            _set_aside(folder)
    with project.database.transaction("The layer could not be renamed") as database:
        key = (new, slide_id, old)
        database.execute("UPDATE layers SET name = ? WHERE slide_id = ? AND name = ?", key)
        database.execute("UPDATE slides SET layer = ? WHERE id = ? AND layer = ?", key)
        for table in _TABLES:
            database.execute(f"UPDATE {table} SET layer = ? WHERE slide_id = ? AND layer = ?", key)


def masks_folder(project: Project, slide_id: str, name: str) -> Path:
    """Folder of a layer's pyramid."""
    return project.slide_store(slide_id) / "masks" / name


def staging_folder(project: Project, slide_id: str, name: str) -> Path:
    """Folder on the same disk for files that are not yet in place."""
    return project.slide_store(slide_id).with_suffix(".staging") / name


def _set_aside(folder: Path) -> None:
    """Take a folder out of the way that belongs to no layer (a kill while one was renamed)."""
    for number in range(1, 1000) if folder.exists() else ():
        aside = folder.with_name(f"{folder.name}.left-over-{number}")
        if not aside.exists():
            folder.rename(aside)
            return


def check_name(name: str, what: str = "an annotation layer") -> None:
    """Refuse the name of a layer, or of what else is a folder, that cannot be one.

    Raises
    ------
    ProjectError
        With what is allowed.
    """
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|') or not name.isprintable():
        raise ProjectError(
            f"{name!r} cannot be the name of {what}: take letters, digits, spaces and dashes."
        )
