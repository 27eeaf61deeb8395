"""Labels of OME-Zarr (0.4 on zarr 2, 0.5 on zarr 3), as our own annotation layers are, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .label_image import LabelFacts, Values, check_values, readable

CLASS_KEYS = ("class", "classification", "class_name")
NAME_KEYS = ("name", "label", *CLASS_KEYS)
"""What programs call these among the properties of a label, which the format leaves open."""


class LabelZarr:
    """The labels in an OME-Zarr folder: of an image that has one set of them, or that set itself.

    Parameters
    ----------
    path : Path
        The image, its ``labels``, or ``labels/<name>``.

    Raises
    ------
    ValueError
        There are none, several, or they have more than one plane.
    """

    def __init__(self, path: Path) -> None:
        import zarr

        self.name, self._path = path.name, path
        group = _labels(zarr.open_group(path, mode="r"))
        about = _about(group)
        image = about["multiscales"][0]
        self._axes = [axis["name"] if isinstance(axis, dict) else axis for axis in image["axes"]]
        self._arrays: list[Any] = [group[str(each["path"])] for each in image["datasets"]]
        self.shapes = tuple(self._shape(array) for array in self._arrays)
        self.facts = _facts(about.get("image-label") or {})

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Values:
        """See :meth:`LabelImage.read`."""
        if not self._arrays:
            raise ValueError(f"{self.name} is closed")
        wanted = {"y": slice(y, y + height), "x": slice(x, x + width)}
        with readable(self._path):
            part = self._arrays[level][tuple(wanted.get(axis, 0) for axis in self._axes)]
        flipped = self._axes.index("x") < self._axes.index("y")
        return np.asarray(part.T if flipped else part)

    def close(self) -> None:
        """See :meth:`LabelImage.close`."""
        self._arrays = []

    def _shape(self, array: Any) -> tuple[int, int]:
        sizes = dict(zip(self._axes, array.shape, strict=True))
        if any(sizes[axis] != 1 for axis in self._axes if axis not in "yx"):
            raise ValueError(f"it is {sizes}; save one plane of one channel")
        check_values(array.dtype)
        return int(sizes["y"]), int(sizes["x"])


def _about(group: Any) -> Mapping[str, Any]:
    attributes = dict(group.attrs)
    found: Mapping[str, Any] = attributes.get("ome", attributes)
    return found


def _labels(group: Any) -> Any:
    """Find the labels in or below a group."""
    about = _about(group)
    if "image-label" in about and about.get("multiscales"):
        return group
    if "labels" in about:
        names = [str(name) for name in about["labels"]]
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise ValueError(f"choose the folder of one set of labels in it (it has {listed})")
        return group[names[0]]
    if "labels" in group:
        return _labels(group["labels"])
    if about.get("multiscales"):
        return group  # a plain image of one channel will do
    raise ValueError("its attributes describe no labels; choose labels/<name> in it")


def _facts(label: Mapping[str, Any]) -> dict[int, LabelFacts]:
    colors = {each["label-value"]: _hex(each.get("rgba")) for each in label.get("colors") or ()}
    told = {each["label-value"]: each for each in label.get("properties") or ()}
    return {
        int(value): LabelFacts(
            _first(told.get(value, {}), NAME_KEYS),
            _first(told.get(value, {}), CLASS_KEYS),
            colors.get(value, ""),
        )
        for value in {**colors, **told}
    }


def _first(properties: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((str(properties[key]) for key in keys if properties.get(key)), "")


def _hex(rgba: Any) -> str:
    try:
        red, green, blue = (min(max(int(part), 0), 255) for part in rgba[:3])
    except (TypeError, ValueError):
        return ""
    return f"#{red:02x}{green:02x}{blue:02x}"
