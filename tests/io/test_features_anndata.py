"""AnnData files and SpatialData stores, as LazySlide lays them out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas
import pyarrow.parquet
import pytest
import scipy.sparse
import shapely
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm.core.tiles import TileSpec
from napari_pathfm.io.interop.feature_files import open_features, write_features
from napari_pathfm.io.interop.tile_features import Outgoing, TileFeatures, Told
from napari_pathfm.io.reader import SlideReader, open_slide

from .features import outgoing, vectors_of

SPEC = {
    "height": 224,
    "width": 224,
    "stride_height": 168,
    "stride_width": 168,
    "mpp": 0.8,
    "ops_level": 0,
    "ops_downsample": 1.6,
    "base_level": 0,
    "base_downsample": 1.6,
}


@pytest.fixture(scope="module")
def slide(
    write_slide: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SlideReader]:
    path = tmp_path_factory.mktemp("slides") / "case 1.tif"
    write_slide(path)
    with open_slide(path) as opened:
        yield opened


def read(path: Path, slide: SlideReader, **told: Any) -> tuple[TileFeatures, np.ndarray]:
    with open_features(path, slide.levels, Told(**told)) as found:
        return found, np.concatenate([part for _, part in found.blocks()])


def table(vectors: Any, **uns: Any) -> anndata.AnnData:
    names = pandas.Index([str(number) for number in range(vectors.shape[0])], dtype=object)
    var = pandas.DataFrame(index=pandas.Index(list("abcdefgh"), dtype=object))
    return anndata.AnnData(vectors, obs=pandas.DataFrame(index=names), var=var, uns=uns)


def test_what_lazyslide_hands_out(slide: SlideReader, tmp_path: Path) -> None:
    made = table(vectors_of(3, 8), tile_spec=SPEC, slide_properties={"shape": [999, 1501]})
    made.obsm["spatial"] = np.array([[10.0, 20], [178, 20], [10, 188]])
    made.write_h5ad(tmp_path / "a.h5ad")
    found, vectors = read(tmp_path / "a.h5ad", slide)
    np.testing.assert_array_equal(vectors, vectors_of(3, 8))
    assert found.corners.tolist() == [[20, 10], [20, 178], [188, 10]]
    assert (found.side, found.tile_px, found.mpp, found.overlap) == (358, 224, 0.8, 0.25)
    assert (found.encoder, found.shape, found.origin) == ("", (999, 1501), None)


def test_what_is_wrong_is_said(slide: SlideReader, tmp_path: Path) -> None:
    places = np.zeros((3, 2))
    oblong = table(vectors_of(3, 8), tile_spec={**SPEC, "height": 100})
    sparse = table(scipy.sparse.csr_matrix(vectors_of(3, 8)))
    for made in (oblong, sparse):
        made.obsm["spatial"] = places
    nowhere = table(vectors_of(3, 8))
    (tmp_path / "d.h5ad").write_bytes(b"no")
    for name, made, message in (
        ("a", oblong, "no squares"),
        ("b", sparse, "X is sparse"),
        ("c", nowhere, "obsm"),
        ("d", None, "no AnnData file"),
        ("e", None, "there is no file"),
    ):
        if made is not None:
            made.write_h5ad(tmp_path / f"{name}.h5ad")
        with pytest.raises(ValueError, match=message):
            read(tmp_path / f"{name}.h5ad", slide)


@settings(max_examples=5)
@given(
    st.integers(16, 300), st.floats(0.5, 3), st.sampled_from([0.0, 0.25, 0.5]), st.integers(0, 2)
)
def test_what_we_write_comes_back(
    slide: SlideReader,
    tmp_path_factory: pytest.TempPathFactory,
    tile_px: int,
    mpp: float,
    overlap: float,
    leave_out: int,
) -> None:
    out = outgoing(slide, TileSpec(tile_px, mpp, overlap), leave_out=leave_out)
    if not len(out.embeddings):
        return
    folder = tmp_path_factory.mktemp("out")
    for form, name in (("anndata", "a.h5ad"), ("spatialdata", "a.zarr")):
        (path,) = write_features(form, folder / name, out)
        found, vectors = read(path, slide)
        np.testing.assert_array_equal(vectors, out.embeddings.vectors)
        np.testing.assert_array_equal(found.corners, out.origins)
        assert found.side == int(out.grid.side)
        assert (found.tile_px, found.encoder, found.shape) == (tile_px, "uni_v1", (999, 1501))
        assert found.mpp == pytest.approx(out.grid.spec.mpp)
        assert found.origin is not None
        assert found.origin.key == out.embeddings.key
        assert (found.origin.spec, found.origin.plan) == (out.grid.spec, out.grid.plan)


def written(folder: Path, slide: SlideReader) -> tuple[Path, Outgoing]:
    out = outgoing(slide, TileSpec(224, 0.81), leave_out=1)
    (path,) = write_features("spatialdata", folder / "a.zarr", out)
    return path, out


def test_a_store_has_what_spatialdata_asks_for(slide: SlideReader, tmp_path: Path) -> None:
    path, out = written(tmp_path, slide)
    shapes = pyarrow.parquet.read_table(path / "shapes" / "tiles" / "shapes.parquet")
    boxes = [shapely.from_wkb(square).bounds for square in shapes["geometry"].to_pylist()]
    corners = out.origins[:, ::-1]
    np.testing.assert_array_equal(boxes, np.hstack([corners, corners + 363]))
    about = json.loads(shapes.schema.metadata[b"geo"])
    assert about["columns"]["geometry"]["bbox"] == [
        *corners.min(0).tolist(),
        *(corners.max(0) + 363).tolist(),
    ]
    store = zarr.open_group(path, mode="r")
    assert store["shapes/tiles"].attrs["encoding-type"] == "ngff:shapes"
    attributes = dict(store["tables/uni_v1_tiles"].attrs)
    assert attributes["spatialdata-encoding-type"] == "ngff:regions_table"
    assert attributes["encoding-type"] == "anndata"
    read_back = anndata.read_zarr(path / "tables" / "uni_v1_tiles")
    numbers = list(range(len(boxes)))
    assert read_back.obs["tile_id"].tolist() == shapes["tile_id"].to_pylist() == numbers
    assert set(read_back.obs["library_id"]) == {attributes["region"]} == {"tiles"}


def test_tables_are_chosen_and_joined(slide: SlideReader, tmp_path: Path) -> None:
    path, out = written(tmp_path, slide)
    tables = path / "tables"
    shutil.copytree(tables / "uni_v1_tiles", tables / "gone_tiles")
    with pytest.raises(ValueError, match="--table: it has gone_tiles, uni_v1_tiles"):
        read(path, slide)
    with pytest.raises(ValueError, match="no table 'resnet'"):
        read(path, slide, table="resnet")
    found, _ = read(path, slide, table="gone_tiles")
    assert (found.encoder, found.origin) == ("gone", None)
    shutil.rmtree(tables / "gone_tiles")
    # Rows of a table need not be in the order of the tiles that they name.
    place = path / "shapes" / "tiles" / "shapes.parquet"
    shapes = pyarrow.parquet.read_table(place)
    pyarrow.parquet.write_table(shapes.take(np.arange(len(shapes))[::-1]), place)
    found, vectors = read(path, slide)
    np.testing.assert_array_equal(found.corners, out.origins)
    np.testing.assert_array_equal(vectors, out.embeddings.vectors)
    pyarrow.parquet.write_table(shapes.slice(1), place)
    with pytest.raises(ValueError, match="not among its shapes"):
        read(path, slide)


def test_a_store_is_never_written_over(slide: SlideReader, tmp_path: Path) -> None:
    path, out = written(tmp_path, slide)
    with pytest.raises(ValueError, match="not empty"):
        write_features("spatialdata", path, out)
    assert len(read(path, slide)[0]) == len(out.embeddings)


def test_more_features_go_into_a_store(slide: SlideReader, tmp_path: Path) -> None:
    path, out = written(tmp_path, slide)
    write_features("spatialdata", path, replace(out, encoder="virchow"))
    other = outgoing(slide, TileSpec(64, 1.0))
    write_features("spatialdata", path, replace(other, encoder="virchow"))
    store = zarr.open_group(path, mode="r")  # by its consolidated list
    assert sorted(store["shapes"].group_keys()) == ["pathfm_tiles", "tiles"]
    tables = {"uni_v1_tiles": out, "virchow_tiles": out, "virchow_pathfm_tiles": other}
    assert set(store["tables"].group_keys()) == set(tables)
    for name, made in tables.items():
        found, vectors = read(path, slide, table=name)
        np.testing.assert_array_equal(found.corners, made.origins)
        np.testing.assert_array_equal(vectors, made.embeddings.vectors)
        assert found.origin is not None
        assert found.origin.plan == made.grid.plan
        assert found.encoder == name.partition("_tiles")[0].removesuffix("_pathfm")
    with pytest.raises(ValueError, match="other tiles named pathfm_tiles"):
        write_features("spatialdata", path, outgoing(slide, TileSpec(100, 1.0)))
    other_slide = path / "zarr.json"
    other_slide.write_text(other_slide.read_text().replace("1501", "1502"))
    with pytest.raises(ValueError, match="of another slide"):
        write_features("spatialdata", path, replace(out, encoder="more"))


def test_lazyslide_opens_our_store(slide: SlideReader, tmp_path: Path) -> None:
    """With LazySlide's own reader, where it is installed."""
    wsidata = pytest.importorskip("wsidata", reason="LazySlide's reader is not installed")
    path, out = written(tmp_path, slide)
    opened = wsidata.open_wsi(slide.path, store=path)
    theirs = opened.fetch.features_anndata("uni_v1")
    np.testing.assert_array_equal(theirs.X, out.embeddings.vectors)
    np.testing.assert_array_equal(theirs.obsm["spatial"], out.xy)
    spec = opened.tile_spec("tiles")
    assert (spec.base_width, spec.ops_width, spec.ops_level) == (363, out.grid.plan.size, 0)
    theirs.write_h5ad(tmp_path / "theirs.h5ad")
    found, vectors = read(tmp_path / "theirs.h5ad", slide)
    np.testing.assert_array_equal(vectors, out.embeddings.vectors)
    np.testing.assert_array_equal(found.corners, out.origins)
    assert found.side == 363


