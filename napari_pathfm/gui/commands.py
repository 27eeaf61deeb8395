"""What the entries of napari's layer menus do."""

from __future__ import annotations

from napari import Viewer

from .dock import PathFMDock, PathFMMap
from .docking import open_docked
from .navigator import open_navigator
from .properties import open_properties
from .workspace import workspace

TALL = 900
"""A window less high than this has no room for the map below the steps."""


def open_dock(viewer: Viewer) -> PathFMDock:
    """Open the dock with the steps, or bring it to the front; the slide that is there is ready."""
    workspace(viewer).enter()
    return open_docked(viewer, PathFMDock, "PathFM")


def open_map(viewer: Viewer) -> PathFMMap:
    """Open the map of the embeddings, or bring it to the front."""
    tall = viewer.window.geometry()[3] >= TALL
    return open_docked(viewer, PathFMMap, "PathFM map", "right" if tall else "bottom")


def show_navigator(viewer: Viewer) -> None:
    """Open the navigator."""
    open_navigator(viewer)


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


def import_objects(viewer: Viewer) -> None:
    """Choose outlines or a label image, and import them."""
    workspace(viewer).enter()
    workspace(viewer).importing.choose()


def shapes_to_objects(viewer: Viewer) -> None:
    """Make objects of the shapes of the chosen layer."""
    workspace(viewer).enter()
    workspace(viewer).importing.take_shapes()


def show_properties(viewer: Viewer) -> None:
    """Show what the file says of the slide."""
    open_properties(workspace(viewer))


def rule(viewer: Viewer) -> None:
    """Draw a line that says how long it is."""
    workspace(viewer).measuring.rule()


def mark(viewer: Viewer) -> None:
    """Set points on the slide."""
    workspace(viewer).measuring.mark()


def show_haematoxylin(viewer: Viewer) -> None:
    """Show haematoxylin alone, or no more."""
    workspace(viewer).stains.toggle("haematoxylin")


def show_eosin(viewer: Viewer) -> None:
    """Show eosin alone, or no more."""
    workspace(viewer).stains.toggle("eosin")
