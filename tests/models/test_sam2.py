"""SAM 2.1: the real network of transformers with random weights, in the form of SAM's parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_pathfm.core.prompts import Prompts
from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import entries, get_segmenter
from napari_pathfm.models.sam2 import SIZES, build


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that answers are exact."""
    monkeypatch.setattr("napari_pathfm.models.precision.half_wins", lambda device: False)


def test_parameters_are_those_of_the_catalogue() -> None:
    for size in SIZES:
        name = f"sam2.1-{size}"
        with torch.device("meta"):
            network = build(name)
        found = sum(parameter.numel() for parameter in network.parameters())
        assert found == entries()[name].spec.params, name


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module]:
    """A file as it is published, with what follows objects through a video."""
    torch.manual_seed(0)
    network = build("sam2.1-tiny")
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    state["memory_attention.layers.0.linear1.weight"] = torch.zeros(3)
    state["no_object_pointer"] = torch.zeros(1, 256)
    file = tmp_path_factory.mktemp("sam2") / "model.safetensors"
    save_file({key: value.clone() for key, value in state.items()}, file)
    return file, network


def test_it_answers_as_transformers_does(tiny: tuple[Path, torch.nn.Module]) -> None:
    file, network = tiny
    segmenter = get_segmenter("sam2.1-tiny", weights=file, device="cpu")
    assert segmenter.answers == {"points", "box", "mask"}
    rgb = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    embedding = segmenter.encode(rgb)
    places, signs = np.array([[50.0, 600.0], [700.0, 90.0]]), np.array([True, False])
    prompts = [Prompts(places, signs), Prompts(places + 100, ~signs)]
    found = segmenter.decode(embedding, prompts)
    assert found.masks.shape == (2, 3, 1024, 1024)

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((torch.from_numpy(rgb) / 255 - mean) / std).permute(2, 0, 1)[None]
    backwards = np.stack([places[:, ::-1], places[:, ::-1] + 100])
    with torch.inference_mode():
        expected = network(
            pixel_values=pixels,
            input_points=torch.tensor(backwards[None].copy(), dtype=torch.float32),
            input_labels=torch.tensor(np.stack([signs, ~signs])[None].astype(np.int32)),
        )
    for number in range(2):
        scores = expected.iou_scores[0, number].numpy()
        order = np.argsort(-scores, kind="stable")
        np.testing.assert_allclose(
            found.scores[number], scores[order].clip(0, 1), rtol=1e-3, atol=1e-4
        )
        logits = expected.pred_masks[0, number].numpy()[order]
        np.testing.assert_allclose(found.logits[number], logits, rtol=1e-2, atol=1e-3)
    boxed = [Prompts(box=np.array([10.0, 20.0, 500.0, 400.0]))]
    first = segmenter.decode(embedding, boxed)
    again = segmenter.decode(embedding, boxed, first.logits[:, 0])
    assert not np.allclose(first.logits, again.logits)


def test_the_file_of_another_size_is_refused(tiny: tuple[Path, torch.nn.Module]) -> None:
    with pytest.raises(ModelError, match=r"does not hold the weights of sam2\.1-large"):
        get_segmenter("sam2.1-large", weights=tiny[0], device="cpu")
