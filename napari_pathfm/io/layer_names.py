"""Which annotation layers a slide has, and how they are called."""

from __future__ import annotations

from .errors import ProjectError
from .journal import Journal
from .project import Project
from .waiting import WaitingStrokes


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
    found = journal.shape() if project.read_only else journal.register(shape)
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


def check_name(name: str) -> None:
    """Refuse a layer's name that cannot be a folder.

    Raises
    ------
    ProjectError
        With what is allowed.
    """
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|') or not name.isprintable():
        raise ProjectError(
            f"{name!r} cannot be the name of an annotation layer: take letters, digits, spaces "
            "and dashes."
        )
