"""What a click model learns from: crops of labelled images around objects, at several scales.

The crops are encoded once, since the image encoder is not trained; afterwards a step of training
costs the decoder only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.jobs import Job, Progress
from ..core.slide import RGB
from ..io.synthetic import Scene
from ..models.base import Segmenter
from ..models.click import INPUT_PX
from .crop import NEAREST

SIDE = INPUT_PX
"""Pixels of a truth, and of the answers of the click model's decoder."""

RANGES = ((0.45, 1.5, 4.0), (0.4, 1.5, 10.0), (0.15, 0.25, 1.5))
"""Parts of the crops, and their sides in sizes of the object: as near as one looks for a second
time; at any scale, up to a view of many; and too near, which a score has to tell."""

LEAST_PX, LEAST_PART = 20, 0.5
"""Objects of a crop that count: so many pixels of its truth, and so much of them inside it; of the
one that the crop was cut around any part."""

GLAND = (2, 3)
"""Classes of a synthetic slide that make up a gland: epithelium and lumen."""

IMAGES, LABELS = "images", "labels"
"""Folders of :func:`read_folder`."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image whose objects are known.

    Attributes
    ----------
    rgb : ndarray
        ``(h, w, 3)`` uint8.
    labels : ndarray
        ``(h, w)`` integers: an id an object, 0 for none.
    name : str
    """

    rgb: RGB
    labels: NDArray[np.integer]
    name: str = ""

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """``(largest id + 1,)`` pixels of each object."""
        return np.bincount(np.asarray(self.labels, np.int64).ravel())

    def boxes(self) -> dict[int, tuple[int, int, int, int]]:
        """Return ``(y0, x0, y1, x1)`` of each object."""
        from scipy.ndimage import find_objects

        found = find_objects(np.asarray(self.labels, np.int32))
        return {
            number: (rows.start, cols.start, rows.stop, cols.stop)
            for number, (rows, cols) in ((n, b) for n, b in enumerate(found, 1) if b is not None)
        }


def read_folder(folder: Path) -> list[LabelledImage]:
    """Read ``images/NAME.*`` with ``labels/NAME.*``: PNG, TIFF, JPEG or ``.npy`` of ids.

    Raises
    ------
    ValueError
        There is no such pair, or the two have different sizes.
    """
    labels = {path.stem: path for path in sorted((folder / LABELS).glob("*"))}
    images = [path for path in sorted((folder / IMAGES).glob("*")) if path.stem in labels]
    if not images:
        raise ValueError(
            f"{folder} holds no labelled image: put them into {IMAGES}/ and, under the same names, "
            f"their objects' ids into {LABELS}/."
        )
    read = [LabelledImage(_rgb(path), _ids(labels[path.stem]), path.stem) for path in images]
    for image in read:
        if image.rgb.shape[:2] != image.labels.shape:
            raise ValueError(
                f"{image.name} has {image.rgb.shape[:2]} pixels, but its labels "
                f"{image.labels.shape}."
            )
    return read


def synthetic_images(
    count: int, side: int = 1024, seed: int = 1, glands: bool = True
) -> list[LabelledImage]:
    """Cut images of glands, or of nuclei, out of synthetic slides, at random scales.

    Parameters
    ----------
    count : int
    side : int
        Pixels of the slide that an image shows.
    seed : int
        Of the first slide; each image has a slide of its own.
    glands : bool
        Whether glands or nuclei are the objects.
    """
    return [_synthetic(side, seed + number, glands) for number in range(count)]


def _synthetic(side: int, seed: int, glands: bool) -> LabelledImage:
    from scipy.ndimage import binary_fill_holes, label

    shape = (6000, 6000)
    scene, draw = Scene(shape, seed), np.random.default_rng(seed)
    best, most = (0, 0), -1
    for _ in range(8):  # where there is much to see
        y, x = (int(v) for v in draw.integers(0, shape[0] - side, 2))
        found = scene.classes(y, x, side, side)
        seen = int(np.isin(found, GLAND).sum() if glands else (found != 0).sum())
        if seen > most:
            best, most = (y, x), seen
    rgb = scene.rgb(*best, side, side)
    if glands:
        inside = binary_fill_holes(np.isin(scene.classes(*best, side, side), GLAND))
        labels = label(inside)[0]
    else:
        labels = np.unique(scene.nuclei(*best, side, side), return_inverse=True)[1]
        labels = labels.reshape(side, side)
    return LabelledImage(rgb, labels.astype(np.int32), f"{'glands' if glands else 'nuclei'}-{seed}")


@dataclass(frozen=True, eq=False)
class EncodedCrops:
    """Crops as the decoder gets them.

    Attributes
    ----------
    features : ndarray
        ``(N, C, h, w)`` float16, of the image encoder.
    truths : ndarray
        ``(N, SIDE, SIDE)`` uint16: an id an object, 0 for none.
    ids : list of ndarray
        Those of each crop that count as objects.
    inside : list of ndarray
        How much of each of these the crop shows, float32 of 0 to 1.
    """

    features: NDArray[np.float16]
    truths: NDArray[np.uint16]
    ids: list[NDArray[np.uint16]]
    inside: list[NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.truths)


