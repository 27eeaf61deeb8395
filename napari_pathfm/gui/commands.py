"""What the entries of napari's layer menus do."""

from __future__ import annotations

from typing import cast

from napari import Viewer

from .dock import PathFMDock

PLUGIN = "napari-pathfm"


def open_dock(viewer: Viewer) -> PathFMDock:
    """Open the dock with the steps, or bring it to the front."""
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "PathFM")
    return cast(PathFMDock, widget)


def segment_here(viewer: Viewer) -> None:
    """Open the Segment step."""
    dock = open_dock(viewer)
    dock.steps.open(dock.segment)


def annotate(viewer: Viewer) -> None:
    """Open the Segment step with the brush in hand."""
    segment_here(viewer)


def show_map(viewer: Viewer) -> None:
    """Open the map of the embeddings."""
    viewer.window.add_plugin_dock_widget(PLUGIN, "PathFM map")


def export_training_data(viewer: Viewer) -> None:
    """Open the Export step."""
    dock = open_dock(viewer)
    dock.steps.open(dock.export)
