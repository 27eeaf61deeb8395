"""LiteMedSAM answers boxes on real nuclei, and says so when it is asked something else."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_pathfm.core.prompts import Prompts
from napari_pathfm.models import litemedsam
from napari_pathfm.models.base import ModelError, Segmenter
from napari_pathfm.models.catalog import get_segmenter

Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return get_segmenter("litemedsam", device="cpu")


def box(*corners: float) -> Prompts:
    return Prompts(box=np.array(corners, float))


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def ellipse(shape: tuple[int, int], y: float, x: float, ry: float, rx: float) -> Mask:
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    inside: Mask = ((rows - y) / ry) ** 2 + ((cols - x) / rx) ** 2 <= 1
    return inside


def drawn(mask: Mask) -> NDArray[np.uint8]:
    """Paint a purple object on a pink ground with a little noise."""
    rng = np.random.default_rng(0)
    image = np.where(mask[..., None], (110, 60, 140), (225, 170, 200))
    return (image + rng.integers(-8, 8, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(256, 256), (300, 180), (90, 200)])
def test_ellipse_in_crops_of_any_shape(segmenter: Segmenter, shape: tuple[int, int]) -> None:
    h, w = shape
    truth = ellipse(shape, 0.55 * h, 0.4 * w, 0.25 * h, 0.2 * w)
    embedding = segmenter.encode(drawn(truth))
    assert embedding.shape == shape
    assert embedding.features.shape == (256, 64, 64)
    answer = segmenter.decode(embedding, [box(0.3 * h, 0.2 * w, 0.8 * h, 0.6 * w)])
    assert answer.masks.shape == (1, 3, h, w)
    assert answer.logits.shape == (1, 3, 256, 256)
    assert iou(answer.masks[0, 0], truth) > 0.9
    assert (answer.masks[0] == answer.masks[0, :1]).all()
    assert 0.5 < answer.scores[0, 0] <= 1
    assert len(set(answer.scores[0])) == 1


def test_several_objects_answer_for_themselves(segmenter: Segmenter) -> None:
    left, right = (ellipse((200, 200), 100, x, 40, 30) for x in (50, 150))
    embedding = segmenter.encode(drawn(left | right))
    boxes = [box(60, 20, 140, 80), box(60, 120, 140, 180)]
    both = segmenter.decode(embedding, boxes)
    assert iou(both.masks[0, 0], left) > 0.9
    assert iou(both.masks[1, 0], right) > 0.9
    alone = segmenter.decode(embedding, boxes[1:])
    assert iou(both.masks[1, 0], alone.masks[0, 0]) > 0.99


@pytest.mark.real
def test_nuclei(segmenter: Segmenter, material: Path) -> None:
    from skimage.io import imread

    found = []
    with (material / "nuclei" / "index.csv").open() as file:
        names = [row["id"] for row in csv.DictReader(file)][:3]
    for name in names:
        image = imread(material / "nuclei" / "images" / f"{name}.png")[..., :3]
        labels = imread(next((material / "nuclei" / "labels").glob(f"{name}*")))
        areas = np.bincount(labels.ravel())
        for number in np.flatnonzero(areas[1:] > 150)[:2] + 1:
            rows, cols = np.nonzero(labels == number)
            (y0, y1), (x0, x1) = (rows.min(), rows.max() + 1), (cols.min(), cols.max() + 1)
            side = 2 * max(y1 - y0, x1 - x0)
            y, x = max(0, (y0 + y1 - side) // 2), max(0, (x0 + x1 - side) // 2)
            crop = (slice(y, y + side), slice(x, x + side))
            prompt = box(y0 - y, x0 - x, y1 - y, x1 - x)
            answer = segmenter.decode(segmenter.encode(image[crop]), [prompt])
            found.append(iou(answer.masks[0, 0], labels[crop] == number))
    assert len(found) == 6
    assert np.mean(found) > 0.7


def test_in_bfloat16_masks_are_the_same_but_for_a_few_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = ellipse((256, 256), 140, 100, 60, 50)
    found = []
    for half in (False, True):
        monkeypatch.setattr(
            "napari_pathfm.models.precision.half_wins", lambda device, half=half: half
        )
        made = get_segmenter("litemedsam", device="cpu")
        answer = made.decode(made.encode(drawn(truth)), [box(75, 45, 205, 155)])
        found.append(answer.masks[0, 0])
    assert iou(*found) > 0.99


def test_points_alone_are_refused_with_a_way_out(segmenter: Segmenter) -> None:
    embedding = segmenter.encode(np.full((64, 64, 3), 200, np.uint8))
    point = Prompts(np.array([[3.0, 4.0]]), np.array([True]))
    with pytest.raises(
        ValueError, match=r"answers boxes, not points: draw a box, or choose sam-vit"
    ):
        segmenter.decode(embedding, [point])
    with pytest.raises(ValueError, match="There is no prompt for an object yet: draw a box"):
        segmenter.decode(embedding, [Prompts()])
    with pytest.raises(ValueError, match="does not take an earlier answer"):
        segmenter.decode(embedding, [box(1, 1, 9, 9)], np.zeros((1, 256, 256), np.float32))


def test_what_it_is(segmenter: Segmenter) -> None:
    assert isinstance(segmenter, Segmenter)
    assert (segmenter.name, segmenter.device, segmenter.input_px) == ("litemedsam", "cpu", 256)
    assert segmenter.answers == {"box"}


def test_wrong_file(tmp_path: Path) -> None:
    import torch

    torch.save({"image_encoder.x": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match="does not hold the weights of litemedsam"):
        get_segmenter("litemedsam", weights=tmp_path / "x.pth")


def test_for_another_side_it_is_the_same_network() -> None:
    same, smaller, whole = litemedsam.build(), litemedsam.build(168), litemedsam.build()
    smaller.load_state_dict(whole.state_dict())
    same.load_state_dict(whole.state_dict())
    litemedsam._resize(same, litemedsam.INPUT_PX)
    pixels = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    networks: list[Any] = [each.eval() for each in (same, smaller, whole)]
    with torch.inference_mode():
        left, right = (each.image_encoder(pixels) for each in (networks[0], networks[2]))
        assert torch.equal(left, right)
        found = networks[1].image_encoder(pixels[..., :168, :168])
        assert found.shape == (1, 256, 42, 42)
        # Far from the edges only the windows of attention lie elsewhere.
        inner = slice(10, 30)
        near = torch.cosine_similarity(found[..., inner, inner], left[..., inner, inner]).mean()
        assert near > 0.9
        sparse, dense = networks[1].prompt_encoder(
            points=(torch.full((1, 1, 2), 84.0), torch.ones(1, 1)), boxes=None, masks=None
        )
        low, _ = networks[1].mask_decoder(
            image_embeddings=found,
            image_pe=networks[1].prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
    assert low.shape == (1, 3, 168, 168)


def test_prompts_of_several_kinds_are_answered_in_their_order_and_logits_of_any_size_taken() -> (
    None
):
    segmenter = get_segmenter("pathfm-click", device="cpu")
    truth = ellipse((300, 300), 140, 160, 60, 50)
    embedding = segmenter.encode(drawn(truth))
    click = Prompts(np.array([[140.0, 160]]), np.array([True]))
    mixed = [box(75, 105, 205, 215), click, box(80, 110, 200, 210), click]
    together = segmenter.decode(embedding, mixed)
    assert together.logits.shape == (4, 3, 168, 168)
    for number, prompt in enumerate(mixed):
        alone = segmenter.decode(embedding, [prompt])
        np.testing.assert_allclose(together.scores[number], alone.scores[0], atol=0.02)
        assert iou(together.masks[number, 0], truth) > 0.8
    said = np.where(ellipse((64, 64), 64 * 140 / 300, 64 * 160 / 300, 13, 11), 8, -8)
    again = segmenter.decode(embedding, [click], said[None].astype(np.float32))
    assert iou(again.masks[0, 0], truth) > 0.8
