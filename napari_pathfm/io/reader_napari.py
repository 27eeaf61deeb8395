"""napari's reader of slides: a pyramid that is never loaded as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..core.slide import SlideError

if TYPE_CHECKING:
    from .reader import SlideReader

LayerData: TypeAlias = tuple[Any, dict[str, Any], str]
"""What napari makes a layer of: data, keyword arguments, kind of layer."""

Paths: TypeAlias = str | Sequence[str]

_TIFF = (".tif", ".tiff")

LARGE = 8192
"""Pixels of a side from which an image in strips is a slide: others would load it as a whole."""


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Offer to read slides.

    Parameters
    ----------
    path : str or sequence of str
        One file or several.

    Returns
    -------
    callable or None
        Reads the files; ``None`` if one of them is a TIFF but no slide (not RGB, or small and in
        one piece) or a folder but no OME-Zarr in RGB, so that napari asks another reader.
    """
    return read_slides if all(_may_be_slide(Path(each)) for each in _each(path)) else None


def read_slides(path: Paths) -> list[LayerData]:
    """Open slides as napari layers.

    Raises
    ------
    SlideError
        A file cannot be opened; the message says what to do about it.
    """
    from .reader import open_slide

    return [slide_layer(open_slide(each)) for each in _each(path)]


def slide_layer(slide: SlideReader) -> LayerData:
    """Return an open slide as a multiscale image layer, in micrometres where the slide has mpp.

    The slide and the loader that fills its segments in are in ``metadata["pathfm"]``.
    """
    from .live import live_levels

    levels, loader = live_levels(slide)
    unit, size = ("um", slide.mpp) if slide.mpp else ("pixel", 1.0)
    facts: dict[str, Any] = {
        "name": slide.name,
        "multiscale": True,
        "rgb": True,
        "scale": (size, size),
        "units": (unit, unit),
        "metadata": {"pathfm": {"slide": slide, "loader": loader}},
    }
    return levels, facts, "image"


def _each(path: Paths) -> list[str]:
    return [path] if isinstance(path, str) else list(path)


def _may_be_slide(path: Path) -> bool:
    if path.is_dir():
        return is_slide_zarr(path)
    return path.suffix.lower() not in _TIFF or not path.is_file() or is_slide_tiff(path)


def is_slide_tiff(path: Path) -> bool:
    """Tell slides from other TIFFs: 8-bit RGB, and cut into tiles, with a pyramid, or large.

    A file that is too broken to tell counts as a slide: opening it says what is wrong with it.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            page = series.keyframe
            is_rgb = page.samplesperpixel == 3 and page.bitspersample == 8
            cut = page.is_tiled or len(series.levels) > 1 or max(series.shape) >= LARGE
            return is_rgb and len(series.shape) == 3 and cut
    except (tifffile.TiffFileError, IndexError, ValueError):
        return True
    except OSError as error:
        raise SlideError(f"{path} cannot be read: {error.strerror}. Check its rights.") from error


def is_slide_zarr(path: Path) -> bool:
    """Tell OME-Zarr images of three 8-bit channels from other folders."""
    from .backends.ome_zarr import OmeZarrBackend

    try:
        OmeZarrBackend(path).close()
    except SlideError:
        return False
    return True
