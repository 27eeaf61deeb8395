"""Features in a SpatialData store, as LazySlide keeps them beside a slide.

``tables/<model>_<tiles>`` is an AnnData table whose rows name tiles (``tile_id``) of
``shapes/<tiles>``, a GeoParquet file of squares **(x, y)** in level-0 pixels; the attributes of the
store have the size of the tiles (``tile_spec``) and of the slide (``slide_properties``).

Layout of https://github.com/scverse/spatialdata (shapes 0.3, tables 0.2, container 0.2) and
https://github.com/rendeirolab/wsidata.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..atomic import new_folder
from .anndata import REGION, features_of, slide_properties, table_of, tile_spec
from .tile_features import MARK, Outgoing, TileFeatures, Told, part

SHAPES = "shapes.parquet"

OUR_REGION = "pathfm_tiles"
"""What ours are called in a store that has other tiles."""

_SQUARE = np.dtype(
    [("order", "<u1"), ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))]
)
"""A polygon of five points in well-known binary."""

_AXES = [{"name": name, "type": "space", "unit": "unit"} for name in "xy"]
_SHAPE_FACTS: dict[str, Any] = {
    "encoding-type": "ngff:shapes",
    "axes": ["x", "y"],
    "coordinateTransformations": [
        {
            "type": "identity",
            "input": {"name": "xy", "axes": _AXES},
            "output": {"name": "global", "axes": _AXES},
        }
    ],
    "spatialdata_attrs": {"version": "0.3"},
}


def is_spatialdata(path: Path) -> bool:
    """Whether a folder is a SpatialData store."""
    return (path / "tables").is_dir() and (path / "shapes").is_dir()


@contextmanager
def open_spatialdata(path: Path, told: Told) -> Iterator[TileFeatures]:
    """Open the features in a store; its vectors are read a part at a time.

    Parameters
    ----------
    path : Path
    told : Told
        ``table`` chooses where the store has several tables of tiles.

    Raises
    ------
    ValueError
        There is no table of tiles, there are several, or tiles that it names are missing.
    """
    import zarr

    # Not by its list of all groups, which may be older than what is there.
    store: Any = zarr.open_group(path, mode="r", use_consolidated=False)
    name = _chosen(path, store["tables"], told.table)
    table = store["tables"][name]
    region = str(table.attrs["region"])
    ids, corners = _squares(path / "shapes" / region / SHAPES)
    rows = _rows(part("anndata").io.read_elem(table["obs"]), table.attrs, ids)
    about = dict(store.attrs)
    facts = {
        "tile_spec": about.get("tile_spec", {}).get(region),
        "slide_properties": about.get("slide_properties"),
        MARK: about.get(MARK, {}).get(name),
    }
    model = name.removesuffix(f"_{region}")
    yield features_of("LazySlide", table["X"], corners[rows], facts, model)


def write_spatialdata(folder: Path, out: Outgoing) -> None:
    """Write tiles and their features into a new store, or into one that LazySlide has made.

    Tiles that are there already, the same ones, are shared; other ones are called
    :data:`OUR_REGION`.

    Parameters
    ----------
    folder : Path
        A store, or what does not exist.
    out : Outgoing

    Raises
    ------
    ValueError
        There is something else, the store is of another slide, or has these features.
    """
    import zarr

    part("anndata")
    if is_spatialdata(folder):
        _check(folder, out)
        _add(folder, out, _region(folder, out))
        return
    facts: dict[str, Any] = {
        "spatialdata_attrs": {"version": "0.2"},
        "slide_properties": slide_properties(out),
    }
    with new_folder(folder) as temporary:
        store = zarr.open_group(temporary, mode="w", zarr_format=3, attributes=facts)
        store.create_group("shapes")
        store.create_group("tables")
        _add(temporary, out, REGION)


def _check(folder: Path, out: Outgoing) -> None:
    import zarr

    if not (folder / "zarr.json").is_file():
        raise ValueError(f"{folder} is of an older SpatialData (zarr 2). Write a new folder.")
    theirs: Any = zarr.open_group(folder, mode="r").attrs.get("slide_properties") or {}
    ours = slide_properties(out)
    if theirs.get("shape", ours["shape"]) != ours["shape"]:
        raise ValueError(f"{folder} is of another slide. Write a new folder.")


def _region(folder: Path, out: Outgoing) -> str:
    """Name of the tiles in a store: of those that are the same, else a new one."""
    import zarr

    specs: Any = zarr.open_group(folder, mode="r").attrs.get("tile_spec") or {}
    for region in (REGION, OUR_REGION):
        place = folder / "shapes" / region / SHAPES
        if not place.is_file():
            return region
        ids, corners = _squares(place)
        same = np.array_equal(ids, np.arange(len(ids))) and np.array_equal(corners, out.xy[:, ::-1])
        if same and specs.get(region) == tile_spec(out):
            return region
    raise ValueError(f"{folder} has other tiles named {OUR_REGION} already. Write a new folder.")


def _add(folder: Path, out: Outgoing, region: str) -> None:
    import zarr

    name = f"{out.encoder}_{region}"
    links = {"region": region, "region_key": "library_id", "instance_key": "tile_id"}
    table = table_of(out, region)
    table.uns["spatialdata_attrs"] = links
    shapes = folder / "shapes" / region
    with new_folder(folder / "tables" / name) as place:
        part("anndata").io.write_elem(zarr.open_group(place, mode="w", zarr_format=3), "/", table)
        kind = {"spatialdata-encoding-type": "ngff:regions_table", "version": "0.2"}
        zarr.open_group(place, mode="r+").attrs.update({**kind, **links})
        if not shapes.exists():
            with new_folder(shapes) as squares:
                zarr.open_group(squares, mode="w", zarr_format=3, attributes=_SHAPE_FACTS)
                _write_squares(squares / SHAPES, out)
    facts: Any = zarr.open_group(folder, mode="r+").attrs
    facts["tile_spec"] = {**facts.get("tile_spec", {}), region: tile_spec(out)}
    facts[MARK] = {**facts.get(MARK, {}), name: out.mark}
    # Readers see what this list of all groups and arrays names, and it is written last.
    zarr.consolidate_metadata(folder, zarr_format=3)


def _chosen(path: Path, tables: Any, wanted: str) -> str:
    """Name of the table of tiles that is meant."""
    names: list[str] = sorted(
        name
        for name, table in tables.groups()
        if (path / "shapes" / str(table.attrs.get("region")) / SHAPES).is_file()
    )
    if wanted in names:
        return wanted
    listed = ", ".join(names) or "none"
    if wanted:
        raise ValueError(f"it has no table {wanted!r} of tiles, but {listed}")
    if len(names) != 1:
        raise ValueError(f"say which of its tables of tiles with --table: it has {listed}")
    return names[0]


def _rows(obs: Any, about: Any, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the tile of each row of a table."""
    wanted = np.asarray(obs[str(about["instance_key"])], np.int64)
    order = np.argsort(ids, kind="stable")
    places = np.searchsorted(ids, wanted, sorter=order).clip(0, max(len(ids) - 1, 0))
    if not len(ids) or (ids[order[places]] != wanted).any():
        raise ValueError("its table names tiles that are not among its shapes")
    rows: NDArray[np.int64] = order[places]
    return rows


