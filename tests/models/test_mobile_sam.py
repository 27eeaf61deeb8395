"""MobileSAM: the real network, from a checkpoint as it is published, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_pathfm.core.prompts import Prompts
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import get_segmenter
from napari_pathfm.models.mobile_sam import build


def test_a_checkpoint_as_published_answers_points_and_boxes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build().state_dict()
    state["image_encoder.norm_head.weight"] = torch.zeros(320)
    state["image_encoder.head.weight"] = torch.zeros(1000, 320)
    torch.save(state, tmp_path / "mobile_sam.pt")
    segmenter = get_segmenter("mobile-sam", weights=tmp_path / "mobile_sam.pt", device="cpu")
    assert (segmenter.name, segmenter.input_px) == ("mobile-sam", 1024)
    assert segmenter.answers == {"points", "box", "mask"}
    rgb = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    embedding = segmenter.encode(rgb)
    assert embedding.features.shape == (256, 64, 64)
    prompts = [
        Prompts(np.array([[50.0, 60.0]]), np.array([True])),
        Prompts(box=np.array([10.0, 20.0, 90.0, 120.0])),
    ]
    found = segmenter.decode(embedding, prompts)
    assert found.masks.shape == (2, 3, 200, 200)
    again = segmenter.decode(embedding, prompts, found.logits[:, 0])
    assert not np.allclose(again.logits, found.logits)


def test_the_file_of_litemedsam_is_refused(tmp_path: Path) -> None:
    from napari_pathfm.models import litemedsam

    torch.save(litemedsam.build().state_dict(), tmp_path / "lite.pth")
    with pytest.raises(ModelError, match="does not hold the weights of mobile-sam"):
        get_segmenter("mobile-sam", weights=tmp_path / "lite.pth", device="cpu")
