from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_pathfm.analysis.candidate import Candidate, commit_edit
from napari_pathfm.analysis.crop import MARGIN, Crop, make_crop
from napari_pathfm.analysis.crop_cache import CropCache
from napari_pathfm.analysis.crop_store import Origin
from napari_pathfm.analysis.segment import preview, segment
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.prompts import Prompts
from napari_pathfm.core.slide import Level
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide
from napari_pathfm.models.base import ImageEmbedding, Segmentation
from napari_pathfm.models.catalog import get_segmenter

DISC = (900.0, 1300.0, 130.0)
"""A dark disc: y, x, radius."""


class DiscSlide:
    """A white slide with one dark disc, drawn on demand; downsamples are not whole numbers."""

    id, name, mpp, path = "disc", "disc", 0.5, Path("disc")
    properties: dict[str, str] = {}
    damage: dict[tuple[int, int, int], str] = {}
    associated_images: tuple[str, ...] = ()
    levels = (
        Level((2000, 3000), 1.0, (256, 256)),
        Level((499, 749), 4.006, (256, 256)),
        Level((124, 187), 16.1, (256, 256)),
    )

    def __init__(self) -> None:
        self.read_levels: list[int] = []

    def read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        self.read_levels.append(level)
        scale = self.levels[level].downsample
        rows = (y + np.arange(height) + 0.5) * scale
        cols = (x + np.arange(width) + 0.5) * scale
        cy, cx, radius = DISC
        dark = (rows[:, None] - cy) ** 2 + (cols[None] - cx) ** 2 < radius**2
        return np.where(dark[..., None], np.uint8(40), np.uint8(255)).repeat(3, 2)

    def associated(self, name: str) -> NDArray[np.uint8]:
        raise KeyError(name)

    def close(self) -> None: ...