def _squares(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read tiles: their ids ``(N,)`` and upper left corners ``(N, 2)`` **(y, x)**."""
    table = part("pyarrow.parquet").read_table(path)
    squares = table["geometry"].to_pylist()
    if any(len(square) != _SQUARE.itemsize for square in squares):
        raise ValueError("its tiles are no squares; only square ones can be shown")
    points = np.frombuffer(b"".join(squares), _SQUARE)["xy"]
    names = table.column_names
    ids = table["tile_id"].to_numpy() if "tile_id" in names else np.arange(len(squares))
    return ids.astype(np.int64), points.min(1)[:, ::-1]


def _write_squares(path: Path, out: Outgoing) -> None:
    pyarrow, parquet = part("pyarrow"), part("pyarrow.parquet")
    side = int(out.grid.side)  # as LazySlide counts it
    low = out.xy.astype(np.float64)
    squares = np.zeros(len(low), _SQUARE)
    squares["order"], squares["kind"], squares["rings"], squares["points"] = 1, 3, 1, 5
    for corner, (x, y) in enumerate(((1, 0), (1, 1), (0, 1), (0, 0), (1, 0))):
        squares["xy"][:, corner] = low + np.array((x, y)) * side
    bounds = [*low.min(0).tolist(), *(low.max(0) + side).tolist()]
    columns = {
        # SpatialData joins by the number of the row, whatever this column says.
        "tile_id": pyarrow.array(np.arange(len(low))),
        "tissue_id": pyarrow.array(np.zeros(len(low), np.int64)),
        "geometry": pyarrow.array([square.tobytes() for square in squares], pyarrow.binary()),
    }
    geometry = {"encoding": "WKB", "crs": None, "geometry_types": ["Polygon"], "bbox": bounds}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    table = pyarrow.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})
    parquet.write_table(table, path)
