"""CLIP and its relatives: images and texts in one space."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_pathfm.models.base import ModelError, TextEncoder
from napari_pathfm.models.catalog import CatalogEntry, build, get_encoder
from napari_pathfm.models.clip import load as load_clip
from napari_pathfm.models.clip import tokenize
from napari_pathfm.models.encoder import NetworkTextEncoder
from napari_pathfm.models.openclip import load
from napari_pathfm.models.precision import Precision, convert, cosine

Tiles = NDArray[np.uint8]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
TEXTS = ["lymphocytes, H&E", "an H&E image of tumor.", "Fibröse  Stroma's 12", "a " * 100]


def test_spaces_are_called_joint_where_vectors_of_tiles_are_those_for_texts(
    entries: dict[str, CatalogEntry],
) -> None:
    asked = {name: e for name, e in entries.items() if getattr(e.spec, "text", False)}
    joint = set()
    for name, entry in asked.items():
        network = type(build(entry, meta=True))
        if entry.encoder.pooling == "own" and network.pool is network.project:
            joint.add(name)
    assert joint == {name for name, entry in asked.items() if entry.encoder.joint}
    assert {"clip", "plip", "quiltnet-b-16", "keep"} <= joint
    assert joint.isdisjoint({"conch", "musk", "biovil"})


def test_vision_tower_of_clip(entries: dict[str, CatalogEntry]) -> None:
    vision = build(entries["clip"], meta=True).vision_model
    assert sum(p.numel() for p in vision.parameters()) == 87_456_000


SHORT = {"vision_config": {"num_hidden_layers": 2}, "text_config": {"num_hidden_layers": 2}}
"""Two blocks of twelve, so that a test can hold it; all else stays."""


@pytest.fixture(scope="module")
def library_clip() -> Any:
    """The library's CLIP B/32 with two blocks and random weights."""
    import transformers

    torch.manual_seed(0)
    return transformers.CLIPModel(transformers.CLIPConfig(**SHORT)).eval()


def short(entry: CatalogEntry, library_clip: Any) -> CatalogEntry:
    params = sum(parameter.numel() for parameter in library_clip.parameters())
    return replace(entry, arch_kwargs=SHORT, spec=replace(entry.spec, params=params))


@pytest.fixture(scope="module")
def clip_file(library_clip: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "pytorch_model.bin"
    counters = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save({**library_clip.state_dict(), **counters}, path)  # as older versions wrote it
    return path


@pytest.fixture(scope="module")
def clip(
    entries: dict[str, CatalogEntry], library_clip: Any, clip_file: Path
) -> NetworkTextEncoder:
    encoder = load_clip(short(entries["clip"], library_clip), clip_file, "cpu")
    assert isinstance(encoder, NetworkTextEncoder)
    return encoder


def normalised(tiles: Tiles) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255 - mean) / std


def test_image_vectors_and_tokens_are_the_librarys(
    clip: NetworkTextEncoder, library_clip: Any, tiles: Tiles
) -> None:
    with torch.inference_mode():
        seen = library_clip.vision_model(normalised(tiles[:2]))
        projected = library_clip.visual_projection(seen.pooler_output)
        tokens = library_clip.vision_model.post_layernorm(seen.last_hidden_state[:, 1:])
    np.testing.assert_allclose(clip.embed(tiles[:2]), projected.numpy(), atol=1e-4)
    expected = tokens.unflatten(1, (7, 7)).numpy()
    np.testing.assert_allclose(clip.tokens(tiles[:2]), expected, atol=1e-4)
    unit = projected / projected.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(clip.embed_for_text(tiles[:2]), unit.numpy(), atol=1e-4)


def test_tokens_of_larger_tiles(clip: NetworkTextEncoder, tiles: Tiles) -> None:
    large = np.zeros((1, 288, 288, 3), np.uint8)
    large[:, :224, :224] = tiles[:1]
    assert clip.tokens(large).shape == (1, 9, 9, 768)


def reference_tokenizer(folder: Path) -> Any:
    """transformers' tokenizer with the vocabulary of open_clip: files written from it."""
    import json

    import transformers
    from open_clip.tokenizer import SimpleTokenizer

    plain = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(word, word): number for word, number in plain.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    merges = "\n".join(" ".join(pair) for pair in plain.bpe_ranks)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", "utf-8")
    return transformers.CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    )


