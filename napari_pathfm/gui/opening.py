"""What napari calls to open a slide or a sample: the same as without a window, and kept sharp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.slide import SlideError
from ..io import reader_napari, samples
from ..io.reader_napari import LayerData, Paths
from . import notify

NO_LAYER = (None,)
"""Tells napari that a file was dealt with and there is nothing to show."""


def get_reader(path: Paths) -> Callable[[Paths], list[Any]] | None:
    """Offer to read slides; see :func:`napari_pathfm.io.reader_napari.get_reader`."""
    return None if reader_napari.get_reader(path) is None else read_slides


def read_slides(path: Paths) -> list[Any]:
    """Open slides as napari layers; what cannot be opened is said, and keeps no other one away."""
    layers: list[LayerData] = []
    for each in [path] if isinstance(path, str) else path:
        try:
            layers += reader_napari.read_slides(each)
        except SlideError as error:
            notify.fail(f"Opening {Path(each).name}", error)
    return _sharp(layers) or [NO_LAYER]


def get_objects_reader(path: Paths) -> Callable[[Paths], list[Any]] | None:
    """Offer to import outlines that are dropped onto the window or opened from its menu."""
    from .importing import is_geojson

    paths = [path] if isinstance(path, str) else path
    return import_objects if all(is_geojson(Path(each)) for each in paths) else None


def import_objects(path: Paths) -> list[Any]:
    """Import outlines into the annotation layer of the slide that is open."""
    from napari import current_viewer

    from .workspace import workspace

    viewer = current_viewer()
    if viewer is None:
        raise ValueError("outlines belong to a slide: open it in a window, or use “pathfm import”")
    place = workspace(viewer)
    for each in [path] if isinstance(path, str) else path:
        place.importing.open(Path(each))
    return [NO_LAYER]


def cmu_small_region() -> list[LayerData]:
    """Layers of the CMU slide, for napari's sample menu."""
    return _sharp(samples.cmu_small_region())


def synthetic_slide() -> list[LayerData]:
    """Layers of the drawn slide, for napari's sample menu."""
    return _sharp(samples.synthetic_slide())


def _sharp(layers: list[LayerData]) -> list[LayerData]:
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is not None:
        from .sharpen import keep_sharp

        keep_sharp(viewer)
    return layers
