"""Features as AnnData (``.h5ad``), laid out as LazySlide hands them out.

A row of ``obs`` is a tile, ``X`` has the vectors, ``obsm["spatial"]`` the upper left corners
**(x, y)** in level-0 pixels, and ``uns`` the size of the tiles (``tile_spec``) and of the slide
(``slide_properties``).

Layout of https://github.com/rendeirolab/wsidata (``fetch.features_anndata``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import replacing
from .tile_features import MARK, Outgoing, TileFeatures, Told, glass, part, read_mark

H5AD = ".h5ad"

REGION = "tiles"
"""What LazySlide calls the tiles of a slide."""


@contextmanager
def open_anndata(path: Path, told: Told) -> Iterator[TileFeatures]:
    """Open an AnnData file; its vectors are read a part at a time.

    Parameters
    ----------
    path : Path
    told : Told

    Raises
    ------
    ValueError
        It is no such file, is sparse, or has no places of tiles.
    """
    try:
        found = part("anndata").read_h5ad(path, backed="r")
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except (OSError, KeyError) as error:
        raise ValueError(f"it is no AnnData file, or it is damaged ({error})") from error
    try:
        if "spatial" not in found.obsm:
            raise ValueError("it does not say where its tiles are: there is no obsm['spatial']")
        corners = np.asarray(found.obsm["spatial"])[:, 1::-1]
        yield features_of("AnnData", found.X, corners, found.uns)
    finally:
        found.file.close()


def write_anndata(path: Path, out: Outgoing) -> None:
    """Write an AnnData file.

    Parameters
    ----------
    path : Path
        A file that ends in ``.h5ad``.
    out : Outgoing
    """
    table = table_of(out)
    table.obsm["spatial"] = out.xy
    table.uns["tile_spec"] = tile_spec(out)
    table.uns["slide_properties"] = slide_properties(out)
    table.uns["encoder"] = out.encoder
    table.uns[MARK] = out.mark
    with replacing(path) as temporary:
        table.write_h5ad(temporary)


def features_of(
    program: str, vectors: Any, corners: Any, facts: Mapping[str, Any], encoder: str = ""
) -> TileFeatures:
    """Put together what LazySlide says of tiles, in an AnnData file or in a SpatialData store.

    Parameters
    ----------
    program : str
    vectors : array_like
        ``(N, D)``.
    corners : ndarray
        ``(N, 2)`` **(y, x)**, level-0 pixels of the whole glass.
    facts : mapping
        With ``tile_spec`` and ``slide_properties``, as far as they are known.
    encoder : str
        As LazySlide calls it.

    Raises
    ------
    ValueError
        The tiles are no squares, or the vectors are not a dense array.
    """
    if getattr(vectors, "ndim", None) != 2:
        raise ValueError("its X is sparse or a group, not a dense array of vectors")
    spec = dict(facts.get("tile_spec") or {})
    slide = dict(facts.get("slide_properties") or {})
    side = tile_px = overlap = None
    if spec:
        if (spec["height"], spec.get("stride_height")) != (spec["width"], spec.get("stride_width")):
            raise ValueError("its tiles are no squares; only square ones can be shown")
        tile_px = int(spec["height"])
        side = float(int(tile_px * float(spec.get("base_downsample", 1.0))))
        overlap = max(0.0, 1 - int(spec.get("stride_height", tile_px)) / tile_px)
    shape = slide.get("shape")
    return TileFeatures(
        program,
        vectors,
        np.rint(corners).astype(np.int64),
        side,
        tile_px,
        float(spec["mpp"]) if spec.get("mpp") is not None else None,
        overlap or 0.0,
        encoder or str(facts.get("encoder", "")),
        None if shape is None else (int(shape[0]), int(shape[1])),
        read_mark(facts.get(MARK)),
    )


def table_of(out: Outgoing, region: str = REGION) -> Any:
    """Return an AnnData table: a row a tile, numbered from 0 as ``tile_id`` of `region`."""
    anndata, pandas = part("anndata"), part("pandas")
    tiles = np.arange(len(out.embeddings))
    # As objects: pandas 3 has strings of its own, which older readers of AnnData do not know.
    names = pandas.Index([str(tile) for tile in tiles.tolist()], dtype=object)
    numbers = [str(number) for number in range(out.embeddings.vectors.shape[1])]
    regions = pandas.Index([region], dtype=object)
    library = pandas.Categorical.from_codes(np.zeros(len(tiles), np.int8), categories=regions)
    obs = pandas.DataFrame({"tile_id": tiles, "library_id": library}, index=names)
    var = pandas.DataFrame(index=pandas.Index(numbers, dtype=object))
    return anndata.AnnData(out.embeddings.vectors, obs=obs, var=var)


def tile_spec(out: Outgoing) -> dict[str, Any]:
    """Return what LazySlide calls the specification of tiles."""
    plan, side = out.grid.plan, out.grid.side
    step = max(1, round(plan.tile_px * (1 - out.grid.spec.overlap)))
    spec: dict[str, Any] = {"height": plan.tile_px, "width": plan.tile_px}
    spec |= {"stride_height": step, "stride_width": step}
    if out.slide.mpp is not None:
        spec["mpp"] = out.grid.spec.mpp or out.slide.mpp
    return spec | {
        "ops_level": plan.level,
        "ops_downsample": _whole(plan.size, plan.tile_px),
        "base_level": 0,
        "base_downsample": _whole(side, plan.tile_px),
    }


def slide_properties(out: Outgoing) -> dict[str, Any]:
    """Return what LazySlide calls the properties of a slide, of the whole glass."""
    levels, ((y, x), (height, width)) = out.slide.levels, glass(out.slide)
    inside_height, inside_width = levels[0].shape
    sizes = [[round(height / each.downsample), round(width / each.downsample)] for each in levels]
    facts: dict[str, Any] = {
        "shape": [height, width],
        "n_level": len(levels),
        "level_shape": sizes,
        "level_downsample": [each.downsample for each in levels],
        "bounds": [x, y, inside_width, inside_height],
    }
    return facts if out.slide.mpp is None else {**facts, "mpp": out.slide.mpp}


def _whole(pixels: float, tile_px: int) -> float:
    """Return a ratio that LazySlide, which rounds down, turns into `pixels` again."""
    ratio = pixels / tile_px
    return ratio if int(tile_px * ratio) >= int(pixels) else float(np.nextafter(ratio, np.inf))
