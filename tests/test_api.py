"""The verbs from Python, on a real slide and a real network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_pathfm as pathfm
from napari_pathfm import api
from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.core.jobs import Progress
from napari_pathfm.io.errors import ProjectError

from .worded import Apart

pytestmark = pytest.mark.real


@pytest.fixture
def path(material: Path) -> Path:
    return material / "slides" / "CMU-1-Small-Region.svs"


def test_from_a_slide_to_similar_tiles(path: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    with pathfm.open_slide(path) as slide:
        tissue = pathfm.tissue(slide)
        grid = pathfm.tiles(slide, tissue, mpp=1.0)
        made = pathfm.embed(slide, grid, project=tmp_path / "p", report=seen.append)
        assert len(made) == len(grid) > 10
        assert seen[-1].done == seen[-1].total == len(grid)
        assert seen[-1].unit == "tiles"
        coordinates = pathfm.umap(made)
        assert coordinates.xy.shape == (len(grid), 2)
        hits = pathfm.search(made, 3, k=4)
        assert len(hits) == 4
        assert 3 not in hits.tiles
        assert (np.diff(hits.values) <= 0).all()
        rows = made.in_grid_order().vectors
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        assert hits.values[0] == pytest.approx(np.delete(rows @ rows[3], 3).max(), abs=1e-5)
        kept_grid, kept = pathfm.load_embeddings(slide, tmp_path / "p")
        assert kept_grid.hash == grid.hash
        assert (kept.in_grid_order().vectors == made.in_grid_order().vectors).all()
        with pytest.raises(ProjectError, match="pathfm embed"):
            pathfm.load_embeddings(slide, tmp_path / "p", "uni")


def test_classes_by_their_names(synthetic: Path, tmp_path: Path) -> None:
    encoder = Apart()
    classes = {"tumor": ["tumor", "carcinoma"], "stroma": []}
    with pathfm.open_slide(synthetic) as slide:
        grid = pathfm.tiles(slide, mpp=4.0)
        made = pathfm.embed(slide, grid, encoder, project=tmp_path / "p")
        found = pathfm.zero_shot(slide, grid, made, classes, encoder, tmp_path / "p")
        seen = encoder.embedded
        hits = pathfm.search_text(slide, grid, made, "tumor", 2, encoder, tmp_path / "p")
        assert encoder.embedded == seen == len(grid)  # for texts once
        _, kept = pathfm.load_embeddings(slide, tmp_path / "p", "clip")
    assert kept.key.pooling == "cls"  # not those for texts
    assert found.cosines.shape == (len(grid), 2)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-6)
    assert len(hits) == 2


def test_from_a_prompt_to_training_data(path: Path, tmp_path: Path) -> None:
    with pathfm.open_slide(path) as slide, pathfm.open_project(tmp_path / "p") as project:
        project.set_classes([AnnotationClass(1, "gland", "#d55e00")])
        candidate = pathfm.segment(slide, box=(1200, 900, 1500, 1250))
        assert candidate.mask.any()
        pathfm.commit(project, slide, candidate, "gland")
        with pytest.raises(ValueError, match="no class 'glnd'"):
            pathfm.commit(project, slide, candidate, "glnd")
        report = pathfm.export(project, tmp_path / "out", patch_px=256)
    assert report.objects == 1
    index = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert index["num_classes"] == 1
    assert len(index["data"]["train"]) == report.patches["train"] > 0
    (facts,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["slides"]
    assert facts["objects"][0]["model"] == "pathfm-click"
    assert facts["objects"][0]["prompts"]["box"] == [1200, 900, 1500, 1250]


def test_points_alone_are_refused_with_a_remedy(path: Path) -> None:
    with pathfm.open_slide(path) as slide, pytest.raises(ValueError, match="draw a box"):
        pathfm.segment(slide, points=[(1300, 1000)], segmenter="litemedsam")


def test_a_click_is_enough(path: Path) -> None:
    with pathfm.open_slide(path) as slide:
        answer = pathfm.segment(slide, points=[(1300, 1000)])
    assert answer.mask.any()
    assert answer.model == "pathfm-click"


def test_a_missing_slide_stops_an_export_only_if_it_is_annotated(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    for name in ("a", "b"):
        file = tmp_path / f"{name}.tif"
        tifffile.imwrite(file, np.roll(pixels, ord(name)), tile=(256, 256), photometric="rgb")
    with pathfm.open_project(tmp_path / "p") as project:
        project.set_classes([AnnotationClass(1, "gland", "#d55e00")])
        with pathfm.open_slide(tmp_path / "a.tif", mpp=0.5) as a:
            pathfm.commit(project, a, pathfm.segment(a, box=(100, 100, 300, 300)), "gland")
        with pathfm.open_slide(tmp_path / "b.tif", mpp=0.5) as b:
            project.add_slide(b)
        (tmp_path / "b.tif").unlink()
        assert pathfm.export(project, tmp_path / "out").objects == 1


def test_models_are_listed_with_their_licences() -> None:
    listed = api.models()
    encoders = {each["name"]: each for each in listed["encoders"]}
    assert encoders["efficientnet-lite0"]["licence"] == "Apache-2.0"
    assert encoders["uni"]["commercial"] is False
    assert "litemedsam" in [each["name"] for each in listed["segmenters"]]
