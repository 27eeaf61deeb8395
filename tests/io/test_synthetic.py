"""The drawn slide: exact, seamless, and readable by others."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napari_pathfm.core.jobs import run
from napari_pathfm.io.synthetic import CLASSES, Scene, draw
from napari_pathfm.io.synthetic.noise import Noise, uniform

SCENE = Scene((2200, 2600), seed=3)


def _inverse_density(rgb: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(rgb.astype(float), 1) / 243)


@example(y=1903, x=0, cut=298, rows=True)  # the second piece lies wholly outside
@settings(max_examples=12, deadline=None)
@given(
    y=st.integers(-50, 2100),
    x=st.integers(-50, 2500),
    cut=st.integers(1, 299),
    rows=st.booleans(),
)
def test_a_region_in_pieces_is_the_region(y: int, x: int, cut: int, rows: bool) -> None:
    for part in (SCENE.rgb, SCENE.classes, SCENE.nuclei):
        whole = part(y, x, 300, 300)
        if rows:
            pieces = [part(y, x, cut, 300), part(y + cut, x, 300 - cut, 300)]
        else:
            pieces = [part(y, x, 300, cut), part(y, x + cut, 300, 300 - cut)]
        np.testing.assert_array_equal(np.concatenate(pieces, 0 if rows else 1), whole)


def test_no_seam_where_blocks_meet() -> None:
    """Neighbouring pixels differ no more across a block's border than within it."""
    steps = np.abs(np.diff(_inverse_density(SCENE.rgb(0, 400, 2200, 1600)), axis=1)).mean((0, 2))
    for seam in (512 - 401, 1024 - 401, 1536 - 401):
        assert steps[seam] < 1.25 * np.median(steps[seam - 20 : seam + 21])


def test_nuclei_are_whole_across_blocks() -> None:
    """A nucleus that a border cuts goes on with the same id on the other side."""
    from scipy.ndimage import label

    ids = SCENE.nuclei(0, 0, 2200, 2600)
    left, right = ids[:, 1023], ids[:, 1024]
    cut = (left > 0) & (right > 0)
    assert cut.sum() > 30
    assert (left == right)[cut].mean() > 0.85  # the rest are neighbours that overlap
    parts = [label(ids == one)[1] for one in np.unique(left[cut & (left == right)])[:20]]
    assert np.mean(np.array(parts) == 1) > 0.8  # others may lie across one


def test_nuclei_have_the_size_of_nuclei() -> None:
    ids = SCENE.nuclei(512, 512, 1024, 1024)
    areas = np.bincount(np.unique(ids, return_inverse=True)[1].ravel())[1:]
    assert len(areas) > 500
    assert 40 < np.median(areas) < 200  # um2 * 4: 10 to 50 um2
    assert areas.max() < 450


def test_every_class_is_there_and_looks_like_itself() -> None:
    scene = Scene((4096, 4096))
    bands = [(y, 0, 256, 4096) for y in range(0, 4096, 1024)]  # a quarter of it shows all
    classes, rgb, nuclei = (
        np.concatenate([part(*band) for band in bands])
        for part in (scene.classes, scene.rgb, scene.nuclei)
    )
    assert set(np.unique(classes)) == set(CLASSES)
    mean = {name: rgb[(classes == n) & (nuclei == 0)].mean(0) for n, name in CLASSES.items()}
    assert mean["background"].min() > 238
    assert mean["fat"].min() > 225
    assert mean["stroma"][0] > mean["stroma"][2] > mean["stroma"][1]  # pink
    assert mean["pen"].argmax() == 2  # blue ink
    dark = rgb[(nuclei > 0) & (classes != 6)].mean(0)
    assert dark.argmin() == 1  # purple
    assert dark.mean() < mean["epithelium"].mean() - 40
    assert not (nuclei > 0)[classes == 0].mean() > 0.001
    assert (nuclei > 0)[classes == 4].mean() > 2 * (nuclei > 0)[classes == 1].mean()


