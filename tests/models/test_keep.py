"""KEEP: its figures, its towers, its file, its texts."""

from __future__ import annotations

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
from napari_pathfm.models.keep import Keep, build, load

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "an",
    "h",
    "&",
    "e",
    "image",
    "of",
    "tum",
    "##our",
    ".",
]
SMALL: dict[str, Any] = {
    "dim": 24,
    "embed_dim": 48,
    "depth": 2,
    "num_heads": 3,
    "text": {
        "vocab_size": len(WORDS),
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 256,
    },
}


def test_keep_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    spec, network = entries["keep"].encoder, build(entries["keep"], meta=True)
    assert isinstance(network, Keep)
    assert sum(p.numel() for p in network.parameters()) == spec.params
    assert sum(p.numel() for p in network.visual.parameters()) == 303_350_784  # as UNI
    assert (spec.dim, spec.token_dim, spec.patch, spec.prefix_tokens) == (768, 1024, 16, 1)
    assert (spec.mean, spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (spec.tile_px, spec.interpolation, spec.precision) == (224, "bicubic", "float16")
    assert spec.joint  # its vectors are the projected ones
    assert network.text.config.max_position_embeddings >= 256  # type: ignore[union-attr]
    state = network.state_dict()
    published = {
        "visual.blocks.23.ls1.gamma": (1024,),
        "visual_head.0.weight": (768, 1024),
        "visual_head.2.weight": (768, 768),
        "text.encoder.layer.11.attention.self.query.weight": (768, 768),
        "text.pooler.dense.weight": (768, 768),
        "logit_scale": (),
    }
    assert {key: tuple(state[key].shape) for key in published} == published


@pytest.fixture(scope="module")
def small() -> Keep:
    torch.manual_seed(0)
    network = Keep(**SMALL).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


def small_entry(entry: CatalogEntry, network: Keep) -> CatalogEntry:
    params = sum(p.numel() for p in network.parameters())
    spec = replace(entry.encoder, dim=24, token_dim=48, params=params)
    return replace(entry, arch_kwargs=SMALL, spec=spec)


@pytest.fixture
def encoder(tmp_path: Path, entries: dict[str, CatalogEntry], small: Keep) -> Any:
    counters = {"text.embeddings.position_ids": torch.arange(256)[None]}
    torch.save(small.state_dict() | counters, tmp_path / "pytorch_model.bin")
    return load(small_entry(entries["keep"], small), tmp_path / "pytorch_model.bin", "cpu")


def test_keep_from_a_file(encoder: Any, small: Keep, tiles: NDArray[np.uint8]) -> None:
    assert isinstance(encoder, TextEncoder)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (encoder.spec.mean, encoder.spec.std))
    images = (torch.from_numpy(tiles[:2]).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        features = small.visual.forward_features(images)
        first, _, second = small.visual_head
        projected = F.linear(features[:, 0], first.weight, first.bias)
        projected = F.linear(F.gelu(projected), second.weight, second.bias)
        projected = projected / projected.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(encoder.embed(tiles[:2]), projected, atol=1e-5)
    np.testing.assert_allclose(encoder.embed_for_text(tiles[:2]), projected, atol=1e-5)
    patches = features[:, 1:].reshape(2, 14, 14, 48)
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), patches, atol=1e-4)


def direct_bert(state: dict[str, torch.Tensor], ids: list[int]) -> torch.Tensor:
    """BERT written down once more, for one text without padding: the pooler's answer."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"text.{name}.weight"].T + state[f"text.{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = state[f"text.{name}.weight"], state[f"text.{name}.bias"]
        return F.layer_norm(x, (24,), weight, bias, eps=1e-12)

    x = state["text.embeddings.word_embeddings.weight"][ids]
    x = x + state["text.embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + state["text.embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for number in range(2):
        layer = f"encoder.layer.{number}"
        q, k, v = (
            linear(x, f"{layer}.attention.self.{part}").reshape(len(ids), 3, 8)
            for part in ("query", "key", "value")
        )
        scores = torch.einsum("qhd,khd->hqk", q, k).div(8**0.5).softmax(-1)
        y = torch.einsum("hqk,khd->qhd", scores, v).reshape(len(ids), 24)
        y = linear(y, f"{layer}.attention.output.dense")
        x = norm(x + y, f"{layer}.attention.output.LayerNorm")
        y = F.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(y, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return linear(x[0], "pooler.dense").tanh()


def test_texts(encoder: Any, small: Keep, tmp_path: Path, tiles: NDArray[np.uint8]) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), "utf-8")
    texts = ["An H&E image of tumour.", "tumour"]
    found = encoder.embed_text(texts)
    state = small.state_dict()
    for vector, ids in zip(
        found, [[2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 3], [2, 10, 11, 3]], strict=True
    ):
        expected = F.normalize(direct_bert(state, ids), dim=0).numpy()
        np.testing.assert_allclose(vector, expected, atol=1e-5)
    encoder.calibrate(tiles)
    assert np.einsum("nd,nd->n", encoder.embed_text(texts), found).min() > 0.99
    assert encoder.logit_scale == pytest.approx(small.logit_scale.exp().item())


def test_vocabulary_of_another_kind(encoder: Any, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["<pad>", *WORDS[1:]]), "utf-8")
    with pytest.raises(ModelError, match=r"vocab\.txt has no token '\[PAD\]'"):
        encoder.embed_text(["tumour"])


def test_names_of_others_do_not_count(
    tmp_path: Path, entries: dict[str, CatalogEntry], small: Keep
) -> None:
    torch.save(small.state_dict(), tmp_path / "keep.bin")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), "utf-8")  # whose, nobody knows
    encoder: Any = load(small_entry(entries["keep"], small), tmp_path, "cpu")
    with pytest.raises(ModelError, match=r"put the file as keep-tokenizer\.txt into a folder"):
        encoder.embed_text(["tumour"])
    (tmp_path / "vocab.txt").rename(tmp_path / "keep-tokenizer.txt")
    assert encoder.embed_text(["tumour"]).shape == (1, 24)
