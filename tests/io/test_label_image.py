"""Label images of every kind that is read: TIFF in all its cuts, PNG, .npy, OME-Zarr."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from napari_pathfm.io.interop import label_image
from napari_pathfm.io.interop.label_image import LabelFacts, is_image, open_labels
from napari_pathfm.io.interop.label_tiff import LabelTiff
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

Write = Callable[[Path, NDArray[Any]], None]


def labels(dtype: str, height: int = 300, width: int = 421) -> NDArray[Any]:
    rng = np.random.default_rng(1)
    small = rng.integers(0, min(np.iinfo(dtype).max, 1 << 31), (height // 20 + 1, width // 20 + 1))
    return np.kron(small, np.ones((20, 20)))[:height, :width].astype(dtype)


def check(path: Path, wanted: NDArray[Any]) -> None:
    """Read it as a whole, and in pieces that lie across its own."""
    assert is_image(path)
    image = open_labels(path)
    height, width = wanted.shape
    assert image.shapes[0] == wanted.shape
    assert (image.read(0, 0, 0, height, width) == wanted).all()
    for y, x, rows, cols in ((0, 0, 1, 1), (13, 100, 150, 260), (height - 5, width - 7, 5, 7)):
        part = image.read(0, y, x, rows, cols)
        assert part.shape == (rows, cols)
        assert (part == wanted[y : y + rows, x : x + cols]).all()
    image.close()
    image.close()


TIFFS: dict[str, dict[str, Any]] = {
    "strip": {},
    "strips": {"rowsperstrip": 16, "compression": "zlib", "predictor": True},
    "tiles": {"tile": (64, 128), "compression": "lzw"},
    "uncompressed tiles": {"tile": (64, 64)},
    "bigtiff": {"tile": (128, 128), "compression": "zstd", "bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "big-endian tiles": {"byteorder": ">", "tile": (64, 64), "compression": "zlib"},
    "ome": {"ome": True, "tile": (64, 64), "compression": "zlib"},
}


OF_FILE = ("bigtiff", "byteorder", "ome")


@pytest.mark.parametrize("kind", TIFFS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_tiff(tmp_path: Path, kind: str, dtype: str) -> None:
    options = dict(TIFFS[kind])
    of_file = {
        name: options.pop(name) for name in ("bigtiff", "byteorder", "ome") if name in options
    }
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, **of_file) as file:
        file.write(labels(dtype), photometric="minisblack", **options)
    check(path, labels(dtype))


def test_a_pyramid_in_tiff(tmp_path: Path) -> None:
    path, wanted = tmp_path / "a.ome.tif", labels("uint16")
    with tifffile.TiffWriter(path, ome=True) as file:
        options: dict[str, Any] = {"tile": (64, 64), "photometric": "minisblack"}
        file.write(wanted, subifds=2, **options)
        file.write(wanted[::2, ::2], subfiletype=1, **options)
        file.write(wanted[::4, ::4], subfiletype=1, **options)
    check(path, wanted)
    image = open_labels(path)
    assert image.shapes == ((300, 421), (150, 211), (75, 106))
    assert (image.read(2, 5, 6, 70, 100) == wanted[::4, ::4][5:, 6:]).all()


def test_one_bit(tmp_path: Path) -> None:
    wanted = labels("uint8") > 100
    tifffile.imwrite(tmp_path / "a.tif", wanted, photometric="minisblack")
    Image.fromarray(wanted).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", wanted)
    for name in ("a.tif", "a.png", "a.npy"):
        check(tmp_path / name, wanted)


def test_png(tmp_path: Path) -> None:
    for dtype in ("uint8", "uint16"):
        Image.fromarray(labels(dtype)).save(tmp_path / "a.png")
        check(tmp_path / "a.png", labels(dtype))


def test_a_palette_gives_colours(tmp_path: Path) -> None:
    image = Image.fromarray(labels("uint8") % 3, "P")
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 100, 255])
    image.save(tmp_path / "a.png")
    check(tmp_path / "a.png", labels("uint8") % 3)
    facts = open_labels(tmp_path / "a.png").facts
    assert facts[1] == LabelFacts(color="#c80000")
    assert facts[2].color == "#0064ff"


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, order: Any) -> None:
    for dtype in ("uint8", "uint16", "uint32", "int64"):
        np.save(tmp_path / "a.npy", np.array(labels(dtype)[None], order=order))
        check(tmp_path / "a.npy", labels(dtype))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "tczyx", "xy"])
def test_ome_zarr(tmp_path: Path, version: str, axes: str) -> None:
    wanted = labels("uint32")
    write_ome_zarr(tmp_path / "a.zarr", version, axes, [wanted, wanted[::2, ::2]])
    for place in ("", "labels", "labels/nuclei"):
        check(tmp_path / "a.zarr" / place, wanted)
    image = open_labels(tmp_path / "a.zarr")
    assert image.shapes == ((300, 421), (150, 211))
    assert (image.read(1, 3, 4, 100, 200) == wanted[::2, ::2][3:103, 4:204]).all()
    assert image.facts == {
        1: LabelFacts("Tumor", "Tumor", "#c80000"),
        2: LabelFacts("lymph", "", ""),
        7: LabelFacts("", "", "#0a141e"),
    }


def write_ome_zarr(path: Path, version: str, axes: str, levels: list[NDArray[Any]]) -> None:
    new = version == "0.5"
    root = zarr.open_group(path, mode="w", zarr_format=3 if new else 2)
    group = root.create_group("labels")
    group.attrs.update({"ome": {"labels": ["nuclei"]}} if new else {"labels": ["nuclei"]})
    nuclei = group.create_group("nuclei")
    for number, level in enumerate(levels):
        data = level.T if axes == "xy" else level.reshape((1,) * (len(axes) - 2) + level.shape)
        array = nuclei.create_array(
            str(number),
            shape=data.shape,
            chunks=(1,) * (data.ndim - 2) + (64, 64),
            dtype=data.dtype,
        )
        array[:] = data
    about = {
        "version": version,
        "multiscales": [
            {
                "axes": [{"name": name, "type": "space"} for name in axes],
                "datasets": [{"path": str(n)} for n in range(len(levels))],
            }
        ],
        "image-label": {
            "colors": [
                {"label-value": 1, "rgba": [200, 0, 0, 255]},
                {"label-value": 7, "rgba": [10, 20, 30, 255]},
            ],
            "properties": [
                {"label-value": 1, "class": "Tumor"},
                {"label-value": 2, "name": "lymph"},
            ],
        },
    }
    nuclei.attrs.update({"ome": about} if new else about)


def test_our_own_masks(tmp_path: Path) -> None:
    wanted = labels("uint16", 1100, 1300)
    with Project.open(tmp_path / "p") as project:
        layer = AnnotationLayer.open(project, "ab", "regions", wanted.shape)
        layer.commit(layer.paint_edit(0, 0, wanted, None, "draw"))
        check(project.slide_store("ab") / "masks" / "regions", wanted)


def rgb(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((50, 50, 3), np.uint8), photometric="rgb")


def planes(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((4, 50, 50), np.uint8), photometric="minisblack")


def floats(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((50, 50), np.float32))


def lossy(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), tile=(64, 64), compression="jpeg")


def cut(path: Path) -> None:
    tifffile.imwrite(path, labels("uint16"), tile=(64, 64), compression="zlib")
    path.write_bytes(path.read_bytes()[:3000])


def colour_png(path: Path) -> None:
    Image.new("RGB", (30, 30)).save(path, "png")


def cut_png(path: Path) -> None:
    Image.fromarray(labels("uint8")).save(path, "png")
    path.write_bytes(path.read_bytes()[:200])


def objects_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}], object), allow_pickle=True)


def cube_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 4, 5), np.uint8))


def short_npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, labels("uint32"))
    path.write_bytes(path.read_bytes()[:500])


def empty_folder(path: Path) -> None:
    path.mkdir()


def nothing_known(path: Path) -> None:
    path.write_bytes(b"hello")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (rgb, "colours"),
        (planes, "one plane"),
        (floats, "whole numbers"),
        (lossy, "JPEG"),
        (cut, "cut off"),
        (colour_png, "RGB"),
        (cut_png, "cannot be read"),
        (objects_npy, "Python objects"),
        (cube_npy, "one plane"),
        (short_npy, "cannot be read"),
        (empty_folder, "group"),
        (nothing_known, "neither TIFF nor PNG"),
    ],
)
def test_what_cannot_be_read_says_why(
    tmp_path: Path, write: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "broken"
    write(path)
    with pytest.raises(ValueError, match=words) as raised:
        open_labels(path)
    assert "broken" in str(raised.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no file"):
        open_labels(tmp_path / "a.tif")


def test_several_sets_of_labels(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.create_group("labels").attrs["labels"] = ["nuclei", "glands"]
    with pytest.raises(ValueError, match="nuclei, glands"):
        open_labels(tmp_path / "a.zarr")


def test_a_damaged_tile_says_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, labels("uint16"), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].dataoffsets[3]
    data = bytearray(path.read_bytes())
    data[at : at + 20] = bytes(20)
    path.write_bytes(data)
    image = open_labels(path)
    image.read(0, 0, 0, 60, 60)
    with pytest.raises(ValueError, match=r"a\.tif"):
        image.read(0, 0, 0, 60, 300)


def test_a_piece_too_large_to_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_pathfm.io.interop import label_tiff

    monkeypatch.setattr(label_tiff, "LARGEST_SEGMENT", 1000)
    monkeypatch.setattr(label_image, "LARGEST_PNG", 1000)
    tifffile.imwrite(tmp_path / "a.tif", labels("uint16"), compression="zlib")
    Image.fromarray(labels("uint8")).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        with pytest.raises(ValueError, match="in parts"):
            open_labels(tmp_path / name)


def test_a_closed_file_lets_go_of_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, labels("uint16"), tile=(64, 64), compression="zlib")
    image = open_labels(path)
    assert isinstance(image, LabelTiff)
    image.read(0, 0, 0, 300, 421)
    (level,) = image._levels
    assert level._segment.cache_info().currsize == 35
    image.close()
    assert level._segment.cache_info().currsize == 0
    with pytest.raises(ValueError, match="closed"):
        image.read(0, 0, 0, 5, 5)
