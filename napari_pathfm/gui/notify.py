"""Messages to the user, in napari's own notifications."""

from __future__ import annotations

import logging

from napari.utils import notifications

from ..core.registry import RegistryError
from ..core.slide import SlideError
from ..io.project import ProjectError
from ..models.base import ModelError
from ..models.device import no_memory

log = logging.getLogger("napari_pathfm")

EXPECTED = (SlideError, ModelError, ProjectError, RegistryError, ValueError, OSError)
"""Errors whose message already says what to do."""


def tell(text: str) -> None:
    """Tell the user something that went well."""
    notifications.show_info(text)


def warn(text: str) -> None:
    """Tell the user something to think about."""
    notifications.show_warning(text)


def fail(what: str, error: BaseException) -> None:
    """Tell the user that something did not work, and what to do next.

    Parameters
    ----------
    what : str
        What was being done ("Embedding").
    error : BaseException
        Errors of the kinds in :data:`EXPECTED` speak for themselves; anything else is a bug of
        ours, whose traceback goes to the log.
    """
    words = no_memory(error) or (str(error) if isinstance(error, EXPECTED) else "")
    if words:
        notifications.show_error(f"{what}: {words}")
        return
    log.error("%s failed", what, exc_info=error)
    notifications.show_error(
        f"{what} failed unexpectedly ({type(error).__name__}: {error}). Nothing that was saved is "
        "lost. The details are in the terminal; please report them."
    )
