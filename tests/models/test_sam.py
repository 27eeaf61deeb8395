"""SAM: the real architecture with random weights, and where masks and prompts lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_pathfm.core.prompts import Prompts
from napari_pathfm.models.base import ImageEmbedding, ModelError, Segmenter
from napari_pathfm.models.catalog import get_segmenter
from napari_pathfm.models.sam import normalise
from napari_pathfm.models.sam_segmenter import SamSegmenter


def points(*places: tuple[float, float], positive: Sequence[bool] = ()) -> Prompts:
    signs = np.array(positive or [True] * len(places))
    return Prompts(np.array(places, float), signs)


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are not converted, so that they can be looked at, and answers are exact."""
    monkeypatch.setattr("napari_pathfm.models.precision.half_wins", lambda device: False)


class Parts(torch.nn.Module):
    """Stands in for a network's three parts: shows what they get, gives known answers."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, Any]] = []
        self.image = torch.zeros(0)
        self.image_encoder = self._part(self._encode)
        self.prompt_encoder = self._part(self._prompt)
        self.prompt_encoder.get_dense_pe = lambda: torch.zeros(1, 1, 1, 1)  # type: ignore[assignment]
        self.mask_decoder = self._part(self._decode)

    def _part(self, forward: Any) -> torch.nn.Module:
        part = torch.nn.Module()
        part.forward = forward  # type: ignore[method-assign]
        return part

    def _encode(self, image: torch.Tensor) -> torch.Tensor:
        self.image = image
        return image[:, :1]

    def _prompt(self, **prompts: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(prompts)
        given = next(v for v in prompts.values() if v is not None)
        count = len(given[0] if isinstance(given, tuple) else given)
        return torch.zeros(count, 1, 1), torch.zeros(1)

    def _decode(self, sparse_prompt_embeddings: torch.Tensor, **_: Any) -> tuple[Any, Any]:
        count = len(sparse_prompt_embeddings)
        low = torch.full((count, 3, 256, 256), -1.0)
        low[:, 0, :64, :128] = 1.0
        low[:, 1, :16] = 1.0
        return low, torch.tensor([[0.2, 1.3, 0.5]]).repeat(count, 1)


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def segmenter(parts: Parts) -> SamSegmenter:
    return SamSegmenter("sam-vit-b", parts, 1024, lambda x: x, "cpu")


def test_crop_fills_the_square_from_the_upper_left(segmenter: SamSegmenter, parts: Parts) -> None:
    embedding = segmenter.encode(np.full((300, 600, 3), 200, np.uint8))
    assert embedding.shape == (300, 600)
    assert parts.image.shape == (1, 3, 1024, 1024)
    assert parts.image[..., :512, :].min() == 200
    assert parts.image[..., 512:, :].max() == 0


def test_masks_lie_where_the_logits_say_best_first(segmenter: SamSegmenter) -> None:
    # A crop of 300 x 600 fills the upper half of the square, logits are 256 wide: the first
    # 64 x 128 of them are the left half, 150 x 300, of the crop's upper half.
    embedding = segmenter.encode(np.zeros((300, 600, 3), np.uint8))
    answer = segmenter.decode(embedding, [points((10, 20))])
    assert answer.scores[0].tolist() == pytest.approx([1.0, 0.5, 0.2])
    stripe, nothing, corner = answer.masks[0]
    rows, cols = np.nonzero(corner)
    assert (rows.min(), cols.min()) == (0, 0)
    assert abs(rows.max() - 149) <= 1
    assert abs(cols.max() - 299) <= 1
    assert corner.sum() == pytest.approx(150 * 300, rel=0.02)
    assert stripe[:36].all()
    assert not stripe[39:].any()
    assert not nothing.any()
    assert (answer.logits[0, 2, :64, :128] == 1).all()


def test_prompts_are_turned_and_scaled(segmenter: SamSegmenter, parts: Parts) -> None:
    embedding = segmenter.encode(np.zeros((256, 512, 3), np.uint8))
    both = Prompts(np.array([[10.0, 20.0]]), np.array([False]), np.array([1.0, 2.0, 30.0, 40.0]))
    segmenter.decode(embedding, [both], np.full((1, 256, 256), 7, np.float32))
    (seen,) = parts.seen
    places, signs = seen["points"]
    assert places.tolist() == [[[40.0, 20.0]]]
    assert signs.tolist() == [[0]]
    assert seen["boxes"].tolist() == [[4.0, 2.0, 80.0, 60.0]]
    assert seen["masks"].shape == (1, 1, 256, 256)


def test_on_two_cores_one_prompt_takes_one_thread(parts: Parts) -> None:
    seen: list[int] = []

    def decode(**inputs: Any) -> tuple[Any, Any]:
        seen.append(torch.get_num_threads())
        return parts._decode(**inputs)

    parts.mask_decoder.forward = decode  # type: ignore[method-assign]
    segmenter = SamSegmenter("sam-vit-b", parts, 1024, lambda x: x, "cpu")
    embedding = segmenter.encode(np.zeros((64, 64, 3), np.uint8))
    before = torch.get_num_threads()
    try:
        for threads in (2, 3):
            torch.set_num_threads(threads)
            segmenter.decode(embedding, [points((1, 2))])
            segmenter.decode(embedding, [points((1, 2)), points((3, 4))])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2, 3, 3]


def test_objects_with_different_prompts(segmenter: SamSegmenter, parts: Parts) -> None:
    embedding = segmenter.encode(np.zeros((64, 64, 3), np.uint8))
    one, two = points((1, 2)), points((3, 4), (5, 6), positive=[True, False])
    answer = segmenter.decode(embedding, [one, two, points((7, 8))])
    assert len(answer.masks) == 3
    asked = [tuple(seen["points"][0].shape) for seen in parts.seen]
    assert asked == [(2, 1, 2), (1, 2, 2)]
    assert answer.scores.min() > 0


def test_what_does_not_go_together(segmenter: SamSegmenter) -> None:
    other = ImageEmbedding("litemedsam", (9, 9), np.zeros((256, 64, 64), np.float32))
    with pytest.raises(ValueError, match="encoded by litemedsam, so sam-vit-b cannot decode"):
        segmenter.decode(other, [points((1, 1))])
    embedding = segmenter.encode(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="click on it or draw a box"):
        segmenter.decode(embedding, [Prompts()])
    with pytest.raises(ValueError, match=r"logits must be \(1, p, p\)"):
        segmenter.decode(embedding, [points((1, 1))], np.zeros((2, 256, 256), np.float32))
    with pytest.raises(ValueError, match="a crop must be"):
        segmenter.encode(np.zeros((9, 9), np.uint8))


def test_pixels_are_normalised() -> None:
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    found = normalise(mean + 2 * std)
    torch.testing.assert_close(found, torch.full((1, 3, 1, 1), 2.0))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Random weights of the real ViT-B architecture under the original file name."""
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    with torch.device("meta"):
        empty = sam_model_registry["vit_b"]()
    state = {key: torch.randn(value.shape) * 0.02 for key, value in empty.state_dict().items()}
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save(state, path)
    return path


