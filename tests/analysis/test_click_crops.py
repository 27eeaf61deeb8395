"""Crops that a click model learns from: the truth lies on the picture, at every scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_pathfm.analysis.click_crops import (
    SIDE,
    LabelledImage,
    cut,
    encode_crops,
    read_folder,
    synthetic_images,
)
from napari_pathfm.core.jobs import run

from .test_segment import DarkSegmenter


def discs(seed: int = 0) -> LabelledImage:
    """Dark discs on a light ground."""
    random = np.random.default_rng(seed)
    labels = np.zeros((300, 400), np.int32)
    rows, cols = np.ogrid[:300, :400]
    for number in range(1, 12):
        y, x, radius = random.integers(300), random.integers(400), random.integers(6, 40)
        labels[((rows - y) ** 2 + (cols - x) ** 2 < radius**2) & (labels == 0)] = number
    rgb = np.where(labels[..., None] > 0, 40, 230).astype(np.uint8).repeat(3, 2)
    return LabelledImage(rgb, labels, "discs")


@settings(max_examples=40)
@given(seed=st.integers(0, 1000))
def test_the_truth_lies_on_the_picture(seed: int) -> None:
    image, draw = discs(seed % 5), np.random.default_rng(seed)
    number = int(draw.choice(list(image.boxes())))
    rgb, truth, counting, inside_of = cut(image, number, image.boxes()[number], draw)
    assert rgb.shape[0] == rgb.shape[1]
    assert truth.shape == (SIDE, SIDE)
    places = ((np.arange(SIDE) + 0.5) * len(rgb) / SIDE).astype(int)
    shown = rgb[np.ix_(places, places)].mean(2)
    inside, outside = shown[truth > 0], shown[truth == 0]
    if len(inside) and len(outside):
        threshold = (np.median(inside) + np.median(outside)) / 2
        assert np.mean(inside < threshold) > 0.9
        assert np.mean(outside > threshold) > 0.9
    for number in counting:
        assert number
        assert (truth == number).any()
    assert len(inside_of) == len(counting)
    assert ((inside_of > 0) & (inside_of <= 1)).all()


def test_how_much_of_an_object_a_crop_shows() -> None:
    labels = np.zeros((200, 200), np.int32)
    labels[50:150, 50:150] = 1
    image = LabelledImage(np.full((200, 200, 3), 200, np.uint8), labels)
    shown = set()
    for seed in range(40):
        rgb, truth, counting, inside = cut(image, 1, image.boxes()[1], np.random.default_rng(seed))
        if len(counting):
            pixels = (truth > 0).sum() * (len(rgb) / SIDE) ** 2
            assert inside[0] == pytest.approx(min(pixels / 10_000, 1), abs=0.08)
            shown.add(bool(inside[0] < 0.9))
    assert shown == {True, False}  # some are too near to see it whole


def test_objects_that_are_cut_off_do_not_count() -> None:
    image = discs()
    for seed in range(30):
        draw = np.random.default_rng(seed)
        number = int(draw.choice(list(image.boxes())))
        _, truth, counting, _ = cut(image, number, image.boxes()[number], draw)
        assert len(counting) <= len(np.unique(truth[truth > 0]))
        assert len(counting) >= 1  # at least the one in the middle


def test_crops_are_encoded_in_a_job() -> None:
    crops = run(encode_crops([(1.0, [discs()])], _Small(), 6, seed=1))
    assert len(crops) == len(crops.ids) == len(crops.inside) == 6
    assert crops.features.shape == (6, 1, 2, 2)
    assert crops.features.dtype == np.float16
    assert crops.truths.dtype == np.uint16
    again = run(encode_crops([(1.0, [discs()])], _Small(), 6, seed=1))
    np.testing.assert_array_equal(crops.truths, again.truths)


def test_synthetic_images_have_whole_glands_and_nuclei() -> None:
    (glands,) = synthetic_images(1, 768, seed=3)
    assert glands.rgb.shape == (768, 768, 3)
    sizes = [max(b[2] - b[0], b[3] - b[1]) for b in glands.boxes().values()]
    assert max(sizes) > 120
    (nuclei,) = synthetic_images(1, 512, seed=3, glands=False)
    sizes = [max(b[2] - b[0], b[3] - b[1]) for b in nuclei.boxes().values()]
    assert len(sizes) > 10
    assert np.median(sizes) < 40


def test_a_folder_of_images_and_labels(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    with pytest.raises(ValueError, match="holds no labelled image: put them into images/"):
        read_folder(tmp_path)
    image = discs()
    Image.fromarray(image.rgb).save(tmp_path / "images" / "a.png")
    Image.fromarray(image.labels.astype(np.uint16)).save(tmp_path / "labels" / "a.png")
    Image.fromarray(image.rgb).save(tmp_path / "images" / "b.png")
    np.save(tmp_path / "labels" / "b.npy", image.labels)
    Image.fromarray(image.rgb).save(tmp_path / "images" / "alone.png")
    for read in (found := read_folder(tmp_path)):
        np.testing.assert_array_equal(read.rgb, image.rgb)
        np.testing.assert_array_equal(read.labels, image.labels)
    assert [each.name for each in found] == ["a", "b"]
    np.save(tmp_path / "labels" / "b.npy", image.labels[1:])
    with pytest.raises(ValueError, match=r"b has \(300, 400\) pixels, but its labels"):
        read_folder(tmp_path)


class _Small(DarkSegmenter):
    def encode(self, rgb: np.ndarray) -> object:  # type: ignore[override]
        from napari_pathfm.models.base import ImageEmbedding

        made = np.full((1, 2, 2), rgb.mean() / 255, np.float32)
        return ImageEmbedding(self.name, rgb.shape[:2], made)