def test_seeds_differ_and_repeat() -> None:
    first, again, other = (Scene((1024, 1024), s).rgb(300, 300, 64, 64) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_huge_scene_is_drawn_where_it_is_asked_for() -> None:
    start = time.perf_counter()
    scene = Scene((100_000, 100_000), seed=7)
    assert scene.rgb(50_000, 50_000, 512, 512).shape == (512, 512, 3)
    assert scene.nuclei(50_000, 50_000, 512, 512).any()
    assert time.perf_counter() - start < 20


def test_outside_is_white_and_empty() -> None:
    assert (SCENE.rgb(-20, -20, 10, 10) == 255).all()
    assert not SCENE.classes(5000, 5000, 10, 10).any()


@pytest.mark.parametrize("shape", [(100, 1000), (1_000_000, 1_000_000)])
def test_impossible_shapes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="synthetic slide"):
        Scene(shape)


@given(st.integers(-10_000, 10_000), st.floats(2, 900), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_noise_is_the_same_on_grids_and_at_points(start: int, period: float, seed: int) -> None:
    noise = Noise(period, seed)
    y, x = np.arange(start, start + 9, dtype=np.float32), np.arange(12, dtype=np.float32)
    grid = noise(y[:, None], x[None])
    points = noise(np.repeat(y, 12), np.tile(x, 9)).reshape(9, 12)
    np.testing.assert_allclose(grid, points, atol=2e-5)


def test_hashed_numbers_are_uniform() -> None:
    row, col = np.mgrid[:300, :300]
    values = uniform(5, row, col)
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())[0, 1]) < 0.02


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(draw(tmp_path_factory.mktemp("drawn") / "small.tif", (2200, 2600), seed=3))


def test_tiffslide_and_openslide_read_it(drawn: Path) -> None:
    openslide = pytest.importorskip("openslide")
    from tiffslide import TiffSlide

    with TiffSlide(drawn) as one, openslide.OpenSlide(drawn) as other:
        assert one.level_dimensions == other.level_dimensions == ((2600, 2200), (650, 550))
        assert one.properties["tiffslide.mpp-x"] == pytest.approx(0.5, rel=1e-3)
        assert float(other.properties["openslide.mpp-x"]) == pytest.approx(0.5, rel=1e-3)
        for level, size in ((0, (500, 400)), (1, (300, 200))):
            regions = [np.asarray(s.read_region((900, 800), level, size)) for s in (one, other)]
            assert np.abs(regions[0][..., :3].astype(int) - regions[1][..., :3]).mean() < 0.5


def test_the_file_shows_the_scene(drawn: Path) -> None:
    import tifffile

    with tifffile.TiffFile(drawn) as file:
        fine, coarse = (page.asarray().astype(float) for page in file.pages)
        assert file.pages[1].subfiletype == 1
        assert not file.pages[0].subifds
    truth = SCENE.rgb(0, 0, 2200, 2600).astype(float)
    assert np.abs(fine - truth).mean() < 3
    assert np.abs(coarse - truth.reshape(550, 4, 650, 4, 3).mean((1, 3))).mean() < 3


def test_cancelled_drawing_leaves_nothing(tmp_path: Path) -> None:
    job = draw(tmp_path / "half.tif", (2048, 2048))
    for _ in range(5):
        next(job)
    job.close()
    assert not list(tmp_path.iterdir())


def test_progress_counts_all_tiles(tmp_path: Path) -> None:
    seen = []
    run(draw(tmp_path / "slide.tif", (1100, 600)), seen.append)
    assert [p.done for p in seen] == list(range(1, seen[-1].total + 1))


def test_a_negative_mpp_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mpp"):
        run(draw(tmp_path / "slide.tif", (600, 600), mpp=-1))


def test_the_committed_slide_is_what_the_script_draws() -> None:
    """Its truth files are those of the scene, and all of it stays small."""
    import tifffile
    from PIL import Image

    folder = Path(__file__).parents[2] / "sample_data"
    if not folder.is_dir():
        pytest.skip("sample_data/ is only in a checkout")
    scene = Scene((4096, 4096))
    region = (1536, 1024, 1024, 1024)
    inside = np.s_[1536:2560, 1024:2048]
    slide = tifffile.imread(folder / "synthetic.tif", key=0)[inside].astype(int)
    assert np.abs(slide - scene.rgb(*region)).mean() < 3
    classes = np.asarray(Image.open(folder / "synthetic_classes.png"))[inside]
    assert (classes == scene.classes(*region)).mean() > 0.9999
    nuclei = tifffile.imread(folder / "synthetic_nuclei.tif")[inside]
    assert (nuclei == scene.nuclei(*region)).mean() > 0.999
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4 * 2**20