def encode_crops(
    sources: Sequence[tuple[float, Sequence[LabelledImage]]],
    segmenter: Segmenter,
    count: int,
    seed: int = 0,
) -> Job[EncodedCrops]:
    """Cut crops around objects, turn and tint them at random, and encode them.

    Parameters
    ----------
    sources : sequence of (float, sequence of LabelledImage)
        Images with the part of the crops that they are to make up.
    segmenter : Segmenter
    count : int
    seed : int
    """
    draw = np.random.default_rng(seed)
    weights = np.array([weight for weight, _ in sources], float)
    boxes = [[image.boxes() for image in images] for _, images in sources]
    features: NDArray[np.float16] | None = None
    truths = np.zeros((count, SIDE, SIDE), np.uint16)
    ids: list[NDArray[np.uint16]] = []
    inside: list[NDArray[np.float32]] = []
    while len(ids) < count:
        source = draw.choice(len(sources), p=weights / weights.sum())
        number = int(draw.integers(len(sources[source][1])))
        known = boxes[source][number]
        if not known:
            continue
        image = sources[source][1][number]
        chosen = int(draw.choice(list(known)))
        rgb, truth, counting, shown = cut(image, chosen, known[chosen], draw)
        if not len(counting):
            continue
        made = segmenter.encode(rgb).features
        if features is None:
            features = np.zeros((count, *made.shape), np.float16)
        features[len(ids)], truths[len(ids)] = made, truth
        ids.append(counting)
        inside.append(shown)
        yield Progress(len(ids), count, "encoding crops", "crops")
    if features is None:
        raise ValueError("There is nothing to learn from: no image has an object.")
    return EncodedCrops(features, truths, ids, inside)


def cut(
    image: LabelledImage,
    number: int,
    box: tuple[int, int, int, int],
    draw: np.random.Generator,
) -> tuple[RGB, NDArray[np.uint16], NDArray[np.uint16], NDArray[np.float32]]:
    """Cut one crop around an object, which lies anywhere in it or reaches over its edges.

    Parameters
    ----------
    image : LabelledImage
    number : int
        Of the object.
    box : tuple of int
        ``(y0, x0, y1, x1)`` of it.
    draw : Generator

    Returns
    -------
    rgb : ndarray
        ``(h, h, 3)`` uint8, white outside the image.
    truth : ndarray
        ``(SIDE, SIDE)`` uint16 ids.
    counting : ndarray
        Ids that count as objects of this crop.
    inside : ndarray
        How much of each of these the crop shows, float32 of 0 to 1.
    """
    y0, x0, y1, x1 = box
    size = max(y1 - y0, x1 - x0)
    parts = [part for part, _, _ in RANGES]
    _, low, high = RANGES[int(draw.choice(len(RANGES), p=parts))]
    side = round(max(size * np.exp(draw.uniform(np.log(low), np.log(high))), NEAREST))
    room = abs(side - size) / 2 * 0.8
    y = round((y0 + y1 - side) / 2 + draw.uniform(-room, room))
    x = round((x0 + x1 - side) / 2 + draw.uniform(-room, room))
    rgb, labels = _window(image.rgb, y, x, side, 255), _window(image.labels, y, x, side, 0)
    turns, mirrored = int(draw.integers(4)), bool(draw.integers(2))
    rgb, labels = np.rot90(rgb, turns), np.rot90(labels, turns)
    if mirrored:
        rgb, labels = rgb[:, ::-1], labels[:, ::-1]
    places = ((np.arange(SIDE) + 0.5) * side / SIDE).astype(np.int64)
    truth = labels[np.ix_(places, places)]
    found, inverse, pixels = np.unique(truth, return_inverse=True, return_counts=True)
    inside = (pixels * (side / SIDE) ** 2 / image.areas[found]).clip(max=1).astype(np.float32)
    enough = (inside >= LEAST_PART) | (found == number)
    counting = (found != 0) & (pixels >= LEAST_PX) & enough
    numbers = np.arange(len(found)) + (0 if found[0] == 0 else 1)
    ids: NDArray[np.uint16] = numbers[inverse].reshape(SIDE, SIDE).astype(np.uint16)
    return _tinted(rgb, draw), ids, numbers[counting].astype(np.uint16), inside[counting]


def _window(array: NDArray[Any], y: int, x: int, side: int, fill: int) -> NDArray[Any]:
    out = np.full((side, side, *array.shape[2:]), fill, array.dtype)
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + side, array.shape[0]), min(x + side, array.shape[1])
    out[top - y : bottom - y, left - x : right - x] = array[top:bottom, left:right]
    return out


def _tinted(rgb: NDArray[np.integer], draw: np.random.Generator) -> RGB:
    """Another stain and another scanner: optical density and light a channel, now and then blur."""
    density = -np.log(np.maximum(rgb, 1).astype(np.float32) / 255)
    density *= draw.uniform(0.75, 1.3, 3).astype(np.float32) * np.float32(draw.uniform(0.8, 1.25))
    density += draw.uniform(-0.03, 0.05, 3).astype(np.float32)
    mixed = np.exp(-np.maximum(density, 0)) * 255
    if draw.random() < 0.2:
        from scipy.ndimage import gaussian_filter

        mixed = gaussian_filter(mixed, (s := draw.uniform(0.3, 1.2), s, 0))
    return np.ascontiguousarray(mixed.clip(0, 255).astype(np.uint8))


def _rgb(path: Path) -> RGB:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _ids(path: Path) -> NDArray[np.integer]:
    if path.suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        return np.asarray(tifffile.imread(path))
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)
