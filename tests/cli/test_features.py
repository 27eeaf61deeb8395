"""Features of other programs on the command line and from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import napari_pathfm as pathfm
from napari_pathfm.__main__ import app
from napari_pathfm.io.project import Project
from napari_pathfm.io.store import FeatureStore

from ..io.conftest import _write_slide
from ..io.features import KEY, trident_attributes, vectors_of, write_h5

XY = np.array([[0, 0], [384, 0], [0, 384], [900, 384]], np.int64)


def pathfm_features(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, ["features", *(str(argument) for argument in arguments)])


def answered(*arguments: str | Path | int) -> Any:
    result = pathfm_features(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    _write_slide(tmp_path / "case 1.tif")
    return tmp_path / "case 1.tif"


def test_features_of_trident_can_be_searched(slide: Path, tmp_path: Path) -> None:
    with pathfm.open_slide(slide) as opened:
        about = trident_attributes(opened)
    features = (vectors_of(4, 1024), {"encoder": "uni_v1"})
    path = write_h5(tmp_path / "a.h5", features=features, coords=(XY, about))
    made = answered("import", path, "--slide", slide)
    assert (made["encoder"], made["pooling"], made["added"]) == ("uni", "cls", 4)
    assert (made["program"], made["weights"]) == ("TRIDENT", "uni_v1 of TRIDENT")
    found = CliRunner().invoke(
        app, ["search", str(slide), "--tile", "0", "--encoder", "uni", "--json"]
    )
    hits = json.loads(found.stdout)["hits"]
    vectors = vectors_of(4, 1024)[[0, 1, 2, 3]]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best = 1 + int((unit[1:] @ unit[0]).argmax())
    assert (hits[0]["tile"], hits[0]["x"]) == (best, XY[best][0])


@pytest.mark.parametrize("form", ["trident", "clam", "anndata", "spatialdata"])
def test_ours_go_out_and_come_back(form: str, slide: Path, tmp_path: Path) -> None:
    with pathfm.open_slide(slide) as opened:
        grid = pathfm.tiles(opened, tile_px=256, mpp=1.0)
        with Project.open(tmp_path / "p") as project:
            project.add_slide(opened)
            store = FeatureStore(project.slide_store(opened.id), KEY, grid)
            with store.lock():
                store.append(np.arange(len(grid)), vectors_of(len(grid), 1024))
    suffix = {"trident": ".h5", "anndata": ".h5ad"}.get(form, "")
    made = answered(
        "export", slide, "--project", tmp_path / "p", "--encoder", "uni", "--format", form,
        "-o", tmp_path / f"out{suffix}",
    )  # fmt: skip
    assert made["tiles"] == len(grid)
    came = answered("import", made["files"][-1], "--slide", slide, "--project", tmp_path / "q")
    assert (came["grid"], came["weights"], came["added"]) == (grid.hash, KEY.weights, len(grid))


def test_what_is_told_and_what_is_wrong(slide: Path, tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", features=(vectors_of(4, 1024), {}), coords=(XY, {}))
    wrong = pathfm_features("import", path, "--slide", slide)
    assert wrong.exit_code == 3
    assert "--encoder" in wrong.stderr
    made = answered(
        "import", path, "--slide", slide, "--encoder", "uni_v1", "--side", 512, "--tile-px", 256
    )
    assert made["weights"] == "uni_v1 of CLAM"
    absent = pathfm_features(
        "export", slide, "--encoder", "virchow2", "--format", "trident", "-o", tmp_path / "b.h5"
    )
    assert absent.exit_code == 5
    assert "has not been embedded with virchow2" in absent.stderr
    suffix = pathfm_features(
        "export", slide, "--encoder", "uni", "--format", "trident", "-o", tmp_path / "b.npz"
    )
    assert suffix.exit_code == 3
    assert "ends in .h5" in suffix.stderr
