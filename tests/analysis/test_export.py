"""Exported training data, read back by plain code that knows nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_pathfm.analysis.export import ExportReport, export_dataset
from napari_pathfm.core.edits import AnnotationClass, ObjectRow
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.jobs import run
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.store import FeatureStore

SHAPE = (2100, 3000)
CLASSES = (AnnotationClass(4, "stroma", "#0072b2"), AnnotationClass(2, "tumor", "#d55e00"))


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 255, (*SHAPE, 3), np.uint8)


@pytest.fixture
def slide(tmp_path: Path, rgb: NDArray[np.uint8]) -> Iterator[SlideReader]:
    """A lossless pyramid of noise: a pixel at the wrong place cannot be overlooked."""
    path = tmp_path / "Doe^Jane case 1.tif"
    with tifffile.TiffWriter(path) as file:
        options = {"tile": (256, 256), "compression": "deflate", "photometric": "rgb"}
        resolution = {"resolution": (2e4, 2e4), "resolutionunit": 3}  # 0.5 um per pixel
        file.write(rgb, subifds=0, **options, **resolution)
        file.write(rgb[::4, ::4], subfiletype=1, **options)
    with open_slide(path, mpp=0.5) as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path, slide: SlideReader) -> Iterator[Project]:
    with Project.open(tmp_path / "project", author="ada") as opened:
        opened.set_classes(CLASSES)
        opened.add_slide(slide)
        yield opened


def paint(
    project: Project, slide: SlideReader, place: tuple[int, int, int, int], class_id: int
) -> int:
    layer = AnnotationLayer.open(project, slide.id, "regions", SHAPE)
    y, x, height, width = place
    number = layer.new_id()
    row = ObjectRow(
        number, class_id, how="prompt", model="litemedsam", prompts='{"box": [1, 2, 3, 4]}'
    )
    ids = np.full((height, width), number, np.uint32)
    layer.commit(layer.paint_edit(y, x, ids, None, "paint", rows={number: row}))
    return number


def export(project: Project, slide: SlideReader, out: Path, **options: object) -> ExportReport:
    return run(export_dataset(project, out, slides={slide.id: slide}, **options))  # type: ignore[arg-type]


def read_back(out: Path) -> dict[str, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]:
    """Read a dataset the way any training script does."""
    index = json.loads((out / "dataset.json").read_text())
    assert set(index) == {"num_classes", "data"}
    assert list(index["data"]) == ["train", "val", "test"]
    found = {}
    for split, pairs in index["data"].items():
        assert all(set(pair) == {"image_path", "mask_path"} for pair in pairs)
        found[split] = [
            (
                np.array(Image.open(out / pair["image_path"])),
                np.array(Image.open(out / pair["mask_path"])),
            )
            for pair in pairs
        ]
    for pairs in found.values():
        for _, mask in pairs:
            assert set(np.unique(mask)) <= {*range(index["num_classes"]), 255}
    return found


def test_pixels_and_masks_are_where_they_were(
    project: Project, slide: SlideReader, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    paint(project, slide, (300, 400, 500, 700), 2)
    paint(project, slide, (350, 1000, 300, 300), 4)  # over the first, and beyond it
    truth = np.full(SHAPE, 255, np.uint8)
    truth[300:800, 400:1100] = 0  # tumor has the smaller id
    truth[350:650, 1000:1300] = 1
    report = export(project, slide, tmp_path / "out", patch_px=256)
    assert report.classes == ("tumor", "stroma")
    assert report.regions == 1
    pairs = read_back(tmp_path / "out")["train"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    places = {Path(p["image_path"]).name: (int(p["y"]), int(p["x"])) for p in manifest["patches"]}
    index = json.loads((tmp_path / "out" / "dataset.json").read_text())["data"]["train"]
    assert len(pairs) == len(places) == report.patches["train"] == 3 * 4 + 2
    seen = np.full(SHAPE, 255, np.uint8)
    for entry, (image, mask) in zip(index, pairs, strict=True):
        y, x = places[Path(entry["image_path"]).name]
        where = np.s_[y : y + 256, x : x + 256]
        height, width = truth[where].shape
        assert (image[:height, :width] == rgb[where]).all()
        assert (mask[:height, :width] == truth[where]).all()
        seen[where] = mask[:height, :width]
    assert (seen == truth).all()


def test_at_the_edge_of_the_slide(
    project: Project, slide: SlideReader, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    paint(project, slide, (2090, 2990, 10, 10), 2)
    export(project, slide, tmp_path / "out", patch_px=512)
    ((image, mask),) = read_back(tmp_path / "out")["train"]
    assert image.shape == (512, 512, 3)
    assert (image[: 2100 - 2048, : 3000 - 2560] == rgb[2048:, 2560:]).all()
    assert (image[2100 - 2048 :] == 255).all()
    assert (mask == 0).sum() == 100


def test_another_resolution(
    project: Project, slide: SlideReader, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    paint(project, slide, (0, 0, 512, 1024), 2)
    paint(project, slide, (512, 0, 512, 512), 4)
    export(project, slide, tmp_path / "out", patch_px=128, mpp=2.0)  # the level of a quarter
    patches = json.loads((tmp_path / "out" / "manifest.json").read_text())["patches"]
    assert {(p["y"], p["x"], p["side"], p["level"]) for p in patches} == {
        (0, 0, 512, 1),
        (0, 512, 512, 1),
        (512, 0, 512, 1),
    }
    quarter = rgb[::4, ::4]
    for patch in patches:
        image = np.array(Image.open(tmp_path / "out" / patch["image_path"]))
        mask = np.array(Image.open(tmp_path / "out" / patch["mask_path"]))
        y, x = int(patch["y"]) // 4, int(patch["x"]) // 4
        assert (image == quarter[y : y + 128, x : x + 128]).all()
        assert (mask == (1 if patch["y"] else 0)).all()


def test_regions_are_never_in_two_splits(
    project: Project, slide: SlideReader, tmp_path: Path
) -> None:
    for row in range(3):
        for col in range(4):
            paint(project, slide, (row * 700 + 10, col * 740 + 10, 300, 300), 2 + 2 * (col % 2))
    report = export(project, slide, tmp_path / "a", patch_px=128, split=(0.5, 0.25, 0.25))
    again = export(project, slide, tmp_path / "b", patch_px=128, split=(0.5, 0.25, 0.25))
    assert report.regions == 12
    assert all(report.patches.values())
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    splits: dict[int, set[str]] = {}
    for patch in manifest["patches"]:
        splits.setdefault(patch["region"], set()).add(patch["split"])
    assert {len(names) for names in splits.values()} == {1}
    assert (tmp_path / "a" / "dataset.json").read_text() == (
        tmp_path / "b" / "dataset.json"
    ).read_text()
    assert again.patches == report.patches


def test_the_manifest_says_where_everything_comes_from_and_names_nobody(
    project: Project, slide: SlideReader, tmp_path: Path
) -> None:
    number = paint(project, slide, (10, 10, 30, 30), 2)
    paint(project, slide, (50, 50, 30, 30), 0)
    report = export(project, slide, tmp_path / "out")
    assert report.unclassified == 1
    assert "no class yet counts as not annotated: 1 object." in report.summary()
    text = (tmp_path / "out" / "manifest.json").read_text()
    manifest = json.loads(text)
    assert manifest["classes"][0] == {"index": 0, "name": "tumor", "color": "#d55e00"}
    (facts,) = manifest["slides"]
    assert (facts["id"], facts["image_mpp"]) == (slide.id, 0.5)
    made = {each["id"]: each for each in facts["objects"]}
    assert made[number]["model"] == "litemedsam"
    assert made[number]["prompts"] == {"box": [1, 2, 3, 4]}
    assert made[number]["index"] == 0
    assert [each["index"] for each in facts["objects"]] == [0, None]
    assert str(slide.path.parent) not in text
    ((_, mask),) = read_back(tmp_path / "out")["train"]
    assert (mask == 0).sum() == 900
    assert (mask != 255).sum() == 900
    assert sorted(report.files) == sorted(
        path.relative_to(report.folder).as_posix()
        for path in report.folder.rglob("*")
        if path.is_file()
    )


def test_labelled_tiles(
    project: Project, slide: SlideReader, rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(224, 0.5))
    store = FeatureStore(project.slide_store(slide.id), FeatureKey("e", "avg", "w", "p"), grid)
    with store.lock():
        store.append(np.arange(3), np.zeros((3, 4), np.float32))
    project.set_labels(slide.id, grid.hash, {1: 2, 15: 4})
    project.set_labels(slide.id, "another grid", {7: 2})
    report = export(project, slide, tmp_path / "out")
    assert report.tiles == {"tumor": 1, "stroma": 1}
    assert report.unplaced == 1
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for tile in manifest["tiles"]:
        image = np.array(Image.open(tmp_path / "out" / tile["image_path"]))
        y, x = int(tile["y"]), int(tile["x"])
        assert (image == rgb[y : y + 224, x : x + 224]).all()
        assert Path(tile["image_path"]).parent.name == tile["class"]
        assert (np.array(Image.open(tmp_path / "out" / tile["mask_path"])) == tile["index"]).all()
    # Their corners touch: one region, all of it for training.
    assert len(read_back(tmp_path / "out")["train"]) == report.patches["train"] == 2
    assert report.regions == 1


def test_a_tile_is_in_the_split_of_the_objects_on_it(
    project: Project, slide: SlideReader, tmp_path: Path
) -> None:
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(224, 0.5))
    store = FeatureStore(project.slide_store(slide.id), FeatureKey("e", "avg", "w", "p"), grid)
    with store.lock():
        store.append(np.arange(1), np.zeros((1, 4), np.float32))
    project.set_labels(slide.id, grid.hash, {0: 2, 40: 2, 90: 2})
    paint(project, slide, (200, 200, 100, 100), 4)
    export(project, slide, tmp_path / "out", patch_px=128, split=(0.4, 0.3, 0.3))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    (patch, *others), (tile, *far) = manifest["patches"], manifest["tiles"]
    assert {each["split"] for each in others} | {tile["split"]} == {patch["split"]}
    assert len({each["region"] for each in (patch, *far)}) == 3
    mask = np.array(Image.open(tmp_path / "out" / tile["mask_path"]))
    assert (mask[200:, 200:] == 1).all()  # the object says more than the tile
    assert (mask == 0).sum() == 224**2 - 24**2


def test_nothing_to_export_is_said(project: Project, slide: SlideReader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Nothing is annotated"):
        export(project, slide, tmp_path / "out")
    paint(project, slide, (10, 10, 30, 30), 0)
    with pytest.raises(ValueError, match="has a class yet"):
        export(project, slide, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cancelled_it_leaves_nothing_behind(
    project: Project, slide: SlideReader, tmp_path: Path
) -> None:
    paint(project, slide, (0, 0, 900, 900), 2)
    before = sorted(tmp_path.iterdir())
    job = export_dataset(project, tmp_path / "out", slides={slide.id: slide}, patch_px=128)
    for _ in range(10):
        next(job)
    job.close()
    assert sorted(tmp_path.iterdir()) == before