def test_real_architecture(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHFM_MODELS", str(checkpoint.parent))
    segmenter = get_segmenter("sam-vit-b", device="cpu")
    assert isinstance(segmenter, Segmenter)
    assert segmenter.answers == {"points", "box", "mask"}
    rng = np.random.default_rng(0)
    embedding = segmenter.encode(rng.integers(0, 255, (200, 120, 3), np.uint8))
    assert embedding.features.shape == (256, 64, 64)
    box = Prompts(box=np.array([10.0, 10.0, 90.0, 60.0]))
    answer = segmenter.decode(embedding, [points((50, 60)), box])
    assert answer.masks.shape == (2, 3, 200, 120)
    assert (np.diff(answer.scores, axis=1) <= 0).all()
    again = segmenter.decode(embedding, [box], answer.logits[1:, 0])
    assert np.isfinite(again.logits).all()
    assert not np.array_equal(again.logits[0], answer.logits[1])
    with pytest.raises(ModelError, match="does not hold the weights of sam-vit-l"):
        get_segmenter("sam-vit-l", weights=checkpoint)


def test_no_checkpoint_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def offline(*_: object, **__: object) -> NDArray[Any]:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "get", offline)
    with pytest.raises(ModelError, match=r"sam-vit-h cannot be downloaded from https://dl\.fb"):
        get_segmenter("sam-vit-h")


@pytest.mark.parametrize("layout", ["published", "while training"])
def test_a_file_of_patho_sam_loads_in_either_layout(tmp_path: Path, layout: str) -> None:
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    state = sam_model_registry["vit_b"]().state_dict()
    file = tmp_path / "vit_b_histopathology.pt"
    saved: dict[str, Any] = dict(state)
    if layout == "while training":
        saved = {
            "model_state": {f"sam.{key}": value for key, value in state.items()},
            "decoder_state": {"conv.weight": torch.zeros(1)},
            "epoch": 3,
        }
    torch.save(saved, file)
    segmenter = get_segmenter("patho-sam-vit-b", weights=tmp_path, device="cpu")
    assert segmenter.name == "patho-sam-vit-b"
    assert segmenter.answers == {"points", "box", "mask"}
    kept = segmenter._decoder.eager._part.iou_token.weight  # type: ignore[attr-defined]
    torch.testing.assert_close(
        kept.float(), state["mask_decoder.iou_token.weight"], atol=1e-2, rtol=1e-2
    )
