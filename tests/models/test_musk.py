"""MUSK: its figures, its blocks against their formula, its file, its texts."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from napari_pathfm.models.base import ModelError, TextEncoder
from napari_pathfm.models.catalog import CatalogEntry
from napari_pathfm.models.musk import Musk, Pieces, build, load

SMALL = {
    "image_px": 64,
    "width": 32,
    "depth": 2,
    "heads": 4,
    "vocab": 70,
    "context": 110,
}


def test_musk_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    spec, network = entries["musk"].encoder, build(entries["musk"], meta=True)
    params = sum(p.numel() for p in network.parameters())
    assert params == spec.params
    assert round(params / 1e6, 1) == 675.2
    # 24 x 24 patches, not 32 x 32; half and half, not the mean and std of ImageNet.
    assert (spec.patch, spec.tile_px, spec.tile_px // spec.patch) == (16, 384, 24)
    assert (spec.mean, spec.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (spec.dim, spec.token_dim, spec.prefix_tokens) == (1024, 1024, 1)
    assert (spec.pooling, spec.interpolation, spec.precision) == ("cls", "bicubic", "float16")
    assert not spec.any_size
    assert not spec.commercial


def test_parameters_have_the_published_names(entries: dict[str, CatalogEntry]) -> None:
    state = build(entries["musk"], meta=True).state_dict()
    published = {
        "beit3.text_embed.weight": (64010, 1024),
        "beit3.vision_embed.proj.weight": (1024, 3, 16, 16),
        "beit3.vision_embed.cls_token": (1, 1, 1024),
        "beit3.vision_embed.mask_token": (1, 1, 1024),
        "beit3.encoder.embed_positions.A.weight": (577 + 2, 1024),
        "beit3.encoder.embed_positions.B.weight": (1024, 1024),
        "beit3.encoder.layers.23.self_attn.q_proj.A.weight": (1024, 1024),
        "beit3.encoder.layers.23.self_attn.inner_attn_ln.B.weight": (1024,),
        "beit3.encoder.layers.23.self_attn_layer_norm.A.bias": (1024,),
        "beit3.encoder.layers.23.ffn.B.fc1.weight": (4096, 1024),
        "beit3.encoder.layers.23.ffn.A.ffn_layernorm.weight": (4096,),
        "beit3.encoder.layers.23.final_layer_norm.B.weight": (1024,),
        "beit3.encoder.layer_norm.B.weight": (1024,),
        "language_head.weight": (1024, 1024),
        "vision_head.weight": (1024, 1024),
        "logit_scale": (),
    }
    assert {key: tuple(state[key].shape) for key in published} == published


def small_musk() -> Musk:
    torch.manual_seed(0)
    network = Musk(**SMALL).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def direct_tokens(
    state: dict[str, torch.Tensor], way: str, x: torch.Tensor, padding: torch.Tensor
) -> torch.Tensor:
    """BEiT-3 with its inner norms written down once more, on the published names."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    count = x.shape[1]
    x = x + state[f"beit3.encoder.embed_positions.{way}.weight"][2 : count + 2]
    x = torch.where(padding[..., None], 0.0, x)
    for number in range(2):
        layer = f"beit3.encoder.layers.{number}"
        y = norm(x, f"{layer}.self_attn_layer_norm.{way}")
        q, k, v = (
            linear(y, f"{layer}.self_attn.{part}_proj.{way}").reshape(len(x), count, 4, 8)
            for part in "qkv"
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / 8**0.5
        scores[padding[:, None, None].expand_as(scores)] = -torch.inf
        y = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).reshape(len(x), count, 32)
        y = norm(y, f"{layer}.self_attn.inner_attn_ln.{way}")
        x = x + linear(y, f"{layer}.self_attn.out_proj.{way}")
        y = norm(x, f"{layer}.final_layer_norm.{way}")
        y = F.gelu(linear(y, f"{layer}.ffn.{way}.fc1"))
        y = norm(y, f"{layer}.ffn.{way}.ffn_layernorm")
        x = x + linear(y, f"{layer}.ffn.{way}.fc2")
    return norm(x, f"beit3.encoder.layer_norm.{way}")


def direct_images(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    patches = images.reshape(len(images), 3, 4, 16, 4, 16).permute(0, 2, 4, 1, 3, 5)
    kernel = state["beit3.vision_embed.proj.weight"].flatten(1)
    x = patches.flatten(3).flatten(1, 2) @ kernel.T + state["beit3.vision_embed.proj.bias"]
    x = torch.cat([state["beit3.vision_embed.cls_token"].expand(len(x), 1, -1), x], 1)
    return direct_tokens(state, "A", x, torch.zeros(x.shape[:2], dtype=torch.bool))


def test_texts_go_the_other_way_through_the_blocks() -> None:
    network = small_musk()
    ids = torch.randint(4, 70, (2, 7))
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 4:] = True
    state = network.state_dict()
    expected = direct_tokens(state, "B", state["beit3.text_embed.weight"][ids], padding)
    found = network.beit3.texts(ids, padding)
    torch.testing.assert_close(found[~padding], expected[~padding], atol=1e-4, rtol=1e-4)
    shorter = network.beit3.texts(ids[1:, :4], padding[1:, :4])
    torch.testing.assert_close(found[1:, :4], shorter, atol=1e-4, rtol=1e-4)


def small_entry(entry: CatalogEntry, network: Musk) -> CatalogEntry:
    params = sum(p.numel() for p in network.parameters())
    spec = replace(entry.encoder, dim=32, token_dim=32, tile_px=64, params=params)
    return replace(entry, arch_kwargs=SMALL, spec=spec)


