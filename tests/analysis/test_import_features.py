"""Features of other programs as embeddings of a project, and ours in their files and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.cohort import State, stored_state
from napari_pathfm.analysis.export_features import export_features
from napari_pathfm.analysis.from_store import look_in_store
from napari_pathfm.analysis.import_features import FeatureImport, import_features
from napari_pathfm.analysis.slide_bags import SlideBags, check_alike
from napari_pathfm.api import load_embeddings
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.jobs import run
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.interop import tile_features
from napari_pathfm.io.interop.tile_features import Told, glass
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.store import FeatureStore, StoredFeatures, stored_features

from ..io.conftest import _picture, _write_slide
from ..io.features import KEY, trident_attributes, vectors_of, write_h5
from ..io.test_bounds import SCANNED, write_leica

XY = np.array([[900, 384], [0, 0], [384, 0], [0, 384]], np.int64)
FORMATS = {
    "trident": ("a.h5", "a.h5"),
    "clam": ("clam", "clam/pt_files/{name}.pt"),
    "anndata": ("a.h5ad", "a.h5ad"),
    "spatialdata": ("a.zarr", "a.zarr"),
}


@pytest.fixture
def slide(tmp_path: Path) -> Iterator[SlideReader]:
    _write_slide(tmp_path / "case 1.tif")
    with open_slide(tmp_path / "case 1.tif") as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "project") as opened:
        yield opened


def bring(path: Path, slide: SlideReader, project: Project, **told: Any) -> FeatureImport:
    return run(import_features(path, slide, project, Told(**told)))


def trident(
    folder: Path, slide: SlideReader, dim: int = 1024, encoder: str = "uni_v1", **changed: Any
) -> Path:
    about = trident_attributes(slide, **changed)
    features = (vectors_of(len(XY), dim), {"encoder": encoder})
    return write_h5(folder / f"{encoder}{dim}.h5", features=features, coords=(XY, about))


def stored(project: Project, slide: SlideReader) -> list[StoredFeatures]:
    return stored_features(project.slide_store(slide.id))


def embedded(
    project: Project, slide: SlideReader, key: FeatureKey = KEY, mpp: float = 0.81
) -> tuple[StoredFeatures, NDArray[np.float32]]:
    """Embeddings that were computed here, last tile first."""
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(128, mpp, 0.25))
    vectors = vectors_of(len(grid), 1024)
    store = FeatureStore(project.slide_store(slide.id), key, grid)
    with store.lock():
        store.append(np.arange(len(grid))[::-1], vectors[::-1])
    return next(each for each in stored(project, slide) if each.key == key), vectors


def test_features_of_trident(slide: SlideReader, project: Project, tmp_path: Path) -> None:
    made = bring(trident(tmp_path, slide), slide, project)
    (found,) = stored(project, slide)
    grid, embeddings = found.grid(), found.read().in_grid_order()
    assert grid.origins.tolist() == [[0, 0], [0, 384], [384, 0], [384, 900]]
    np.testing.assert_array_equal(embeddings.vectors, vectors_of(4, 1024)[[1, 2, 3, 0]])
    assert (found.key.encoder, found.key.pooling) == ("uni", "cls")
    assert found.key.weights == "uni_v1 of TRIDENT"
    assert (grid.side, grid.spec.mpp, grid.spec.tile_px, grid.spec.overlap) == (512, 1.0, 256, 0.25)
    assert (made.added, made.dim, made.program, made.notes) == (4, 1024, "TRIDENT", ())
    assert [row.id for row in project.slides()] == [slide.id]
    ((_, tiles),) = slide.tiles(grid)
    assert tiles.shape == (4, 256, 256, 3)
    assert "there already" in bring(trident(tmp_path, slide), slide, project).summary()


@pytest.mark.parametrize("form", FORMATS)
def test_there_and_back(form: str, slide: SlideReader, project: Project, tmp_path: Path) -> None:
    features, vectors = embedded(project, slide)
    out, back = FORMATS[form]
    made = run(export_features(features, slide, tmp_path / out, form))
    assert (made.tiles, made.dim) == (len(vectors), 1024)
    with Project.open(tmp_path / "other") as other:
        bring(tmp_path / back.format(name=slide.name), slide, other)
        (found,) = stored(other, slide)
        assert found.name == features.name
        assert found.key == KEY
        np.testing.assert_array_equal(found.read().in_grid_order().vectors, vectors)
    again = bring(tmp_path / back.format(name=slide.name), slide, project)
    assert (again.added, again.notes) == (0, ())


def test_a_part_of_a_slide_is_a_grid_of_its_own(
    slide: SlideReader, project: Project, tmp_path: Path
) -> None:
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(128, 0.81))
    store = FeatureStore(project.slide_store(slide.id), KEY, grid)
    with store.lock():
        store.append(np.array([5, 2]), vectors_of(2))
    (features,) = stored(project, slide)
    run(export_features(features, slide, tmp_path / "a.h5", "trident"))
    made = bring(tmp_path / "a.h5", slide, project)
    np.testing.assert_array_equal(made.grid.origins, grid.origins[[2, 5]])
    assert (made.grid.spec, made.grid.plan, made.added) == (grid.spec, grid.plan, 2)


def test_foreign_and_own_are_kept_apart(
    slide: SlideReader, project: Project, tmp_path: Path
) -> None:
    embedded(project, slide)
    made = bring(trident(tmp_path, slide), slide, project)
    (note,) = made.notes
    assert "must not be compared" in note
    assert "weights: 'uni_v1 of TRIDENT' here, 'ab12' there" in note
    assert len({each.name for each in stored(project, slide)}) == 2


def test_poolings_are_kept_apart_by_name(
    slide: SlideReader, project: Project, tmp_path: Path
) -> None:
    bring(trident(tmp_path, slide, 1280, "virchow2"), slide, project)
    made = bring(trident(tmp_path, slide, 2560, "virchow2"), slide, project)
    assert "pooling: 'cls+mean' here, 'cls' there" in made.notes[0]

    (row,) = project.slides()
    one, other = (SlideBags(row, (each,)) for each in stored(project, slide))
    check_alike(one, one.sources, "the others")
    with pytest.raises(ValueError, match=r"in another way than the others \(pooling: 'cls"):
        check_alike(one, other.sources, "the others")


def test_what_does_not_fit_is_refused(slide: SlideReader, project: Project, tmp_path: Path) -> None:
    good = trident(tmp_path, slide)
    nameless = trident(tmp_path, slide, encoder="None")
    cases = [
        (trident(tmp_path, slide, 77), {}, "uni makes no vectors of 77 numbers"),
        (good, {"encoder": "virchow2"}, r"are of uni \(uni_v1\), not of virchow2"),
        (nameless, {}, "add --encoder"),
        (nameless, {"encoder": "unheard-of"}, "add --pooling"),
        (
            trident(tmp_path, slide, 1025, level0_width=9999),
            {"pooling": "cls"},
            "no vectors of 1025",
        ),
        (trident(tmp_path, slide, level0_width=9999), {}, "of a slide of 9999 x 999 pixels"),
    ]
    for path, told, message in cases:
        with pytest.raises(ValueError, match=message):
            bring(path, slide, project, **told)
    far = write_h5(tmp_path / "far.h5", features=(vectors_of(4, 1024), {}), coords=(XY * 4, {}))
    with pytest.raises(ValueError, match="does not say how large its tiles are"):
        bring(far, slide, project, encoder="uni")
    with pytest.raises(ValueError, match="3 of its 4 tiles lie wholly outside"):
        bring(far, slide, project, encoder="uni", side=512)
    assert not stored(project, slide)
    nan = np.full((4, 1024), np.nan, np.float32)
    bad = write_h5(tmp_path / "nan.h5", features=(nan, {}), coords=(XY, {}))
    with pytest.raises(ValueError, match=r"nan\.h5 cannot be imported: the vector in row 0"):
        bring(bad, slide, project, encoder="uni", side=512)


def test_what_the_file_does_not_say_is_told(
    slide: SlideReader, project: Project, tmp_path: Path
) -> None:
    path = write_h5(tmp_path / "a.h5", features=(vectors_of(4, 1024), {}), coords=(XY, {}))
    made = bring(path, slide, project, encoder="uni_v1", side=448, tile_px=224)
    assert (made.key.encoder, made.key.weights) == ("uni", "uni_v1 of CLAM")
    assert (made.grid.side, made.grid.plan.tile_px, made.grid.spec.mpp) == (448, 224, 1.0)


def test_an_import_that_was_stopped_goes_on(
    slide: SlideReader, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_features, "BLOCK", 1)
    path = trident(tmp_path, slide)
    job = import_features(path, slide, project)
    for _ in range(3):
        next(job)
    job.close()
    assert stored(project, slide)[0].count == 2
    assert bring(path, slide, project).added == 2
    np.testing.assert_array_equal(
        stored(project, slide)[0].read().in_grid_order().vectors,
        vectors_of(4, 1024)[[1, 2, 3, 0]],
    )


def test_coordinates_count_from_the_corner_of_the_glass(project: Project, tmp_path: Path) -> None:
    """Leica and MIRAX: ours from the corner of the scan, theirs from that of the glass."""
    write_leica(tmp_path / "slide.scn", [_picture(1024, 1536), _picture(256, 384)])
    glass_of = openslide.OpenSlide(tmp_path / "slide.scn")
    with open_slide(tmp_path / "slide.scn", mpp=0.5) as slide:
        assert glass(slide) == ((SCANNED["y"], SCANNED["x"]), (8192, 4096))
        features, vectors = embedded(project, slide)
        run(export_features(features, slide, tmp_path / "a.h5", "trident"))
        made = bring(tmp_path / "a.h5", slide, project)
        assert (made.added, made.grid.hash) == (0, features.grid_hash)
        with tile_features.part("h5py").File(tmp_path / "a.h5") as file:
            (x, y), about = file["coords"][3], dict(file["coords"].attrs)
        assert (about["level0_height"], about["level0_width"]) == (8192, 4096)
        side, (top, left) = made.grid.plan.size, made.grid.origins[3]
        theirs = glass_of.read_region((x, y), 0, (side, side)).convert("RGB")
        np.testing.assert_array_equal(slide.read(0, top, left, side, side), np.asarray(theirs))
    assert len(vectors) > 3


@pytest.mark.real
def test_a_real_slide_there_and_back(material: Path, tmp_path: Path, project: Project) -> None:
    with open_slide(material / "slides" / "CMU-1-Small-Region.svs") as slide:
        features, vectors = embedded(project, slide, mpp=0.5)
        for form, (out, back) in FORMATS.items():
            run(export_features(features, slide, tmp_path / out, form))
            with Project.open(tmp_path / form) as other:
                made = bring(tmp_path / back.format(name=slide.name), slide, other)
                assert made.grid.hash == features.grid_hash
                (found,) = stored(other, slide)
                np.testing.assert_array_equal(found.read().in_grid_order().vectors, vectors)


def test_trident_embeds_our_tiles(slide: SlideReader, project: Project, tmp_path: Path) -> None:
    """With TRIDENT itself, where it is installed: our file is its coordinates, its ours."""
    loaded = pytest.importorskip("trident", reason="TRIDENT is not installed")
    import torch

    class Mean(torch.nn.Module):
        enc_name, precision, embedding_dim = "uni_v1", torch.float32, 1024
        eval_transforms = staticmethod(lambda image: torch.from_numpy(np.array(image)).float())

        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            return tiles.mean((1, 2)).repeat(1, 342)[:, :1024]

    features, _ = embedded(project, slide)
    run(export_features(features, slide, tmp_path / "ours.h5", "trident"))
    wsi = loaded.load_wsi(str(slide.path), reader_type="openslide", mpp=0.5, lazy_init=False)
    wsi.max_workers = 0
    path = wsi.extract_patch_features(
        Mean(), str(tmp_path / "ours.h5"), str(tmp_path), device="cpu"
    )
    with Project.open(tmp_path / "other") as other:
        made = bring(Path(path), slide, other)
        np.testing.assert_array_equal(made.grid.origins, features.grid().origins)
        (found,) = stored(other, slide)
        means = [tile.mean((0, 1)) for _, tiles in slide.tiles(made.grid) for tile in tiles]
        np.testing.assert_allclose(found.read().vectors[:, :3], means, atol=2)


def test_imported_ones_never_stand_for_our_own(
    slide: SlideReader, project: Project, tmp_path: Path
) -> None:
    made = bring(trident(tmp_path, slide), slide, project)
    store = project.slide_store(slide.id)
    assert stored_state(project, slide.id, "uni") == (State.WAITING, 0, 0)
    found = look_in_store(store, made.grid, "uni")
    assert found.count == 0
    assert found.before == ("embedded before with other weights (uni_v1 of TRIDENT; now its own)")
    assert load_embeddings(slide, project, "uni")[1].key == made.key  # there is nothing else
    own, _ = embedded(project, slide, mpp=3.0)
    assert own.count < len(made.grid)
    assert load_embeddings(slide, project, "uni")[1].key == own.key
