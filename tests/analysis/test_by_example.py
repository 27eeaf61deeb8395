"""What was marked in one place is found in another: geometry, seams, outlines, one edit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label

from napari_pathfm.analysis.by_example import FoundByExample, segment_by_example
from napari_pathfm.analysis.example_map import MOST_PX, Windows, likeness, windows_of
from napari_pathfm.analysis.found_edit import found_edit
from napari_pathfm.analysis.prototypes import Prototypes
from napari_pathfm.analysis.take_example import EXAMPLE_PX, take_examples
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.core.slide import Slide
from napari_pathfm.io.examples import Example
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import open_slide
from napari_pathfm.models.base import Answering, ExamplePair
from napari_pathfm.models.catalog import get_encoder, get_segmenter

from .discs import DISCS, DarkAt, DarkByExample, Discs


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "p", author="ada") as opened:
        yield opened


def layer_of(project: Project, slide: Slide) -> AnnotationLayer:
    project.add_slide(slide)
    return AnnotationLayer.open(project, slide.id, "regions", slide.levels[0].shape)


def mark(layer: AnnotationLayer, mask: NDArray[np.bool_], y: int = 0, x: int = 0) -> int:
    number = layer.new_id()
    ids = np.full(mask.shape, number, np.uint32)
    layer.commit(layer.paint_edit(y, x, ids, mask, "mark"))
    return number


def marked_disc(project: Project, slide: Discs) -> tuple[AnnotationLayer, tuple[Example, ...]]:
    """The first disc as an example; it is an object of the layer."""
    layer = layer_of(project, slide)
    number = mark(layer, slide.mask(300, 300, 700, 700), 300, 300)
    return layer, take_examples(slide, layer, [number], "disc")


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_an_example_shows_its_object_in_the_middle(project: Project) -> None:
    slide = Discs()
    _, (example,) = marked_disc(project, slide)
    assert example.rgb.shape == (EXAMPLE_PX, EXAMPLE_PX, 3)
    assert (example.name, example.slide, example.mpp) == ("disc", slide.name, 0.5)
    assert example.downsample == pytest.approx(2 * 240 / EXAMPLE_PX)
    np.testing.assert_allclose(np.argwhere(example.mask).mean(0), (EXAMPLE_PX - 1) / 2, atol=1)
    assert iou(example.mask, example.rgb[..., 0] < 128) > 0.98
    assert example.mask.sum() * example.downsample**2 == pytest.approx(np.pi * 120**2, rel=0.01)


def test_what_has_the_same_class_is_meant_as_well(project: Project) -> None:
    slide = Discs()
    layer = layer_of(project, slide)
    dots = [mark(layer, np.ones((20, 20), bool), 100, 100 + 24 * number) for number in range(3)]
    layer.commit(layer.class_edit(dots[:2], 1))
    (example,) = take_examples(slide, layer, dots[:1], "dot")
    assert example.downsample == 0.25, "level 0 is enlarged at most four times"
    assert label(example.mask)[1] == 2, "the third has no class"
    assert label(take_examples(slide, layer, dots[2:], "dot")[0].mask)[1] == 1
    assert label(take_examples(slide, layer, dots, "dot")[0].mask)[1] == 3
    with pytest.raises(ValueError, match="no object 77"):
        take_examples(slide, layer, [77], "dot")


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.sampled_from([32, 100, 224]),
)
@settings(max_examples=50)
def test_windows_cover_a_region_evenly(shape: tuple[int, int], px: int) -> None:
    windows = Windows(0, 0, shape, 1.0, px)
    for axis in (0, 1):
        starts = windows.starts(axis)
        assert set(np.diff(starts)) <= {px // 2}
        assert starts[0] <= 0
        assert starts[-1] + px >= shape[axis]
        assert windows.weights(axis).min() >= px / 4 - 1, "no pixel lies only at a window's edge"


class Moody:
    """Answers each window with a number of its own."""

    name, device, input_px = "moody", "cpu", 64

    def learn(self, _: Sequence[ExamplePair]) -> Answering:
        rng = np.random.default_rng(0)
        return lambda rgb: np.full(rgb.shape[:2], rng.random(), np.float32)


def test_windows_leave_no_seams(project: Project) -> None:
    slide = Discs()
    _, examples = marked_disc(project, slide)
    windows = windows_of(slide, examples, 64, (0.0, 0.0, 1700.0, 1500.0))
    found = run(likeness(slide, examples, Moody(), windows))
    assert found.shape == windows.shape
    assert found.std() > 0.05
    for axis in (0, 1):
        assert np.abs(np.diff(found, axis=axis)).max() < 1.2 / 32
    # What does not depend on the window is the same as in one piece.
    whole = windows_of(slide, examples, 448, (0.0, 0.0, 1700.0, 1500.0))
    likely = run(likeness(slide, examples, DarkByExample(), whole)) > 0.5
    scale = whole.downsample
    truth = slide.dark(
        (np.arange(whole.shape[0]) + 0.5) * scale, (np.arange(whole.shape[1]) + 0.5) * scale
    )
    assert iou(likely, truth) > 0.98


@pytest.mark.parametrize("mpp", [0.5, 0.25])
def test_it_is_found_on_another_slide_whatever_its_pixels(project: Project, mpp: float) -> None:
    _, examples = marked_disc(project, Discs())
    slide, model = Discs(mpp), DarkByExample()
    seen: list[Progress] = []
    found = run(segment_by_example(slide, examples, model), seen.append)
    assert model.learned == [examples[0].pair]
    assert {"windows"} <= {each.unit for each in seen}
    assert len(found.objects) == len(DISCS)
    for one, (y, x, radius) in zip(found.objects, np.array(DISCS) * slide.scale, strict=True):
        assert one.downsample == pytest.approx(480 / 448 * slide.scale)
        np.testing.assert_allclose(
            one.box, (y - radius, x - radius, y + radius, x + radius), atol=3 * slide.scale
        )
        assert one.score > 0.9


@pytest.mark.parametrize("answers", [("points",), ("box",), ("box", "points")])
def test_a_segmenter_that_knows_such_objects_draws_them(
    project: Project, answers: tuple[str, ...]
) -> None:
    slide = Discs()
    _, examples = marked_disc(project, slide)
    blocks = DarkByExample(block=56)
    truth = slide.mask(0, 0, *slide.levels[0].shape)

    def drawn(segmenter: DarkAt | None) -> tuple[FoundByExample, float]:
        found = run(segment_by_example(slide, examples, blocks, segmenter=segmenter))
        image = np.zeros(slide.levels[0].shape, bool)
        for each in found.objects:
            y, x, mask = each.level0_mask()
            image[y : y + mask.shape[0], x : x + mask.shape[1]] |= mask
        return found, iou(image, truth)

    coarse, before = drawn(None)
    good = DarkAt(*answers)
    fine, after = drawn(good)
    assert (coarse.refined, fine.refined, len(fine.objects)) == (0, 3, 3)
    assert before < 0.93 < 0.98 < after
    assert {each.model for each in fine.objects} == {"dark"}
    assert all(0.8 < each.score <= 1 for each in fine.objects)
    assert all((each.box is None) == ("points" in answers) for each in good.asked)
    wrong, kept = drawn(DarkAt(*answers, wrong=True))
    assert (wrong.refined, kept) == (0, before), "it does not know what the examples show"
    assert drawn(DarkAt())[1] == before


def test_what_the_map_shows_as_one_blot_becomes_objects(project: Project) -> None:
    beside = ((500.0, 500.0, 120.0), (1300.0, 500.0, 110.0), (1300.0, 730.0, 112.0))
    slide = Discs(discs=(*beside, (500.0, 1300.0, 300.0)))
    _, examples = marked_disc(project, slide)
    blocks = DarkByExample(block=56)
    blots = run(segment_by_example(slide, examples, blocks)).objects
    assert len(blots) == 3, "two discs hang together"
    found = run(segment_by_example(slide, examples, blocks, segmenter=DarkAt("points"))).objects
    boxes = sorted(np.array([each.box for each in found]).tolist())
    truth = sorted([y - r, x - r, y + r, x + r] for y, x, r in beside)
    np.testing.assert_allclose(boxes, truth, atol=4)  # and the huge one is no such object


def test_one_edit_leaves_what_is_there_and_is_undone_as_one(project: Project) -> None:
    slide = Discs()
    layer, examples = marked_disc(project, slide)
    half = mark(layer, slide.mask(1100, 700, 1300, 1100), 1100, 700)  # of the third disc
    before = layer.read(0, 0, 0, *layer.shape)
    found = run(segment_by_example(slide, examples, DarkByExample()))
    layer.commit(found_edit(layer, found, class_id=2, author="ada"))
    after = layer.read(0, 0, 0, *layer.shape)
    assert (after[before > 0] == before[before > 0]).all()
    assert iou(after > 0, slide.mask(0, 0, *layer.shape)) > 0.97
    new = sorted(set(layer.objects) - {1, half})
    assert len(new) == 2, "the example itself is not found once more"
    for row in (layer.objects[number] for number in new):
        assert (row.class_id, row.how, row.model, row.author) == (2, "predict", "dark", "ada")
        assert row.score > 0.9
        assert json.loads(row.prompts) == {"example": "disc"}
    with pytest.raises(ValueError, match="annotated already"):
        found_edit(layer, run(segment_by_example(slide, examples, DarkByExample())))
    layer.undo()
    np.testing.assert_array_equal(layer.read(0, 0, 0, *layer.shape), before)
    assert len(layer.objects) == 2


def test_what_cannot_be_done_is_said(project: Project) -> None:
    slide = Discs()
    layer, examples = marked_disc(project, slide)
    with pytest.raises(ValueError, match="save what is meant"):
        run(segment_by_example(slide, [], DarkByExample()))
    with pytest.raises(ValueError, match="outside the slide"):
        run(segment_by_example(slide, examples, DarkByExample(), (5000, 0, 6000, 100)))
    huge = Discs(0.5 / 300)
    with pytest.raises(ValueError, match=r"too large .* at most (\d+) x \1 pixels"):
        windows_of(huge, [Example("a", "b", *examples[0].pair, 1.0, None)], 448)
    assert huge.levels[0].shape[0] * huge.levels[0].shape[1] > MOST_PX
    nothing = run(segment_by_example(slide, examples, DarkByExample(), (0, 0, 300, 300)))
    with pytest.raises(ValueError, match="Nothing here looks like the examples of 'disc'"):
        found_edit(layer, nothing)


def test_glands_of_a_slide_by_the_tokens_of_an_encoder(project: Project, synthetic: Path) -> None:
    classes = np.asarray(Image.open(synthetic.with_name("synthetic_classes.png")))
    glands, _ = label(np.isin(classes, (2, 3)))  # epithelium and lumen
    y0, x0, y1, x1 = region = 1390, 1400, 1630, 1890
    with open_slide(synthetic) as slide:
        layer = layer_of(project, slide)
        numbers = [mark(layer, glands == number) for number in (8, 25)]
        examples = take_examples(slide, layer, numbers, "gland")
        model = Prototypes(get_encoder(device="cpu"))
        segmenter = get_segmenter("litemedsam", device="cpu")
        found = run(segment_by_example(slide, examples, model, region, segmenter))
        layer.commit(found_edit(layer, found, 1))
    ids, truth = (image[y0:y1, x0:x1] for image in (layer.read(0, 0, 0, 4096, 4096), glands))
    overlaps = []
    for number in np.unique(truth)[1:]:
        gland = truth == number
        if gland.sum() == (glands == number).sum():  # whole in the region
            best = np.bincount(ids[gland])[1:].argmax() + 1 if ids[gland].any() else 0
            overlaps.append(iou(gland, ids == best) if best else 0.0)
    assert len(overlaps) == 2
    assert min(overlaps) > 0.8, overlaps
    assert iou(ids > 0, truth > 0) > 0.75
