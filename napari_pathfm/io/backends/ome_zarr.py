"""OME-Zarr pyramids (0.4 on zarr 2, 0.5 on zarr 3) of three 8-bit channels, a folder a slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.slide import RGB, SlideError
from .base import FILE_ERRORS, believable_mpp, make_levels, white

SUFFIX = ".zarr"
SEGMENT = 512
LARGEST_SIDE = 4096
"""Pixels of a chunk; each is decoded as a whole."""

MICROMETRES = {"micrometer": 1.0, "um": 1.0, "µm": 1.0, "nanometer": 1e-3, "millimeter": 1e3}
MICROMETRES |= {"centimeter": 1e4, "meter": 1e6, "angstrom": 1e-4}


class OmeZarrBackend:
    """An OME-Zarr image read by zarr.

    Parameters
    ----------
    path : Path
        The folder.

    Raises
    ------
    SlideError
        It is no OME-Zarr image, or not of one plane in colour; the message says why.
    """

    name = "ome-zarr"

    def __init__(self, path: Path) -> None:
        import zarr

        self._path = path
        if not path.is_dir():
            raise SlideError("it is no folder")
        try:
            group = zarr.open_group(path, mode="r")
            image, version = _image(dict(group.attrs))
            axes = [str(axis["name"]) for axis in image["axes"]]
            names = [str(each["path"]) for each in image["datasets"]]
            arrays: list[Any] = [group[name] for name in names]
            shapes = [_shape(axes, array) for array in arrays]
            tiles = [_tile(axes, array) for array in arrays]
            self.mpp = believable_mpp(*_pixel_size(image))
        except FILE_ERRORS as error:
            raise SlideError(f"zarr cannot read it ({error!r})") from error
        self._arrays: list[Any] | None = arrays
        self._axes = axes
        self.levels = make_levels(shapes, tiles)
        self.content = path / names[-1]  # the coarsest level: small, and tells slides apart
        self.properties = {"ome.version": version, "ome.axes": "".join(axes)}
        self.properties |= {"ome.name": str(image["name"])} if image.get("name") else {}
        self.icc_profile: bytes | None = None
        self.associated_images: tuple[str, ...] = ()

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """See :meth:`Backend.segment`."""
        if self._arrays is None:
            raise SlideError(f"{self._path.name} is closed")
        where = self.levels[level]
        (height, width), (rows, cols) = where.tile_shape, where.shape
        y, x = row * height, col * width
        wanted = {"y": slice(y, min(y + height, rows)), "x": slice(x, min(x + width, cols))}
        wanted["c"] = slice(None)
        try:
            part = self._arrays[level][tuple(wanted.get(axis, 0) for axis in self._axes)]
        except FILE_ERRORS as error:
            raise SlideError(f"the chunk is damaged ({error})") from error
        order = [axis for axis in self._axes if axis in wanted]
        part = np.transpose(part, [order.index(axis) for axis in "yxc"])
        segment = white(where)
        segment[: part.shape[0], : part.shape[1]] = part
        return segment

    def associated(self, name: str) -> RGB:
        """Raise ``KeyError``: there are none."""
        raise KeyError(name)

    def close(self) -> None:
        """See :meth:`Backend.close`."""
        self._arrays = None


def _image(attributes: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the first image that a group describes, and the version of the format."""
    about = attributes.get("ome", attributes)
    if not about.get("multiscales"):
        raise SlideError("its attributes describe no image (multiscales); choose the image in it")
    image = about["multiscales"][0]
    if not image["datasets"] or not all(isinstance(axis, Mapping) for axis in image["axes"]):
        raise SlideError("it is older than OME-Zarr 0.4; convert it")
    return image, str(about.get("version", image.get("version", "")))


def _shape(axes: Sequence[str], array: Any) -> tuple[int, int]:
    sizes = dict(zip(axes, array.shape, strict=True))
    others = [axis for axis in axes if axis not in "cyx"]
    if sizes.get("c") != 3 or any(sizes[axis] != 1 for axis in others) or array.dtype != np.uint8:
        raise SlideError(f"it is {array.dtype} of {sizes}, not one plane of three 8-bit channels")
    return sizes["y"], sizes["x"]


def _tile(axes: Sequence[str], array: Any) -> tuple[int, int]:
    sides = dict(zip(axes, array.chunks, strict=True))
    height, width = sides["y"], sides["x"]
    if max(height, width) > LARGEST_SIDE:
        raise SlideError(
            f"its chunks of {height} x {width} pixels are decoded as a whole; save it in smaller"
        )
    return _side(height), _side(width)


def _side(chunk: int) -> int:
    """Return the side of segments: whole chunks, several where those are small."""
    return chunk * max(1, SEGMENT // chunk)


def _pixel_size(image: Mapping[str, Any]) -> list[float | None]:
    """Return micrometres per pixel along y and x."""
    axes = image["axes"]
    transforms = [
        *image["datasets"][0].get("coordinateTransformations", ()),
        *image.get("coordinateTransformations", ()),
    ]
    scales = [each["scale"] for each in transforms if each["type"] == "scale"]
    sizes = []
    for name in "yx":
        index = next(n for n, axis in enumerate(axes) if axis["name"] == name)
        unit = MICROMETRES.get(str(axes[index].get("unit")))
        factor = float(np.prod([scale[index] for scale in scales]))
        sizes.append(factor * unit if unit and scales else None)
    return sizes
