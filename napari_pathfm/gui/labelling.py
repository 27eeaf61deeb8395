"""Give tiles classes, in the session and in the project."""

from __future__ import annotations

from collections.abc import Mapping

from ..io.project import ProjectError
from ..session import Session
from . import notify


def label_tiles(session: Session, labels: Mapping[int, int]) -> bool:
    """Label tiles of the session's grid in one step; the user is told where that is not kept.

    Parameters
    ----------
    session : Session
    labels : mapping
        Class id by number of the tile; 0 takes a label away.

    Returns
    -------
    bool
        Whether they are labelled now.
    """
    grid = session.grid
    if grid is None or session.labels is None:
        return False
    changed = session.labels.copy()
    changed[list(labels)] = list(labels.values())
    if session.project is None or session.project.read_only:
        notify.warn("These labels are not kept: no project is open for writing.")
    else:
        try:
            session.project.set_labels(grid.slide_id, grid.hash, labels)
        except ProjectError as error:
            notify.fail("Labelling tiles", error)
            return False
    session.labels = changed
    return True
