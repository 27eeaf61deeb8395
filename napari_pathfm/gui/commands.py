"""What the entries of napari's layer menus do."""

from __future__ import annotations

from typing import TypeVar

from napari import Viewer
from qtpy.QtWidgets import QDockWidget, QWidget

from .dock import PathFMDock, PathFMMap
from .workspace import workspace

MENU_NAME = "{} (PathFM)"
"""napari's plugin menu knows a dock by this name, and ticks it there."""

TALL = 900
"""A window less high than this has no room for the map below the steps."""

W = TypeVar("W", bound=QWidget)


def open_dock(viewer: Viewer) -> PathFMDock:
    """Open the dock with the steps, or bring it to the front; the slide that is there is ready."""
    workspace(viewer).enter()
    return _open(viewer, PathFMDock, "PathFM")


def open_map(viewer: Viewer) -> PathFMMap:
    """Open the map of the embeddings, or bring it to the front."""
    tall = viewer.window.geometry()[3] >= TALL
    return _open(viewer, PathFMMap, "PathFM map", "right" if tall else "bottom")


def segment_here(viewer: Viewer) -> None:
    """Open the Segment step."""
    dock = open_dock(viewer)
    dock.steps.ask_for(dock.segment)


def annotate(viewer: Viewer) -> None:
    """Open the Segment step with the brush in hand."""
    segment_here(viewer)
    workspace(viewer).edit_window.paint()


def show_map(viewer: Viewer) -> None:
    """Open the map of the embeddings."""
    open_map(viewer)


def export_training_data(viewer: Viewer) -> None:
    """Open the Export step."""
    dock = open_dock(viewer)
    dock.steps.ask_for(dock.export)


def _open(viewer: Viewer, kind: type[W], title: str, area: str = "right") -> W:
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
