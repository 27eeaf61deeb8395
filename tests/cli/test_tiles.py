"""``pathfm tiles``, and leaving tiles out before they are embedded."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm import api
from napari_pathfm.analysis.stain_normalise import Reference, find_look, typical
from napari_pathfm.cli.stain import StainName, reference
from napari_pathfm.core.jobs import run
from napari_pathfm.io.project import Project
from napari_pathfm.io.quality import load_quality

from .test_main import answered, pathfm


@pytest.fixture
def slide(material: Path) -> Path:
    return material / "slides" / "CMU-1-Small-Region.svs"


@pytest.mark.real
def test_tiles_are_measured_written_and_kept(slide: Path, tmp_path: Path) -> None:
    table, project = tmp_path / "tiles.csv", tmp_path / "project"
    options = ("--max-blur", "1.05", "--max-pen", "0.05", "-o", table, "--project", project)
    facts = answered("tiles", slide, *options)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert len(rows) == facts["of"]
    stay = [row for row in rows if row["stays"] == "1"]
    assert len(stay) == facts["tiles"]
    assert 0 < len(stay) < len(rows)
    assert all((float(row["blur_um"]) <= 1.05) == (row in stay) for row in rows)
    assert facts["limits"] == {"min_tissue": 0.5, "max_blur": 1.05, "max_pen": 0.05}
    with Project.open(project, read_only=True) as opened, api.open_slide(slide) as image:
        grid = api.tiles(image, api.tissue(image))
        kept = load_quality(opened.slide_store(image.id), grid.hash)
    assert kept is not None
    np.testing.assert_allclose(kept.blur, [float(row["blur_um"]) for row in rows], rtol=1e-3)
    assert "tiles stay; left out:" in pathfm("tiles", slide, "--max-blur", "1.05").stdout


@pytest.mark.real
def test_tiles_that_are_left_out_are_not_embedded(slide: Path, tmp_path: Path) -> None:
    options = ("--max-blur", "1.0", "--stain", "reinhard", "--project", tmp_path / "project")
    facts = answered("embed", slide, *options)
    with api.open_slide(slide) as image:
        tissue = api.tissue(image)
        whole = api.tiles(image, tissue)
        good = api.sift(whole, api.quality(image, whole, tissue), max_blur=1.0, max_pen=1).grid
    assert facts["tiles"] == len(good) < len(whole)
    assert facts["grid"] == good.hash
    assert facts["stain"] == typical("reinhard").name


@pytest.mark.real
def test_when_nothing_is_good_enough_it_says_why(slide: Path, tmp_path: Path) -> None:
    result = pathfm("embed", slide, "--max-blur", "0.2", "--project", tmp_path / "project")
    assert result.exit_code == 3
    assert "blurred" in result.stderr
    assert "--max-blur" in result.stderr


@pytest.mark.real
def test_a_slide_to_look_like(slide: Path) -> None:
    def quiet(_: object) -> None: ...

    found = reference(StainName.MACENKO, slide, quiet)
    with api.open_slide(slide) as image:
        look = run(find_look(image, api.tiles(image, api.tissue(image)), "macenko"))
    assert found is not None
    assert found.name == Reference("macenko", look).name
    assert reference(None, None, quiet) is None
    with pytest.raises(ValueError, match="--stain macenko"):
        reference(None, slide, quiet)