@pytest.fixture
def encoder(tmp_path: Path, entries: dict[str, CatalogEntry]) -> Any:
    """Return a small MUSK from a file."""
    from safetensors.torch import save_file

    network = small_musk()
    save_file(network.state_dict(), tmp_path / "musk.safetensors")
    return load(small_entry(entries["musk"], network), tmp_path, "cpu")


def test_musk_from_a_local_file(encoder: Any, tiles: NDArray[np.uint8]) -> None:
    assert isinstance(encoder, TextEncoder)
    cut = np.ascontiguousarray(tiles[:2, :64, :64])
    images = (torch.from_numpy(cut).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    state = small_musk().state_dict()
    features = direct_images(state, images)
    np.testing.assert_allclose(encoder.embed(cut), features[:, 0], atol=1e-4)
    patches = features[:, 1:].reshape(2, 4, 4, 32)
    np.testing.assert_allclose(encoder.tokens(cut), patches, atol=1e-4)
    projected = F.normalize(features[:, 0] @ state["vision_head.weight"].T, dim=1)
    np.testing.assert_allclose(encoder.embed_for_text(cut), projected, atol=1e-4)


def test_two_scales_are_the_authors_recommendation(
    tmp_path: Path, entries: dict[str, CatalogEntry], encoder: Any, tiles: NDArray[np.uint8]
) -> None:
    entry = small_entry(entries["musk-ms"], small_musk())
    entry = replace(entry, spec=replace(entry.encoder, dim=64))
    both = load(entry, tmp_path, "cpu")  # from musk's own file
    assert both.key.weights == encoder.key.weights
    assert both.key.pooling == "two-scale" != encoder.key.pooling
    cut = np.ascontiguousarray(tiles[:2, :64, :64])
    images = (torch.from_numpy(cut).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    large = F.interpolate(images, size=128, mode="bicubic")
    state = small_musk().state_dict()
    corners = [large[..., y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)]
    quarters = [direct_images(state, corner)[:, 0] for corner in corners]
    expected = torch.cat([direct_images(state, images)[:, 0], torch.stack(quarters).mean(0)], 1)
    np.testing.assert_allclose(both.embed(cut), expected, atol=1e-4)
    np.testing.assert_allclose(both.embed_for_text(cut), encoder.embed_for_text(cut), atol=1e-6)
    np.testing.assert_allclose(both.tokens(cut), encoder.tokens(cut), atol=1e-6)


def test_file_without_the_text_tower(tmp_path: Path, entries: dict[str, CatalogEntry]) -> None:
    network = small_musk()
    state = {k: v for k, v in network.state_dict().items() if k != "language_head.weight"}
    torch.save(state, tmp_path / "musk.pt")
    with pytest.raises(ModelError, match=r"language_head\.weight is missing"):
        load(small_entry(entries["musk"], network), tmp_path / "musk.pt", "cpu")


SENTENCES = ["lung adenocarcinoma", "histopathology image of lung", "normal tissue of the colon"]


def write_pieces(path: Path) -> None:
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=model,
        vocab_size=60,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    path.write_bytes(model.getvalue())


def test_pieces_are_numbered_as_in_xlm_roberta(
    tmp_path: Path, entries: dict[str, CatalogEntry]
) -> None:
    from sentencepiece import SentencePieceProcessor
    from transformers import XLMRobertaTokenizer

    path = tmp_path / "tokenizer.spm"
    write_pieces(path)
    file = SentencePieceProcessor(model_file=str(path))
    marks = [(mark, 0.0) for mark in ("<s>", "<pad>", "</s>", "<unk>")]
    rest = [(file.id_to_piece(i), file.get_score(i)) for i in range(3, file.get_piece_size())]
    reference = XLMRobertaTokenizer(vocab=marks + rest)
    pieces = Pieces(entries["musk"], path.parent)
    for text in [*SENTENCES, "lung tissue!"]:
        ids, padding = pieces([text])
        assert ids[0].tolist() == reference.encode(text)
        assert not padding.any()
    assert 3 in pieces(["lung tissue!"])[0]
    ids, padding = pieces(["lung", "lung adenocarcinoma " * 60])
    assert ids.shape == (2, 100)
    assert (ids[:, 0].tolist(), int(ids[1, -1])) == ([0, 0], 2)
    assert padding.sum(1).tolist() == [int((ids[0] == 1).sum()), 0]


def test_texts(encoder: Any, tmp_path: Path, tiles: NDArray[np.uint8]) -> None:
    assert encoder.embed(tiles[:1]).shape == (1, 32)  # images do without a tokeniser
    write_pieces(tmp_path / "tokenizer.spm")
    found = encoder.embed_text(SENTENCES)
    assert found.shape == (3, 32)
    state = small_musk().state_dict()
    ids, padding = encoder._network.pieces(SENTENCES[:1])
    tokens = direct_tokens(state, "B", state["beit3.text_embed.weight"][ids], padding)
    expected = F.normalize(tokens[:, 0] @ state["language_head.weight"].T, dim=1)
    np.testing.assert_allclose(found[:1], expected, atol=1e-4)
    encoder.calibrate(tiles)
    assert np.einsum("nd,nd->n", encoder.embed_text(SENTENCES), found).min() > 0.99


def test_what_is_no_tokenizer(
    entries: dict[str, CatalogEntry], broken_file: Callable[[str, bytes], Path]
) -> None:
    path = broken_file("tokenizer.spm", b"no model")
    with pytest.raises(ModelError, match=r"tokenizer\.spm cannot be read as a tokeniser"):
        Pieces(entries["musk"], path.parent)(["lung"])
