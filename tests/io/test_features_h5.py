"""TRIDENT's and CLAM's files, written as they write them and read as they read them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileSpec
from napari_pathfm.io.interop.feature_files import open_features, write_features
from napari_pathfm.io.interop.tile_features import TileFeatures, Told, read_mark
from napari_pathfm.io.reader import SlideReader, open_slide

from .features import outgoing, trident_attributes, vectors_of, write_h5

XY = np.array([[0, 0], [384, 0], [0, 384], [1000, 384]], np.int64)


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


def test_a_file_of_trident(slide: SlideReader, tmp_path: Path) -> None:
    path = write_h5(
        tmp_path / "a.h5",
        features=(vectors_of(4), {"encoder": "uni_v1", "name": "a", "savetodir": "/b"}),
        coords=(XY, trident_attributes(slide)),
    )
    found, vectors = read(path, slide)
    np.testing.assert_array_equal(vectors, vectors_of(4))
    assert found.corners.tolist() == XY[:, ::-1].tolist()
    assert (found.program, found.encoder, found.shape) == ("TRIDENT", "uni_v1", (999, 1501))
    assert (found.side, found.tile_px, found.mpp, found.overlap) == (512, 256, 1.0, 0.25)
    assert found.origin is None


def test_trident_reads_a_side_that_it_rounds(slide: SlideReader, tmp_path: Path) -> None:
    about = trident_attributes(slide, target_magnification=7, patch_size_level0=731)
    path = write_h5(tmp_path / "a.h5", features=(vectors_of(4), {}), coords=(XY, about))
    assert read(path, slide)[0].side == round(256 * 20 / 7)


def test_files_of_clam(slide: SlideReader, tmp_path: Path) -> None:
    """Features without attributes, which the file of patches has; and a tensor beside them."""
    about = {"patch_size": 128, "patch_level": 1, "level_dim": (750, 499), "name": "a"}
    patches = write_h5(tmp_path / "patches.h5", coords=(XY, about))
    for folder in ("h5_files", "pt_files"):
        (tmp_path / folder).mkdir()
    features = write_h5(
        tmp_path / "h5_files" / "a.h5",
        features=(vectors_of(4), {}),
        coords=(XY.astype(np.int32), {}),
    )
    tensor = tmp_path / "pt_files" / "a.pt"
    torch.save(torch.from_numpy(vectors_of(4)), tensor)
    for path in (features, tensor):
        found, vectors = read(path, slide, coords=patches)
        np.testing.assert_array_equal(vectors, vectors_of(4))
        assert (found.program, found.encoder, found.tile_px) == ("CLAM", "", 128)
        assert found.side == 128 * slide.levels[1].downsample
        assert read(path, slide)[0].side is None
    (tmp_path / "h5_files" / "a.h5").unlink()
    with pytest.raises(ValueError, match=r"a\.pt cannot be imported: .*--coords"):
        read(tensor, slide)
    assert len(read(tensor, slide, coords=patches)[0]) == 4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_a_bag_and_in_half_precision(
    slide: SlideReader, tmp_path: Path, dtype: torch.dtype
) -> None:
    coords = write_h5(tmp_path / "c.h5", coords=(XY[None], trident_attributes(slide)))
    tensor = torch.from_numpy(vectors_of(4)).to(dtype)
    torch.save(tensor[None], tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    _, vectors = read(tmp_path / "a.pt", slide, coords=coords)
    np.testing.assert_array_equal(vectors, tensor.float().numpy())


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)  # type: ignore[attr-defined]


def test_code_in_a_tensor_file_is_not_run(slide: SlideReader, tmp_path: Path) -> None:
    coords = write_h5(tmp_path / "c.h5", coords=(XY, trident_attributes(slide)))
    hostile = Hostile()
    hostile.path = tmp_path / "made"  # type: ignore[attr-defined]
    torch.save(hostile, tmp_path / "a.pt", pickle_module=pickle)
    with pytest.raises(ValueError, match="no PyTorch file of a tensor"):
        read(tmp_path / "a.pt", slide, coords=coords)
    assert not hostile.path.exists()  # type: ignore[attr-defined]


def bad_files(folder: Path, slide: SlideReader) -> dict[str, tuple[Path, dict[str, Any]]]:
    about, four = trident_attributes(slide), (vectors_of(4), {})
    (folder / "no.h5").write_bytes(b"nothing")
    (folder / "no.pt").write_bytes(b"nothing")
    (folder / "no.txt").write_bytes(b"nothing")
    coords = write_h5(folder / "coords.h5", coords=(XY, about))
    other = write_h5(folder / "other.h5", coords=(XY + 1, about))
    nan = vectors_of(4)
    nan[2, 3] = np.nan
    torch.save({"a": 1}, folder / "dict.pt")
    full = write_h5(folder / "full.h5", features=four, coords=(XY, about))
    alone = write_h5(folder / "alone.h5", features=four)
    deep = write_h5(
        folder / "deep.h5", features=four, coords=(XY, {"patch_size": 8, "patch_level": 9})
    )
    whole = write_h5(folder / "whole.h5", features=(vectors_of(4)[0], {}), coords=(XY, about))
    fewer = write_h5(folder / "fewer.h5", features=(vectors_of(3), {}), coords=(XY, about))
    empty = write_h5(folder / "e.h5", features=(vectors_of(0), {}), coords=(XY[:0], about))
    broken = write_h5(folder / "nan.h5", features=(nan, {}), coords=(XY, about))
    marked = write_h5(
        folder / "mark.h5", features=four, coords=(XY, {**about, "pathfm": '{"key": 1}'})
    )
    return {
        "no HDF5 file": (folder / "no.h5", {}),
        "there is no file": (folder / "nowhere.h5", {}),
        "no PyTorch file": (folder / "no.pt", {"coords": coords}),
        "no tensor": (folder / "dict.pt", {"coords": coords}),
        "it is no TRIDENT or CLAM file": (folder / "no.txt", {}),
        "it has no features": (coords, {}),
        "different coordinates": (full, {"coords": other}),
        "does not say where its tiles are": (alone, {}),
        "the slide has 3 levels": (deep, {}),
        "vectors of whole slides": (whole, {}),
        "3 vectors for 4 tiles": (fewer, {}),
        "it has no tiles": (empty, {}),
        "the vector in row 2": (broken, {}),
        "entry is damaged": (marked, {}),
    }


def test_what_is_wrong_is_said(slide: SlideReader, tmp_path: Path) -> None:
    for message, (path, told) in bad_files(tmp_path, slide).items():
        with pytest.raises(ValueError, match=message):
            read(path, slide, **told)


@settings(max_examples=12)
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
    (trident,) = write_features("trident", folder / "a.h5", out)
    _, features, tensor = write_features("clam", folder, out)
    for path in (trident, features, tensor):
        found, vectors = read(path, slide)
        np.testing.assert_array_equal(vectors, out.embeddings.vectors)
        np.testing.assert_array_equal(found.corners, out.origins)
        assert found.side == pytest.approx(out.grid.side, abs=0.5)
        assert found.shape in (slide.levels[0].shape, None)
        assert found.origin is not None
        assert found.origin.key == out.embeddings.key
        assert found.origin == read_mark(out.mark)
        assert (found.origin.spec, found.origin.plan) == (out.grid.spec, out.grid.plan)


def test_trident_would_cut_the_same_tiles(slide: SlideReader, tmp_path: Path) -> None:
    """By its own arithmetic: ``round(patch_size * level0 / target)`` pixels at coords."""
    out = outgoing(slide, TileSpec(224, 0.81))
    write_features("trident", tmp_path / "a.h5", out)
    with h5py.File(tmp_path / "a.h5") as file:
        about = file["coords"].attrs
        names = {*trident_attributes(slide), "pathfm"}
        assert set(about) == names
        ratio = about["level0_magnification"] / about["target_magnification"]
        assert round(about["patch_size"] * ratio) == round(out.grid.side) == 363
        assert about["patch_size_level0"] == 363
        assert file["coords"].dtype == np.int64
        assert file["features"].attrs["encoder"] == "uni_v1"


def test_trident_needs_a_magnification(write_slide: Callable[..., Any], tmp_path: Path) -> None:
    write_slide(tmp_path / "slide.tif", mpp=None)
    with open_slide(tmp_path / "slide.tif") as unknown:
        out = outgoing(unknown, TileSpec(224, None))
        with pytest.raises(ValueError, match="micrometres per pixel"):
            write_features("trident", tmp_path / "a.h5", out)
        _, features, _ = write_features("clam", tmp_path, out)
        assert len(read(features, unknown)[0]) == len(out.embeddings)


def test_formats_and_suffixes(slide: SlideReader, tmp_path: Path) -> None:
    out = outgoing(slide, TileSpec())
    with pytest.raises(ValueError, match="choose one of trident, clam, anndata, spatialdata"):
        write_features("npz", tmp_path / "a.npz", out)
    for form in ("trident", "anndata"):
        with pytest.raises(ValueError, match="ends in"):
            write_features(form, tmp_path / "a.npz", out)
    assert not list(tmp_path.iterdir())


def test_a_level_of_half_pixels(tmp_path: Path, slide: SlideReader) -> None:
    """Level downsamples are not whole numbers; CLAM rounds them down, the tiles do not."""
    levels = (slide.levels[0], Level((400, 600), 2.5, (128, 128)))
    path = write_h5(
        tmp_path / "a.h5",
        features=(vectors_of(4), {}),
        coords=(XY, {"patch_size": 100, "patch_level": 1, "custom_downsample": 2}),
    )
    with open_features(path, levels, Told()) as found:
        assert found.side == 500


def test_clam_reads_our_files(slide: SlideReader, tmp_path: Path) -> None:
    """With CLAM's own data sets, where its repository is on the path."""
    bags = pytest.importorskip("dataset_modules.dataset_generic", reason="CLAM is not there")
    patches = pytest.importorskip("dataset_modules.dataset_h5", reason="CLAM is not there")
    import openslide
    import pandas

    out = outgoing(slide, TileSpec(224, 0.5))
    write_features("clam", tmp_path, out)
    bag = bags.Generic_MIL_Dataset.__new__(bags.Generic_MIL_Dataset)
    bag.slide_data = pandas.DataFrame({"slide_id": [slide.name], "label": [1]})
    bag.data_dir = str(tmp_path)
    for from_h5 in (True, False):
        bag.load_from_h5(from_h5)
        np.testing.assert_array_equal(bag[0][0].numpy(), out.embeddings.vectors)
    wsi = openslide.OpenSlide(slide.path)
    tiles = patches.Whole_Slide_Bag_FP(
        str(tmp_path / "patches" / f"{slide.name}.h5"), wsi, np.asarray
    )
    for number in (0, len(tiles) - 1):
        ours = slide.tile(out.grid, number)
        assert np.abs(tiles[number]["img"].astype(int) - ours).mean() < 1
