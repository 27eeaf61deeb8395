"""Docks of ours in napari's window: each once, found again by its kind."""

from __future__ import annotations

from typing import TypeVar

from napari import Viewer
from qtpy.QtWidgets import QDockWidget, QWidget

MENU_NAME = "{} (PathFM)"
"""napari's plugin menu knows a dock by this name, and ticks it there."""

W = TypeVar("W", bound=QWidget)


def open_docked(viewer: Viewer, kind: type[W], title: str, area: str = "right") -> W:
    """Open a dock, or bring it to the front.

    Parameters
    ----------
    viewer : Viewer
    kind : type
        The widget, made of the viewer alone.
    title : str
        As in the manifest.
    area : str
        "left", "right" or "bottom".
    """
    for widget in viewer.window.dock_widgets.values():
        if isinstance(widget, kind):
            dock = widget.parent()
            if isinstance(dock, QDockWidget):
                dock.show()
                dock.raise_()
            return widget
    made = kind(viewer)
    viewer.window.add_dock_widget(made, name=MENU_NAME.format(title), area=area)
    return made
