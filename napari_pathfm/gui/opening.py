"""What napari calls to open a slide or a sample: the same as without a window, and kept sharp."""

from __future__ import annotations

from collections.abc import Callable

from ..io import reader_napari, samples
from ..io.reader_napari import LayerData, Paths


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Offer to read slides; see :func:`napari_pathfm.io.reader_napari.get_reader`."""
    return None if reader_napari.get_reader(path) is None else read_slides


def read_slides(path: Paths) -> list[LayerData]:
    """Open slides as napari layers."""
    return _sharp(reader_napari.read_slides(path))


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
