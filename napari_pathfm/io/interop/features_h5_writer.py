"""Features are written as TRIDENT and CLAM write them; the layouts stand in ``features_h5.py``.

Chunks hold more than TRIDENT's one row and CLAM's 32: any reader takes them, and faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import replacing
from .tile_features import BLOCK, MARK, Outgoing, glass, part

MAGNIFICATIONS = (80, 40, 20, 10, 5)
"""What objectives are called, for a slide that says its micrometres per pixel alone."""

CHUNK_ROWS = 256


def write_trident(path: Path, out: Outgoing) -> None:
    """Write a file of features as TRIDENT does, coordinates and all their attributes with it.

    Parameters
    ----------
    path : Path
        A file that ends in ``.h5``.
    out : Outgoing

    Raises
    ------
    ValueError
        The slide has no mpp, from which the magnification follows.
    """
    about = _trident_attributes(path, out)
    features = {"name": out.slide.name, "savetodir": str(path.parent), "encoder": out.encoder}
    _write(path, out, features, about)


def write_clam(folder: Path, out: Outgoing) -> list[Path]:
    """Write the files of a slide as CLAM has them: ``h5_files``, ``pt_files`` and ``patches``.

    Parameters
    ----------
    folder : Path
        May have files of other slides already.
    out : Outgoing

    Returns
    -------
    list of Path
        What was written.
    """
    import torch

    name = out.slide.name
    places = [
        folder / "patches" / f"{name}.h5",
        folder / "h5_files" / f"{name}.h5",
        folder / "pt_files" / f"{name}.pt",
    ]
    about = _clam_attributes(folder, out)
    _write(places[0], out, None, about)
    _write(places[1], out, {}, about)
    with replacing(places[2]) as temporary:
        torch.save(torch.from_numpy(out.embeddings.vectors), temporary)
    return places


def _trident_attributes(path: Path, out: Outgoing) -> dict[str, Any]:
    tile_px, side, mpp = out.grid.plan.tile_px, out.grid.side, out.slide.mpp
    if mpp is None:
        raise ValueError(
            "TRIDENT counts in magnifications, and this slide does not say how large a pixel is: "
            "give its micrometres per pixel first"
        )
    source = min(MAGNIFICATIONS, key=lambda each: abs(np.log(each * mpp / 10)))
    target = source * tile_px / side
    height, width = glass(out.slide)[1]
    return {
        "patch_size": tile_px,
        "patch_size_level0": round(side),
        "level0_magnification": source,
        "target_magnification": round(target) if abs(target - round(target)) < 1e-9 else target,
        "overlap": round(out.grid.spec.overlap * tile_px),
        "name": out.slide.name,
        "savetodir": str(path.parent),
        "level0_width": width,
        "level0_height": height,
        MARK: out.mark,
    }


def _clam_attributes(folder: Path, out: Outgoing) -> dict[str, Any]:
    plan, levels = out.grid.plan, out.slide.levels
    downsample = levels[plan.level].downsample
    size = tuple(round(side / downsample) for side in reversed(glass(out.slide)[1]))
    return {
        "patch_size": plan.size,
        "patch_level": plan.level,
        "downsample": (downsample, downsample),
        "downsampled_level_dim": size,
        "level_dim": size,
        "name": out.slide.name,
        "save_path": str(folder / "patches"),
        MARK: out.mark,
    }


def _write(
    path: Path, out: Outgoing, features: dict[str, Any] | None, coords: dict[str, Any]
) -> None:
    """Write coordinates, and the vectors unless `features`, their attributes, is ``None``."""
    h5py = part("h5py")
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        _add(file, "coords", out.xy, coords)
        if features is not None:
            _add(file, "features", out.embeddings.vectors, features)


def _add(file: Any, name: str, values: NDArray[Any], attributes: Mapping[str, Any]) -> None:
    shape = values.shape
    dataset = file.create_dataset(
        name,
        shape=shape,
        dtype=values.dtype,
        chunks=(CHUNK_ROWS, *shape[1:]),
        maxshape=(None, *shape[1:]),
    )
    for start in range(0, len(values), BLOCK):
        dataset[start : start + BLOCK] = values[start : start + BLOCK]
    for key, value in attributes.items():
        dataset.attrs[key] = value