def test_text_is_cut_into_the_tokens_of_two_libraries(tmp_path: Path) -> None:
    import open_clip

    numbers = tokenize(TEXTS)
    assert numbers.shape == (4, 77)
    assert (numbers == open_clip.get_tokenizer("ViT-B-32")(TEXTS)).all()
    reference = reference_tokenizer(tmp_path)
    for text, row in zip(TEXTS, numbers.tolist(), strict=True):
        expected = reference(text, truncation=True, max_length=77)["input_ids"]
        assert row == expected + [0] * (77 - len(expected))


def test_text_vectors_are_the_librarys(clip: NetworkTextEncoder, library_clip: Any) -> None:
    assert isinstance(clip, TextEncoder)
    numbers = tokenize(TEXTS)
    padded = numbers.masked_fill(numbers == 0, 49407)  # what its tokenizer fills up with
    with torch.inference_mode():
        features = library_clip.get_text_features(padded)
    features = getattr(features, "pooler_output", features)
    expected = (features / features.norm(dim=1, keepdim=True)).numpy()
    found = clip.embed_text(TEXTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert clip.logit_scale == pytest.approx(library_clip.logit_scale.exp().item())


def test_text_after_calibration(clip: NetworkTextEncoder, tiles: Tiles) -> None:
    half = Precision("bfloat16")
    encoder = NetworkTextEncoder(clip.spec, convert(clip._network, half), "", "cpu")
    encoder.precision = half
    assert cosine(encoder.embed_text(TEXTS), clip.embed_text(TEXTS)).min() > 0.995
    assert encoder.embed_for_text(tiles[:2]).shape == (2, 512)


def test_plip_is_the_same_network(
    entries: dict[str, CatalogEntry],
    library_clip: Any,
    clip_file: Path,
    clip: NetworkTextEncoder,
    tiles: Tiles,
) -> None:
    assert (
        replace(entries["plip"], spec=entries["clip"].spec, weights=entries["clip"].weights)
        == (entries["clip"])
    )
    plip = load_clip(short(entries["plip"], library_clip), clip_file, "cpu")
    np.testing.assert_array_equal(plip.embed(tiles[:1]), clip.embed(tiles[:1]))
    assert plip.key.encoder == "plip"


def test_quiltnet_is_open_clips_network(
    entries: dict[str, CatalogEntry], tmp_path: Path, tiles: Tiles
) -> None:
    import open_clip

    torch.manual_seed(0)
    config = copy.deepcopy(open_clip.get_model_config("ViT-B-32"))
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2  # so that a test can hold it
    library = open_clip.model.CLIP(**config).eval()
    count = sum(parameter.numel() for parameter in library.parameters())
    entry = entries["quiltnet-b-32"]
    entry = replace(entry, arch_kwargs=config, spec=replace(entry.spec, params=count))
    path = tmp_path / "open_clip_pytorch_model.bin"
    torch.save(library.state_dict(), path)
    encoder = load(entry, path, "cpu")
    assert isinstance(encoder, NetworkTextEncoder)
    visual = library.visual
    visual.output_tokens = True
    with torch.inference_mode():
        pooled, tokens = visual(normalised(tiles[:2]))
        texts = library.encode_text(open_clip.get_tokenizer("ViT-B-32")(TEXTS), normalize=True)
    np.testing.assert_allclose(encoder.embed(tiles[:2]), pooled.numpy(), atol=1e-4)
    expected = tokens.unflatten(1, (7, 7)).numpy()
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), expected, atol=1e-4)
    np.testing.assert_allclose(encoder.embed_text(TEXTS), texts.numpy(), atol=1e-5)
    encoder.precision = Precision("bfloat16")
    encoder._network = convert(encoder._network, encoder.precision)
    assert cosine(encoder.embed_text(TEXTS), texts.numpy()).min() > 0.995
    assert cosine(encoder.embed(tiles[:2]), pooled.numpy()).min() > 0.995


def test_file_of_the_other_library_is_refused(clip_file: Path) -> None:
    with pytest.raises(ModelError, match="does not hold the weights of quiltnet-b-32"):
        get_encoder("quiltnet-b-32", weights=clip_file, device="cpu")
