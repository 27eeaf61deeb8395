"""OME-Zarr folders of both versions, written here with zarr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.reader import open_slide
from napari_pathfm.io.reader_napari import get_reader, read_slides

Draw = Callable[..., np.ndarray]

ORDERS = {"cyx": (2, 0, 1), "yxc": (0, 1, 2), "tczyx": (2, 0, 1)}


def write(
    path: Path, levels: list[np.ndarray], version: str, axes: str = "cyx", chunk: int = 256,
    unit: str = "micrometer", **how: Any,
) -> None:  # fmt: skip
    """Write a pyramid; `levels` are ``(h, w, 3)``, each half as large as the one before."""
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for number, level in enumerate(levels):
        pixels = level.transpose(ORDERS[axes])
        pixels = pixels[None, :, None] if axes == "tczyx" else pixels
        named_sizes = zip(axes, pixels.shape, strict=True)
        chunks = tuple(chunk if axis in "yx" else size for axis, size in named_sizes)
        sides = {"y": 0.25 * 2**number, "x": 0.25 * 2**number}
        group.create_array(str(number), data=pixels, chunks=chunks, **how)
        scale = {"type": "scale", "scale": [sides.get(axis, 1.0) for axis in axes]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    named = [axis | ({"unit": unit} if axis["type"] == "space" else {}) for axis in named]
    image: dict[str, Any] = {"axes": named, "datasets": datasets, "name": "drawn"}
    if version == "0.4":
        group.attrs["multiscales"] = [image | {"version": version}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [image]}


@pytest.fixture
def levels(picture: Draw) -> list[np.ndarray]:
    return [picture(*shape) for shape in ((1100, 1500), (550, 750), (275, 375))]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ORDERS)
def test_every_order_of_axes_gives_its_pixels(
    levels: list[np.ndarray], tmp_path: Path, version: str, axes: str
) -> None:
    path = tmp_path / "slide.ome.zarr"
    write(path, levels, version, axes)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(0.25)
        assert slide.properties["ome.version"] == version
        assert [level.tile_shape for level in slide.levels] == [(512, 512)] * 3
        assert [level.downsample for level in slide.levels] == [1, 2, 4]
        for number, pixels in enumerate(levels):
            read = slide.read(number, 0, 0, *pixels.shape[:2])
            np.testing.assert_array_equal(read, pixels)
        assert (slide.read(0, 1100, 0, 20, 20) == 255).all()
    with pytest.raises(SlideError, match="closed"):
        slide.read(0, 0, 0, 10, 10)


def test_shards_units_and_missing_levels(levels: list[np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "slide.zarr"
    write(path, levels[:1], "0.5", unit="nanometer", chunk=128, shards=(3, 512, 512))
    with open_slide(path) as slide:
        assert slide.mpp is None, "a quarter of a nanometre is no slide's"
        assert len(slide.levels) == 2
        np.testing.assert_array_equal(
            slide.read(0, 500, 500, 300, 300), levels[0][500:800, 500:800]
        )


def test_the_same_pixels_are_the_same_slide(levels: list[np.ndarray], tmp_path: Path) -> None:
    ids = []
    for name, pixels in (("a", levels), ("b", levels), ("c", [255 - each for each in levels])):
        write(tmp_path / f"{name}.zarr", pixels, "0.5")
        with open_slide(tmp_path / f"{name}.zarr") as slide:
            ids.append(slide.id)
    assert ids[0] == ids[1] != ids[2]


def test_napari_gets_a_pyramid_and_keeps_other_folders(
    levels: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "slide.zarr"
    write(path, levels, "0.4")
    assert get_reader(str(path)) is not None
    ((data, facts, _),) = read_slides(str(path))
    assert data[0].shape == (1100, 1500, 3)
    assert facts["units"] == ("um", "um")
    facts["metadata"]["pathfm"]["loader"].close()
    facts["metadata"]["pathfm"]["slide"].close()
    zarr.create_array(tmp_path / "other.zarr", shape=(5, 5), dtype="u2", zarr_format=3)
    assert get_reader(str(tmp_path / "other.zarr")) is None
    assert get_reader(str(tmp_path)) is None


def test_what_is_no_slide_is_told(levels: list[np.ndarray], tmp_path: Path) -> None:
    grey = tmp_path / "deep.zarr"
    write(grey, [level.astype(np.uint16) for level in levels], "0.5")
    with pytest.raises(SlideError, match=r"uint16.*not one plane of three 8-bit channels"):
        open_slide(grey)
    zarr.create_group(tmp_path / "plain.zarr", zarr_format=3)
    with pytest.raises(SlideError, match="describe no image"):
        open_slide(tmp_path / "plain.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(SlideError, match="zarr cannot read it"):
        open_slide(tmp_path / "empty.zarr")
    write(tmp_path / "huge.zarr", [np.zeros((5000, 10, 3), np.uint8)], "0.5", chunk=5000)
    with pytest.raises(SlideError, match="chunks of 5000 x 5000"):
        open_slide(tmp_path / "huge.zarr")


def test_a_damaged_chunk_is_an_error_of_that_place(
    levels: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "slide.zarr"
    write(path, [np.flip(level) for level in levels], "0.5")  # not in the cache
    (path / "0" / "c" / "0" / "0" / "0").write_bytes(b"no chunk")
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="y 0, x 0: the chunk is damaged"):
            slide.read(0, 0, 0, 10, 10)
        assert slide.read(0, 600, 600, 10, 10).shape == (10, 10, 3)
