"""SegGPT: its figures, and its answers beside those of transformers' own way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_pathfm.models.base import ExamplePair, ExampleSegmenter, ModelError
from napari_pathfm.models.catalog import (
    CatalogEntry,
    build,
    example_segmenters,
    get_example_segmenter,
    get_segmenter,
)
from napari_pathfm.models.check import Memory, check
from napari_pathfm.models.seggpt import load


def test_seggpt_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    entry = entries["seggpt"]
    network: Any = build(entry, meta=True)
    params = sum(parameter.numel() for parameter in network.parameters())
    assert params == 370_723_203 == entry.spec.params
    assert entry.spec.kind == "example"
    # Two images of 448 px, one above the other, in patches of 16; every block sees all of it.
    assert tuple(network.config.image_size) == (896, 448)
    assert network.model.embeddings.patch_embeddings.projection.kernel_size == (16, 16)
    layers = network.model.encoder.layers
    assert len(layers) == 24
    assert {tuple(each.attention.rel_pos_h.shape) for each in layers} == {(2 * 56 - 1, 64)}
    assert {tuple(each.attention.rel_pos_w.shape) for each in layers} == {(2 * 28 - 1, 64)}
    assert network.decoder.decoder_embed.in_features == 4 * 1024  # blocks 5, 11, 17 and 23
    assert network.config.merge_index == 2


def test_fact_that_the_network_contradicts(entries: dict[str, CatalogEntry]) -> None:
    entry = entries["seggpt"]
    wrong = replace(entry, spec=replace(entry.spec, params=370_000_000))
    with pytest.raises(ModelError, match=r"params = 370000000, but .* SegGPT has 370723203"):
        build(wrong, meta=True)


def test_only_its_weights_are_missing(entries: dict[str, CatalogEntry], tmp_path: Path) -> None:
    assert example_segmenters().names() == ("seggpt",)
    (obstacle,) = check(entries["seggpt"], memory=Memory(2**40, "computer")).obstacles
    assert "downloaded" in obstacle.text
    (tmp_path / "seggpt.safetensors").touch()
    assert check(entries["seggpt"], tmp_path, Memory(2**40, "computer")).ready


def test_it_is_no_segmenter_for_prompts() -> None:
    with pytest.raises(ModelError, match=r"a segmenter by example, no segmenter.*pathfm-click"):
        get_segmenter("seggpt")
    with pytest.raises(ModelError, match="litemedsam"):
        get_example_segmenter("paseg")


@pytest.fixture
def small(entries: dict[str, CatalogEntry]) -> tuple[CatalogEntry, Any]:
    """An entry of four narrow blocks, and transformers' network with random weights."""
    import transformers

    kwargs = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "decoder_hidden_size": 8,
        "intermediate_hidden_state_indices": [2, 3],
    }
    torch.manual_seed(0)
    library: Any = transformers
    network = library.SegGptForImageSegmentation(library.SegGptConfig(**kwargs)).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False).normal_(std=0.3)
    count = sum(parameter.numel() for parameter in network.parameters())
    entry = entries["seggpt"]
    spec = replace(entry.spec, params=count)
    return replace(entry, arch_kwargs=kwargs, spec=spec), network


def pairs(count: int) -> list[ExamplePair]:
    """Images of different sizes, with a disc marked in each."""
    rng = np.random.default_rng(count)
    made = []
    for number in range(count):
        side = 300 + 90 * number
        coarse = rng.integers(0, 256, (10, 10, 3), np.uint8)
        rgb = coarse.repeat(side // 10, 0).repeat(side // 10, 1)
        y, x = np.mgrid[:side, :side]
        made.append((rgb, (y - 130) ** 2 + (x - 150) ** 2 < 90**2))
    return made


def authors_answer(network: Any, inputs: Any) -> Any:
    """The authors' order: image and mask are averaged apart up to where the two are merged."""
    config, encoder = network.config, network.model.encoder
    images = torch.cat([inputs["prompt_pixel_values"], inputs["pixel_values"]], 2)
    masks = torch.cat([inputs["prompt_masks"]] * 2, 2)
    unknown = torch.arange(56 * 28)[None] >= 28 * 28
    hidden = network.model.embeddings(images, masks, unknown, "instance")
    kept = []
    for number, block in enumerate(encoder.layers):
        hidden = block(hidden, 2 if number <= config.merge_index else 1, len(images) > 1)[0]
        if number == config.merge_index:
            hidden = (hidden[: len(images)] + hidden[len(images) :]) / 2
        if number in config.intermediate_hidden_state_indices:
            kept.append(encoder.layernorm(hidden))
    return SimpleNamespace(pred_masks=network.decoder(torch.cat(kept, -1)))


@pytest.mark.parametrize("count", [1, 3])
def test_its_answer_is_that_of_transformers(
    small: tuple[CatalogEntry, Any], tmp_path: Path, count: int
) -> None:
    """For several examples, in the authors' order, from which that of transformers differs."""
    import transformers

    entry, network = small
    save_file(network.state_dict(), tmp_path / "seggpt.safetensors")
    model = load(entry, tmp_path / "seggpt.safetensors", "cpu")
    assert isinstance(model, ExampleSegmenter)
    assert (model.name, model.input_px) == ("seggpt", 448)
    examples, query = pairs(count), pairs(5)[4][0][:500]
    likely = model.learn(examples)(query)
    assert (likely.shape, likely.dtype) == ((500, 660), np.float32)
    assert 0 <= likely.min() < likely.max() <= 1
    library: Any = transformers
    processor = library.SegGptImageProcessor()
    inputs = processor(
        images=[query] * count,
        prompt_images=[rgb for rgb, _ in examples],
        prompt_masks=[mask.astype(np.uint8) for _, mask in examples],
        num_labels=1,
        do_convert_rgb=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        outputs = network(**inputs) if count == 1 else authors_answer(network, inputs)
    theirs = processor.post_process_semantic_segmentation(
        outputs, target_sizes=[query.shape[:2]] * count, num_labels=1
    )[0].numpy()
    assert 0.02 < theirs.mean() < 0.98, "both answers have to be there"
    assert ((likely > 0.5) == (theirs == 1)).mean() > 0.9999


def test_every_example_counts(small: tuple[CatalogEntry, Any], tmp_path: Path) -> None:
    entry, network = small
    save_file(network.state_dict(), tmp_path / "seggpt.safetensors")
    model = load(entry, tmp_path, "cpu")
    one, two, three = pairs(3)
    query = one[0]
    first = model.learn([one, two])(query)
    assert not np.allclose(first, model.learn([one, three])(query))
    assert not np.allclose(first, model.learn([one])(query))
    assert abs(first - model.learn([two, one])(query)).mean() < 1e-3 < abs(first - 0.5).mean()


def test_what_it_cannot_do_is_said(small: tuple[CatalogEntry, Any], tmp_path: Path) -> None:
    entry, network = small
    save_file(network.state_dict(), tmp_path / "seggpt.safetensors")
    with pytest.raises(ValueError, match="There is no example"):
        load(entry, tmp_path, "cpu").learn([])
    state = {k: v for k, v in network.state_dict().items() if "mask_token" not in k}
    save_file(state, tmp_path / "seggpt.safetensors")
    with pytest.raises(ModelError, match="mask_token is missing"):
        load(entry, tmp_path, "cpu")
