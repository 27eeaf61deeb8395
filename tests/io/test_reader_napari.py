"""napari's reader: what it takes, what it leaves to others, and what layers come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.reader_napari import get_reader, read_slides


def write_slide(path: Path, mpp: float | None = 0.5) -> np.ndarray:
    rgb = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    facts = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
    tifffile.imwrite(path, rgb, tile=(256, 256), compression="deflate", photometric="rgb", **facts)
    return rgb


def test_a_slide_becomes_a_pyramid_in_micrometres(tmp_path: Path) -> None:
    rgb = write_slide(tmp_path / "case 7.tiff")
    reader = get_reader(str(tmp_path / "case 7.tiff"))
    assert reader is not None
    ((levels, facts, kind),) = reader(str(tmp_path / "case 7.tiff"))
    assert kind == "image"
    assert facts["name"] == "case 7"
    assert facts["multiscale"]
    assert facts["rgb"]
    assert facts["scale"] == pytest.approx((0.5, 0.5))
    assert facts["units"] == ("um", "um")
    assert levels[0].shape == rgb.shape
    ours = facts["metadata"]["pathfm"]
    assert (ours["slide"].read(0, 10, 20, 5, 6) == rgb[10:15, 20:26]).all()
    ours["loader"].close()
    ours["slide"].close()


def test_without_mpp_the_unit_is_pixels(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", mpp=None)
    ((_, facts, _),) = read_slides([str(tmp_path / "a.tif")])
    assert facts["scale"] == (1.0, 1.0)
    assert facts["units"] == ("pixel", "pixel")
    facts["metadata"]["pathfm"]["loader"].close()
    facts["metadata"]["pathfm"]["slide"].close()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 64), np.uint16),
        np.zeros((5, 64, 64), np.uint8),
        np.zeros((64, 64, 3), np.uint8),
    ],
    ids=["grey", "stack", "small and in one piece"],
)
def test_other_tiffs_are_left_to_others(tmp_path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    assert get_reader(str(tmp_path / "a.tif")) is None
    assert get_reader([str(tmp_path / "a.tif")]) is None


def test_large_images_in_strips_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, shape=(9000, 300, 3), dtype=np.uint8, photometric="rgb")
    assert get_reader(str(path)) is not None


@pytest.mark.parametrize("name", ["a.svs", "a.tif"])
def test_no_slide_is_said_clearly(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this is no slide")
    reader = get_reader(str(tmp_path / name))
    assert reader is not None
    with pytest.raises(SlideError, match=name):
        reader(str(tmp_path / name))


@pytest.mark.real
def test_real_slides_are_taken(material: Path) -> None:
    for path in (material / "slides").iterdir():
        if path.suffix in (".svs", ".tif"):
            assert get_reader(str(path)) is not None