class DarkSegmenter:
    """Answers "what is dark in the box" exactly, so that geometry can be judged."""

    name, device, input_px, weights_id = "dark", "cpu", 256, ""

    def __init__(self, answers: Sequence[str] = ("points", "box")) -> None:
        self.answers = frozenset(answers)
        self.encoded = 0

    def encode(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        self.encoded += 1
        return ImageEmbedding(self.name, rgb.shape[:2], rgb)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        dark = embedding.features[..., 0] < 128
        y0, x0, y1, x1 = prompts[0].extent
        if prompts[0].box is not None:
            dark[: int(y0)] = dark[int(np.ceil(y1)) :] = False
            dark[:, : int(x0)] = dark[:, int(np.ceil(x1)) :] = False
        masks = np.stack([dark, ~dark, dark])[None]
        return Segmentation(
            masks, np.array([[0.9, 0.5, 0.1]], np.float32), np.zeros((1, 3, 256, 256), np.float32)
        )


class Remembering(DarkSegmenter):
    """Notes how many points it was asked about, and with which earlier answer."""

    def __init__(self) -> None:
        super().__init__(("points", "box", "mask"))
        self.asked: list[tuple[int, float | None]] = []

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        count = len(prompts[0].points)
        self.asked.append((count, None if logits is None else float(logits[0, 0, 0])))
        found = super().decode(embedding, prompts)
        return Segmentation(found.masks, found.scores, np.full_like(found.logits, count))


def box(grow: float = 20) -> Prompts:
    y, x, radius = DISC
    reach = radius + grow
    return Prompts(box=np.array([y - reach, x - reach, y + reach, x + reach]))


def point(y: float, x: float, positive: bool = True) -> Prompts:
    return Prompts(np.array([[y, x]]), np.array([positive]))


def disc_iou(y: int, x: int, mask: NDArray[np.bool_]) -> float:
    rows, cols = y + np.arange(mask.shape[0]) + 0.5, x + np.arange(mask.shape[1]) + 0.5
    cy, cx, radius = DISC
    truth = (rows[:, None] - cy) ** 2 + (cols[None] - cx) ** 2 < radius**2
    total = np.pi * radius**2
    return float((truth & mask).sum() / (total + (mask & ~truth).sum()))


def test_a_box_fills_half_of_the_crop_and_is_in_its_middle() -> None:
    prompts = box()
    crop = make_crop(DiscSlide(), prompts, 256, view_downsample=7.0)
    assert crop.side == pytest.approx(MARGIN * 300, rel=0.02)
    assert crop.y + crop.side / 2 == pytest.approx(DISC[0], abs=2 * crop.downsample)
    assert crop.x + crop.side / 2 == pytest.approx(DISC[1], abs=2 * crop.downsample)
    inside = crop.prompts(prompts).box
    assert inside is not None
    assert (inside >= 0).all()
    assert (inside <= len(crop.rgb)).all()


@pytest.mark.parametrize(("zoom", "level"), [(1.0, 0), (4.006 * 2, 1), (16.1 * 2, 1)])
def test_a_point_is_shown_at_the_scale_of_the_view(zoom: float, level: int) -> None:
    slide = DiscSlide()
    crop = make_crop(slide, point(900, 1300), 256, zoom)
    assert crop.level == level
    assert slide.read_levels == [level]
    assert crop.side == pytest.approx(min(256 * zoom, 3000), rel=0.05)
    assert max(crop.rgb.shape) <= 512


@given(
    st.floats(0, 1999),
    st.floats(0, 2999),
    st.floats(2, 1900),
    st.floats(2, 1900),
    st.floats(0.05, 60),
    st.sampled_from([256, 1024]),
)
@settings(max_examples=60, deadline=None)
def test_a_crop_always_holds_the_prompts(
    y: float, x: float, height: float, width: float, zoom: float, input_px: int
) -> None:
    prompts = Prompts(box=np.array([y, x, y + height, x + width]))
    crop = make_crop(DiscSlide(), prompts, input_px, zoom)
    assert crop.y <= y
    assert crop.x <= x
    assert crop.y + crop.side >= y + height
    assert crop.x + crop.side >= x + width
    assert crop.rgb.shape == (len(crop.rgb), len(crop.rgb), 3)


def test_outside_the_slide_is_white_and_prompts_there_are_refused() -> None:
    crop = make_crop(DiscSlide(), point(0, 0), 256, 1.0)
    assert crop.y < 0
    assert (crop.rgb[0] == 255).all()
    with pytest.raises(ValueError, match="outside the slide"):
        make_crop(DiscSlide(), point(-5, 10), 256, 1.0)
    with pytest.raises(ValueError, match="outside the slide"):
        make_crop(DiscSlide(), point(10, 3000), 256, 1.0)


@pytest.mark.parametrize("zoom", [0.3, 1.0, 5.0])
def test_the_candidate_lies_where_the_object_is(zoom: float) -> None:
    candidate = run(segment(DiscSlide(), box(), DarkSegmenter(), zoom, queue=InferenceQueue()))
    assert candidate.masks.shape[0] == 3
    assert candidate.score == pytest.approx(0.9)
    assert disc_iou(*candidate.level0_mask()) > 0.97


@pytest.mark.parametrize(
    ("zoom", "size", "looks"),
    [(8.0, None, 2), (0.25, None, 3), (1.0, None, 2), (1.0, 60.0, 2), (1.0, 3000.0, 2)],
)
def test_an_object_that_is_shown_badly_is_looked_at_again(
    zoom: float, size: float | None, looks: int
) -> None:
    """Tiny in the crop, or larger than it; whatever the view or the last object said."""
    segmenter, cache, slide = DarkSegmenter(), CropCache(), DiscSlide()
    job = segment(slide, point(930, 1340), segmenter, zoom, cache, size=size)
    candidate = run(job)
    assert segmenter.encoded == looks
    assert disc_iou(*candidate.level0_mask()) > 0.97
    assert candidate.size == pytest.approx(2 * DISC[2], rel=0.05)
    assert candidate.box is not None
    y0, x0, y1, x1 = candidate.box
    assert ((y0 + y1) / 2, (x0 + x1) / 2) == pytest.approx(DISC[:2], abs=8)
    # The next click goes on in the same crop.
    both = Prompts(np.array([[930, 1340], [900.0, 1250]]), np.array([True, True]))
    again = run(segment(slide, both, segmenter, zoom, cache, size=candidate.size))
    assert segmenter.encoded == looks
    assert (again.y, again.x) == (candidate.y, candidate.x)


def test_an_object_that_is_shown_well_is_looked_at_once() -> None:
    segmenter = DarkSegmenter()
    run(segment(DiscSlide(), point(900, 1300), segmenter, 3.0))
    assert segmenter.encoded == 1


def test_each_click_corrects_the_answer_before_it() -> None:
    segmenter = Remembering()
    cache, slide = CropCache(), DiscSlide()
    places = np.array([[900.0, 1300], [905, 1305], [910, 1310]])
    signs = np.array([False, True, True])
    for count in (2, 3):
        run(segment(slide, Prompts(places[:count], signs[:count]), segmenter, 3.0, cache))
    assert segmenter.asked == [(2, None), (3, 2.0)]
    # Without what was kept all are answered in turn, so that the outcome is the same.
    segmenter.asked.clear()
    run(segment(slide, Prompts(places, signs), segmenter, 3.0))
    assert segmenter.asked == [(2, None), (3, 2.0)]


def test_a_preview_answers_only_where_a_crop_is_encoded() -> None:
    segmenter, cache, slide = DarkSegmenter(), CropCache(), DiscSlide()
    assert preview(slide, point(900, 1300), segmenter, cache, 768) is None
    run(segment(slide, point(900, 1300), segmenter, 3.0, cache))
    found = preview(slide, point(910, 1290), segmenter, cache, 768)
    assert found is not None
    assert disc_iou(*found.level0_mask()) > 0.97
    assert segmenter.encoded == 1


def test_what_is_encoded_answers_first_and_the_rest_comes_after() -> None:
    """Of a crop that shows the object from afar, and of each look on the way."""
    segmenter, cache, slide = DarkSegmenter(), CropCache(), DiscSlide()
    assert [each.size for each in answers_on_the_way(segmenter, cache, None, 8.0)] == [
        pytest.approx(2 * DISC[2], rel=0.05)
    ]
    assert segmenter.encoded == 2
    cache = CropCache()
    run(segment(slide, point(900, 1300), segmenter, 8.0, cache, crop=far_crop(slide)))
    (first,) = answers_on_the_way(segmenter, cache, 260.0, 1.0)
    assert first.downsample > 2, "from afar"
    assert disc_iou(*first.level0_mask()) > 0.9
    assert segmenter.encoded == 4
    assert preview(slide, point(910, 1290), segmenter, CropCache(), 520) is None
    hinted = CropCache()
    run(segment(slide, point(900, 1300), segmenter, 8.0, hinted, crop=far_crop(slide)))
    shown = preview(slide, point(910, 1290), segmenter, hinted, 520)
    assert shown is not None
    assert shown.downsample == first.downsample


def test_a_crop_that_the_slide_cuts_off_is_not_taken_for_another_of_its_size() -> None:
    """The object reaches over the edge of the first, and the next can be no larger."""
    slide, segmenter, cache = DiscSlide(), DarkSegmenter(), CropCache()
    zoom = slide.levels[0].shape[1] / segmenter.input_px
    run(segment(slide, point(900, 1300), segmenter, zoom, cache, looks=1))
    assert segmenter.encoded == 1
    largest = float(max(slide.levels[0].shape))
    run(segment(slide, point(900, 1300), segmenter, 1.0, cache, size=2 * largest, looks=1))
    assert segmenter.encoded == 2


def answers_on_the_way(
    segmenter: DarkSegmenter, cache: CropCache, size: float | None, zoom: float
) -> list[Candidate]:
    job = segment(DiscSlide(), point(910, 1290), segmenter, zoom, cache, size=size)
    return [each.so_far for each in job if isinstance(each.so_far, Candidate)]


def far_crop(slide: DiscSlide) -> Crop:
    return make_crop(slide, point(900, 1300), 256, 8.0)


def test_a_crop_that_another_job_has_encoded_meanwhile_is_not_encoded_again() -> None:
    queue, segmenter, cache = InferenceQueue(), DarkSegmenter(), CropCache()
    release = threading.Event()
    queue.submit(release.wait)
    jobs = [segment(DiscSlide(), point(900, x), segmenter, 3.0, cache, queue) for x in (1300, 1310)]
    for job in jobs:
        while next(job).text != "encoding":
            pass
    release.set()
    for job in jobs:
        assert disc_iou(*run(job).level0_mask()) > 0.97
    assert segmenter.encoded == 1


def test_a_click_where_the_preview_was_costs_nothing() -> None:
    segmenter, cache, slide = Remembering(), CropCache(), DiscSlide()
    run(segment(slide, point(900, 1300), segmenter, 3.0, cache))
    segmenter.asked.clear()
    shown = preview(slide, point(905, 1305), segmenter, cache, 768)
    kept = run(segment(slide, point(905, 1305), segmenter, 3.0, cache))
    assert len(segmenter.asked) == 1
    assert shown is not None
    np.testing.assert_array_equal(kept.mask, shown.mask)
    both = Prompts(np.array([[905.0, 1305], [910, 1310]]), np.array([True, True]))
    run(segment(slide, both, segmenter, 3.0, cache))
    assert segmenter.asked[1:] == [(2, 1.0)], "and the next corrects it"


def test_the_encoder_runs_once_for_clicks_in_one_place() -> None:
    segmenter, cache, slide = DarkSegmenter(), CropCache(), DiscSlide()
    for prompts in (point(900, 1300), point(930, 1310), point(880, 1290)):
        run(segment(slide, prompts, segmenter, 2.0, cache))
    assert segmenter.encoded == 1
    run(segment(slide, point(900, 1900), segmenter, 2.0, cache))
    assert segmenter.encoded == 2
    run(segment(slide, point(900, 1300), segmenter, 4.5, cache))
    assert segmenter.encoded == 3, "another zoom needs another crop"


def test_the_cache_forgets_the_least_recently_used() -> None:
    cache, origin = CropCache(limit=2), Origin("slide", "model", "weights")
    rgb = np.zeros((64, 64, 3), np.uint8)
    for place in (0.0, 1000.0, 0.0, 2000.0):
        crop = Crop(0, place, 0.0, 64, 1.0, 64, rgb)
        cache.put(origin, crop, ImageEmbedding("model", (64, 64), rgb))
    assert len(cache) == 2
    assert cache.find(origin, point(32, 32), 64) is not None
    assert cache.find(origin, point(1032, 32), 64) is None
    for part in Origin._fields:
        other = origin._replace(**{part: "another"})
        assert cache.find(other, point(32, 32), 64) is None
        assert not cache.knows(other, point(32, 32), 64)
    assert cache.knows(origin, point(32, 32), 64)
    cache.clear()
    assert not len(cache)


def test_prompts_that_cannot_be_answered_are_refused_with_a_remedy() -> None:
    slide = DiscSlide()
    with pytest.raises(ValueError, match="click"):
        run(segment(slide, Prompts(), DarkSegmenter()))
    with pytest.raises(ValueError, match="positive point"):
        run(segment(slide, point(900, 1300, positive=False), DarkSegmenter()))
    with pytest.raises(ValueError, match="draw a box"):
        run(segment(slide, point(900, 1300), DarkSegmenter(["box"])))
    with pytest.raises(ValueError, match="click on the object"):
        run(segment(slide, box(), DarkSegmenter(["points"])))


def test_cancelled_while_it_waits_the_network_is_never_asked() -> None:
    queue, segmenter = InferenceQueue(), DarkSegmenter()
    begun, release = threading.Event(), threading.Event()
    before = queue.submit(lambda: (begun.set(), release.wait()))
    assert begun.wait(5)
    job = segment(DiscSlide(), box(), segmenter, queue=queue)
    for _ in range(3):
        next(job)
    job.close()
    release.set()
    before.result(5)
    queue.call(lambda: None)
    assert segmenter.encoded == 0


@given(
    st.floats(-20, 20),
    st.floats(-20, 20),
    st.floats(0.2, 9),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_enlarging_takes_each_pixel_from_the_crop_pixel_below_its_centre(
    y: float, x: float, downsample: float, factor: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < 0.4
    candidate = make_candidate(mask, y, x, downsample)
    top, left, drawn = candidate.mask_at(factor)
    for row in range(drawn.shape[0]):
        for col in range(drawn.shape[1]):
            py = ((top + row + 0.5) * factor - y) / downsample
            px = ((left + col + 0.5) * factor - x) / downsample
            near_edge = min(py % 1, 1 - py % 1, px % 1, 1 - px % 1) < 1e-6
            if not near_edge:
                assert drawn[row, col] == mask[int(py), int(px)]


def make_candidate(
    mask: NDArray[np.bool_], y: float = 0.0, x: float = 0.0, downsample: float = 1.0
) -> Candidate:
    return Candidate(
        np.stack([mask, ~mask, mask]),
        0,
        np.array([0.8, 0.4, 0.2], np.float32),
        y,
        x,
        downsample,
        "dark",
        box(),
    )


def test_another_mask_can_be_chosen() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1, 1] = True
    other = make_candidate(mask).chosen(1)
    assert (other.mask == ~mask).all()
    assert other.score == pytest.approx(0.4)
    assert make_candidate(np.zeros((4, 4), bool)).level0_mask()[2].size == 0


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[AnnotationLayer]:
    with Project.open(tmp_path / "project", author="ada") as project:
        slide = DiscSlide()
        project.add_slide(slide)
        yield AnnotationLayer.open(project, slide.id, "regions", slide.levels[0].shape)


def test_committing_makes_one_object_that_undo_takes_back(layer: AnnotationLayer) -> None:
    candidate = run(segment(DiscSlide(), box(), DarkSegmenter(), 1.0))
    layer.commit(commit_edit(layer, candidate, class_id=3, author="ada"))
    (row,) = layer.objects.values()
    y, x, radius = DISC
    assert (row.class_id, row.how, row.model, row.author) == (3, "prompt", "dark", "ada")
    assert row.score == pytest.approx(0.9)
    assert json.loads(row.prompts)["box"] == pytest.approx([750, 1150, 1050, 1450])
    assert row.area == pytest.approx(np.pi * radius**2, rel=0.02)
    assert layer.read(0, int(y), int(x), 1, 1)[0, 0] == row.id
    layer.undo()
    assert not layer.objects
    assert not layer.read(0, 0, 0, 2000, 3000).any()


def test_without_overwriting_older_objects_keep_their_pixels(layer: AnnotationLayer) -> None:
    candidate = run(segment(DiscSlide(), box(), DarkSegmenter(), 1.0))
    layer.commit(commit_edit(layer, candidate, 1))
    with pytest.raises(ValueError, match="nothing to commit"):
        commit_edit(layer, candidate, 1, overwrite=False)
    layer.commit(commit_edit(layer, candidate, 2))
    (row,) = (row for row in layer.objects.values() if row.area)
    assert row.class_id == 2


def test_an_empty_mask_and_one_outside_the_slide_are_not_committed(layer: AnnotationLayer) -> None:
    with pytest.raises(ValueError, match="empty"):
        commit_edit(layer, make_candidate(np.zeros((8, 8), bool)), 1)
    with pytest.raises(ValueError, match="empty"):
        commit_edit(layer, make_candidate(np.ones((8, 8), bool), y=-8), 1)


def test_a_mask_over_the_edge_is_cut_off(layer: AnnotationLayer) -> None:
    layer.commit(commit_edit(layer, make_candidate(np.ones((8, 8), bool), y=-3, x=2996), 1))
    (row,) = layer.objects.values()
    assert row.area == 5 * 4


def test_a_huge_mask_is_committed_from_a_coarser_level(
    layer: AnnotationLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_pathfm.analysis.candidate.COMMIT_PX", 100_000)
    candidate = run(segment(DiscSlide(), box(), DarkSegmenter(), 1.0))
    layer.commit(commit_edit(layer, candidate, 1))
    (row,) = layer.objects.values()
    assert row.area == pytest.approx(np.pi * DISC[2] ** 2, rel=0.03)


@pytest.mark.real
def test_litemedsam_finds_a_gland_on_a_real_slide(material: Path) -> None:
    slide = open_slide(material / "slides" / "CMU-1-Small-Region.svs")
    segmenter, cache = get_segmenter("litemedsam"), CropCache()
    asked = Prompts(box=np.array([800.0, 900.0, 1000.0, 1100.0]))
    candidate = run(segment(slide, asked, segmenter, 1.0, cache))
    y, x, mask = candidate.level0_mask()
    assert mask.any()
    assert y >= 760
    assert x >= 860
    assert y + mask.shape[0] <= 1040
    assert x + mask.shape[1] <= 1140
    run(segment(slide, asked, segmenter, 1.0, cache))
    assert len(cache) == 1
    slide.close()


class Ambiguous(DarkSegmenter):
    """From far it takes a nucleus for its gland; the nucleus is its second best answer."""

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        nucleus = super().decode(embedding, prompts).masks[0, 0]
        far = nucleus.sum() < 0.05 * nucleus.size
        gland = ndimage.binary_dilation(nucleus, iterations=60 if far else 1)
        masks = np.stack([gland, nucleus, nucleus] if far else [nucleus, gland, gland])[None]
        scores = np.array([[0.9, 0.7, 0.1]], np.float32)
        return Segmentation(masks, scores, np.zeros((1, 3, 256, 256), np.float32))


def test_a_small_object_is_looked_at_before_the_large_one_around_it() -> None:
    segmenter = Ambiguous()
    found = run(segment(DiscSlide(), point(900, 1300), segmenter, 8.0))
    assert segmenter.encoded > 1
    assert disc_iou(*found.level0_mask()) > 0.95