def test_a_store_of_lazyslide(slide: SlideReader, tmp_path: Path) -> None:
    """Written by its own functions, where it is installed."""
    wsidata = pytest.importorskip("wsidata", reason="LazySlide's reader is not installed")
    opened = wsidata.open_wsi(slide.path, store=None)
    spec = wsidata.TileSpec.from_wsidata(opened, tile_px=200, mpp=1.0, overlap=0.25)
    xy = np.array([[10, 20], [310, 20], [10, 320]])
    wsidata.io.add_tiles(opened, "squares", xy, spec, np.zeros(3, int))
    wsidata.io.add_features(opened, "uni2_squares", "squares", vectors_of(3, 1536))
    opened.write(tmp_path / "theirs.zarr")
    found, vectors = read(tmp_path / "theirs.zarr", slide)
    np.testing.assert_array_equal(vectors, vectors_of(3, 1536))
    assert found.corners.tolist() == xy[:, ::-1].tolist()
    assert (found.encoder, found.shape, found.side) == ("uni2", (999, 1501), 400)
    assert (found.tile_px, found.mpp, found.overlap) == (200, 1.0, 0.25)
    out = outgoing(slide, TileSpec(224, 0.81))
    write_features("spatialdata", tmp_path / "theirs.zarr", out)
    again = wsidata.open_wsi(slide.path, store=tmp_path / "theirs.zarr")
    assert set(again.tables) == {"uni2_squares", "uni_v1_tiles"}
    np.testing.assert_array_equal(again.fetch.features_anndata("uni_v1").obsm["spatial"], out.xy)


def test_spatialdata_opens_our_store(slide: SlideReader, tmp_path: Path) -> None:
    """With its own reader, where it is installed."""
    spatialdata = pytest.importorskip("spatialdata", reason="spatialdata is not installed")
    path, out = written(tmp_path, slide)
    opened = spatialdata.read_zarr(path)
    tiles, joined = spatialdata.join_spatialelement_table(
        sdata=opened, spatial_element_names="tiles", table_name="uni_v1_tiles", how="inner"
    )
    np.testing.assert_array_equal(joined.X, out.embeddings.vectors)
    np.testing.assert_array_equal(tiles["tiles"].bounds[["miny", "minx"]], out.origins)
