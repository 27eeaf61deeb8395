"""Training data on disk: images, index masks, the dataset JSON and the manifest.

``dataset.json`` is the form that training programs read::

    {"num_classes": 3, "data": {"train": [{"image_path": ..., "mask_path": ...}], "val": [], ...}}

with paths relative to it. ``manifest.json`` tells where everything comes from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.slide import RGB

IGNORE = 255
"""Index in masks of what nobody annotated; losses and metrics leave it out."""

SPLITS = ("train", "val", "test")

Pair = tuple[str, str]
"""Paths of an image and of its mask, relative to the dataset's folder."""

_COMPRESSION = 3  # of PNG: half the time of the usual 6, files 5% larger


def write_pair(folder: Path, name: str, image: RGB, mask: NDArray[np.uint8]) -> Pair:
    """Write an image and its index mask as PNG.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    name : str
        Without a suffix.
    image : ndarray
        ``(h, w, 3)`` uint8.
    mask : ndarray
        ``(h, w)`` uint8: index of the class, :data:`IGNORE` where there is none.
    """
    return write_png(folder, f"images/{name}.png", image), write_png(
        folder, f"masks/{name}.png", mask
    )


def write_png(folder: Path, path: str, pixels: NDArray[np.uint8]) -> str:
    """Write pixels to a path relative to `folder`, and return that path."""
    from PIL import Image

    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(target, compress_level=_COMPRESSION)
    return path


def write_index(
    folder: Path, num_classes: int, splits: Mapping[str, Sequence[Pair]], manifest: dict[str, Any]
) -> tuple[str, str]:
    """Write ``dataset.json`` and ``manifest.json``.

    Parameters
    ----------
    folder : Path
    num_classes : int
    splits : mapping
        Pairs of each of :data:`SPLITS`; a missing one is empty.
    manifest : dict
        Plain values.
    """
    data = {
        split: [
            {"image_path": image, "mask_path": mask}
            for image, mask in sorted(splits.get(split, ()))
        ]
        for split in SPLITS
    }
    index = {"num_classes": num_classes, "data": data}
    for name, content in (("dataset.json", index), ("manifest.json", manifest)):
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return "dataset.json", "manifest.json"


def folder_names(names: Mapping[int, str]) -> dict[int, str]:
    """Turn the names of classes, by their ids, into names of folders, no two of them alike."""
    safe = {
        number: re.sub(r"[^\w-]+", "_", name).strip("_") or f"class_{number}"
        for number, name in names.items()
    }
    lower = [name.lower() for name in safe.values()]  # some file systems know no case
    return {
        number: f"{name}_{number}" if lower.count(name.lower()) > 1 else name
        for number, name in safe.items()
    }
