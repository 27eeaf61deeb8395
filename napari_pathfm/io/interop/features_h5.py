"""Features of TRIDENT (HDF5) and of CLAM (HDF5 and PyTorch) are read.

Both keep ``features``, ``(N, D)`` or ``(1, N, D)``, and ``coords``, ``(N, 2)`` **(x, y)** in
level-0 pixels, whose attributes say how large a tile is: TRIDENT's ``patch_size`` at
``target_magnification``, CLAM's at ``patch_level`` (in the file of coordinates alone). CLAM's
``.pt`` is the tensor without coordinates, in the order of the HDF5 file.

Layouts as of https://github.com/mahmoodlab/TRIDENT and https://github.com/mahmoodlab/CLAM.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.slide import Level
from .tile_features import MARK, Rows, TileFeatures, Told, one_bag, part, read_mark

H5 = (".h5", ".hdf5")
TENSORS = (".pt", ".pth")


@contextmanager
def open_h5(path: Path, levels: Sequence[Level], told: Told) -> Iterator[TileFeatures]:
    """Open features of TRIDENT or CLAM.

    Parameters
    ----------
    path : Path
    levels : sequence of Level
        Of the slide, for tiles that were laid out on one of them.
    told : Told
        ``coords`` is a further file with the coordinates and their attributes.

    Raises
    ------
    ValueError
        It is no such file, or its parts do not fit together.
    """
    with _hdf5(path) as file:
        if "features" not in file:
            raise ValueError(
                "it has no features. If it says where tiles are, give the file of their features, "
                "and this one with --coords"
            )
        features = file["features"]
        attributes = dict(features.attrs)
        coords = _coords(file)
        if told.coords is not None:
            coords = _agreeing(coords, _coords_of(told.coords))
        if coords is None:
            raise ValueError("it does not say where its tiles are; give a file that does: --coords")
        yield _features(one_bag(features), attributes, coords, levels)


@contextmanager
def open_tensor(path: Path, levels: Sequence[Level], told: Told) -> Iterator[TileFeatures]:
    """Open CLAM's ``.pt``; its coordinates are those of ``told.coords``, else of ``h5_files``.

    Raises
    ------
    ValueError
        It holds no tensor of features, or there are no coordinates.
    """
    beside = path.parent.with_name("h5_files") / f"{path.stem}.h5"
    coords = _coords_of(beside) if beside.is_file() else None
    if told.coords is not None:
        coords = _agreeing(coords, _coords_of(told.coords))
    if coords is None:
        raise ValueError(
            f"it does not say where its tiles are, and there is no {beside}; give the HDF5 file "
            "that has their coordinates: --coords"
        )
    yield _features(one_bag(_tensor(path)), {}, coords, levels)


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    h5py = part("h5py")
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except OSError as error:
        raise ValueError(f"{path.name} is no HDF5 file, or it is damaged ({error})") from error
    with file:
        yield file


Coords = tuple[NDArray[np.int64], Mapping[str, Any]]
"""Places ``(N, 2)`` **(x, y)**, and their attributes."""


def _coords(file: Any) -> Coords | None:
    if "coords" not in file:
        return None
    places = np.asarray(one_bag(file["coords"]))
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"its coords are of shape {places.shape}, not (N, 2)")
    return np.rint(places).astype(np.int64), dict(file["coords"].attrs)


def _coords_of(path: Path) -> Coords:
    with _hdf5(path) as file:
        found = _coords(file)
    if found is None:
        raise ValueError(f"{path.name} has no coords")
    return found


def _agreeing(own: Coords | None, other: Coords) -> Coords:
    """Take the attributes of another file, if it is about the same tiles."""
    if own is None:
        return other
    if not np.array_equal(own[0], other[0]):
        raise ValueError("the two files say different coordinates: one is of other tiles")
    return own[0], {**own[1], **other[1]}


def _tensor(path: Path) -> Rows:
    import torch

    try:
        # Code in the file is not run, and its numbers are not read before they are used.
        lazy = zipfile.is_zipfile(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=lazy)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"it is no PyTorch file of a tensor ({error})") from error
    if isinstance(found, dict):
        found = found.get("features", found.get("feats"))
    if not isinstance(found, torch.Tensor):
        raise ValueError("it holds no tensor of features")
    if found.dtype == torch.bfloat16:
        found = found.float()
    rows: Rows = found.numpy()
    return rows


def _features(
    vectors: Rows, attributes: Mapping[str, Any], coords: Coords, levels: Sequence[Level]
) -> TileFeatures:
    places, about = coords
    trident = "encoder" in attributes or "target_magnification" in about
    tile_px = _number(about, "patch_size")
    overlap = _number(about, "overlap") or 0.0
    target = _number(about, "target_magnification")
    height, width = _number(about, "level0_height"), _number(about, "level0_width")
    if "level_dim" in about and not _number(about, "patch_level"):
        width, height = (float(side) for side in about["level_dim"])
    encoder = attributes.get("encoder", "")
    return TileFeatures(
        "TRIDENT" if trident else "CLAM",
        vectors,
        places[:, ::-1],
        _side(about, levels),
        None if tile_px is None else round(tile_px),
        None if not target else 10 / target,
        overlap / tile_px if tile_px else 0.0,
        "" if encoder == "None" else str(encoder),
        None if height is None or width is None else (round(height), round(width)),
        read_mark(about.get(MARK)),
    )


def _side(about: Mapping[str, Any], levels: Sequence[Level]) -> float | None:
    """Side of a tile in level-0 pixels, as the two programs read it."""
    size = _number(about, "patch_size")
    if size is None:
        return None
    source, target = _number(about, "level0_magnification"), _number(about, "target_magnification")
    if source and target:
        return float(round(size * source / target))
    if "patch_size_level0" in about:
        return _number(about, "patch_size_level0")
    level = round(_number(about, "patch_level") or 0)
    if level >= len(levels):
        raise ValueError(f"its tiles are of level {level}, and the slide has {len(levels)} levels")
    return size * (_number(about, "custom_downsample") or 1.0) * levels[level].downsample


def _number(about: Mapping[str, Any], name: str) -> float | None:
    """Return an attribute as a number; ``None`` where there is none, or the word for it."""
    value = about.get(name)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
