"""CONCH and CONCH v1.5: their figures, their poolers, their text tower, their files."""

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

from napari_pathfm.analysis.text_search import tiles_for_text
from napari_pathfm.models.base import ModelError, TextEncoder
from napari_pathfm.models.catalog import CatalogEntry, get_encoder
from napari_pathfm.models.conch import (
    Conch,
    ConchV15,
    PlainPooler,
    Pooler,
    build,
    enlarge_positions,
    load,
)
from napari_pathfm.models.conch_text import TextTower

CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TEXT = {"vocab": 60, "context": 12, "width": 32, "depth": 2, "heads": 4}
SMALL = {
    "image_px": 64,
    "width": 48,
    "depth": 2,
    "heads": 3,
    "dim": 16,
    "caption_queries": 4,
    "caption_dim": 24,
    "text": TEXT,
}
SMALL_V15 = {"image_px": 448, "width": 48, "depth": 2, "heads": 3, "dim": 16}


def test_conch_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    spec, network = entries["conch"].encoder, build(entries["conch"], meta=True)
    assert isinstance(network, Conch)
    ours = sum(p.numel() for p in network.parameters())
    assert ours == spec.params
    assert sum(p.numel() for p in network.visual.trunk.parameters()) == 86_250_240
    # The text decoder that was left out: 12 blocks, 12 with cross attention and a norm more.
    block = sum(p.numel() for p in network.text.transformer.resblocks[0].parameters())  # type: ignore[index, union-attr]
    decoder = 24 * block + 12 * 2 * 768 + 2 * 768 + 768 * 32007
    assert round((ours + decoder) / 1e6, 1) == 395.2
    assert tuple(network.visual.trunk.pos_embed.shape) == (1, 785, 768)
    assert (spec.dim, spec.token_dim, spec.patch, spec.prefix_tokens) == (512, 768, 16, 1)
    assert (spec.input_px // spec.patch, spec.tile_px) == (28, 448)
    assert (spec.mean, spec.std, spec.interpolation) == (*CLIP, "bicubic")
    assert (spec.precision, spec.commercial, spec.text) == ("float32", False, True)


def test_conch_v1_5_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    spec, network = entries["conch-v1.5"].encoder, build(entries["conch-v1.5"], meta=True)
    assert sum(p.numel() for p in network.parameters()) == spec.params
    trunk: Any = network.trunk
    assert round(sum(p.numel() for p in trunk.parameters()) / 1e6) == 304
    assert tuple(trunk.pos_embed.shape) == (1, 785, 1024)
    # What others give as its width, 768, is that of the vector; its tokens have 1024.
    assert (spec.dim, spec.token_dim, spec.patch, spec.prefix_tokens) == (768, 1024, 16, 1)
    assert (spec.input_px // spec.patch, spec.tile_px) == (28, 448)
    assert (spec.mean, spec.std, spec.precision, spec.text) == (*IMAGENET, "float16", False)


PUBLISHED = {
    "conch": {
        "visual.trunk.blocks.11.attn.qkv.weight": (2304, 768),
        "visual.attn_pool_contrast.query": (1, 512),
        "visual.attn_pool_contrast.attn.q_proj_weight": (512, 512),
        "visual.attn_pool_contrast.attn.k_proj_weight": (512, 768),
        "visual.attn_pool_contrast.attn.in_proj_bias": (1536,),
        "visual.attn_pool_caption.query": (256, 768),
        "visual.attn_pool_caption.attn.in_proj_weight": (2304, 768),
        "visual.proj_contrast": (512, 512),
        "visual.ln_caption.weight": (768,),
        "text.cls_emb": (768,),
        "text.positional_embedding": (128, 768),
        "text.token_embedding.weight": (32007, 768),
        "text.transformer.resblocks.11.mlp.c_fc.weight": (3072, 768),
        "text.text_projection": (768, 512),
        "logit_scale": (),
    },
    "conch-v1.5": {
        "trunk.blocks.23.ls2.gamma": (1024,),
        "attn_pool_contrast.query": (1, 768),
        "attn_pool_contrast.to_q.weight": (768, 768),
        "attn_pool_contrast.to_kv.weight": (1536, 1024),
        "attn_pool_contrast.to_out.weight": (768, 768),
        "ln_contrast.bias": (768,),
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_have_the_published_names(entries: dict[str, CatalogEntry], name: str) -> None:
    state = build(entries[name], meta=True).state_dict()
    assert {key: tuple(state[key].shape) for key in PUBLISHED[name]} == PUBLISHED[name]


def test_pooler_is_the_formula() -> None:
    torch.manual_seed(0)
    pooler, tokens = Pooler(16, 24, queries=3, heads=4), torch.randn(2, 5, 24)
    for parameter in pooler.parameters():
        nn.init.normal_(parameter, std=0.5)
    weights = dict(pooler.attn.named_parameters())
    bias = weights["in_proj_bias"].chunk(3)
    q = F.layer_norm(pooler.query, (16,), pooler.ln_q.weight, pooler.ln_q.bias)
    t = F.layer_norm(tokens, (24,), pooler.ln_k.weight, pooler.ln_k.bias)
    q = (q @ weights["q_proj_weight"].T + bias[0]).reshape(3, 4, 4)
    k = (t @ weights["k_proj_weight"].T + bias[1]).reshape(2, 5, 4, 4)
    v = (t @ weights["v_proj_weight"].T + bias[2]).reshape(2, 5, 4, 4)
    attention = torch.einsum("qhd,bkhd->bhqk", q, k).div(2).softmax(-1)
    summed = torch.einsum("bhqk,bkhd->bqhd", attention, v).reshape(2, 3, 16)
    expected = summed @ weights["out_proj.weight"].T + weights["out_proj.bias"]
    torch.testing.assert_close(pooler(tokens), expected, atol=1e-5, rtol=1e-4)


def test_plain_pooler_is_torchs_attention_without_biases() -> None:
    torch.manual_seed(0)
    pooler, tokens = PlainPooler(16, 24, heads=4), torch.randn(2, 5, 24)
    reference = nn.MultiheadAttention(16, 4, kdim=24, vdim=24, bias=False, batch_first=True)
    keys, values = pooler.to_kv.weight.chunk(2)
    reference.load_state_dict(
        {
            "q_proj_weight": pooler.to_q.weight,
            "k_proj_weight": keys,
            "v_proj_weight": values,
            "out_proj.weight": pooler.to_out.weight,
        }
    )
    normed = pooler.ln_k(tokens)
    expected = reference(pooler.ln_q(pooler.query).expand(2, 1, 16), normed, normed)[0]
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(pooler(tokens), expected)


def test_text_tower_is_that_of_coca() -> None:
    from open_clip.transformer import TextTransformer

    torch.manual_seed(0)
    reference = TextTransformer(
        context_length=11, vocab_size=60, width=32, heads=4, layers=2, output_dim=16, embed_cls=True
    )
    for parameter in reference.parameters():
        nn.init.normal_(parameter, std=0.3)
    tower = TextTower(dim=16, **TEXT)
    tower.load_state_dict(reference.state_dict())
    ids = torch.randint(1, 60, (3, 11))
    ids[1, 4:] = 0
    ids[2, 1:] = 0
    expected = reference.eval()(ids)
    torch.testing.assert_close(tower.eval()(ids), expected, atol=1e-4, rtol=1e-4)
    # What stands for nothing takes no part, but for one place behind the text's end.
    changed = tower.state_dict() | {"positional_embedding": tower.positional_embedding.clone()}
    changed["positional_embedding"][5:11] += torch.randn(6, 32)
    tower.load_state_dict(changed)
    torch.testing.assert_close(tower(ids)[1:], expected[1:], atol=1e-4, rtol=1e-4)
    assert (tower(ids)[0] - expected[0]).abs().max() > 1e-2


def test_positions_are_sampled_as_dino_does() -> None:
    def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x, a = np.abs(x), -0.75  # Keys, 1981, with the sharpness that torch takes
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    places = (np.arange(28) + 0.5) * 14 / 28.1 - 0.5
    taps = np.floor(places).astype(int)[:, None] + np.arange(-1, 3)
    matrix = np.zeros((28, 14))
    np.add.at(matrix, (np.arange(28)[:, None], taps.clip(0, 13)), cubic(places[:, None] - taps))
    positions = torch.randn(1, 197, 2, generator=torch.Generator().manual_seed(0))
    grid = positions[0, 1:].reshape(14, 14, 2).numpy()
    expected = np.einsum("yi,xj,ijc->yxc", matrix, matrix, grid).reshape(784, 2)
    found = enlarge_positions(positions, 28)[0]
    torch.testing.assert_close(found[:1], positions[0, :1])
    np.testing.assert_allclose(found[1:].numpy(), expected, atol=1e-5)


def small(entry: CatalogEntry, arguments: dict[str, Any], px: int) -> tuple[CatalogEntry, Any]:
    """Return the same kind of network, smaller, with random weights."""
    torch.manual_seed(0)
    network = (Conch if entry.spec.name == "conch" else ConchV15)(**arguments).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    params = sum(p.numel() for p in network.parameters())
    spec = replace(entry.encoder, dim=16, token_dim=48, tile_px=px, params=params)
    return replace(entry, arch_kwargs=arguments, spec=spec), network


def normalised(tiles: NDArray[np.uint8], spec: Any) -> torch.Tensor:
    images = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    return (images - mean) / std


def test_conch_from_a_file(
    tmp_path: Path, entries: dict[str, CatalogEntry], tiles: NDArray[np.uint8]
) -> None:
    entry, network = small(entries["conch"], SMALL, 64)
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    state["module.text_decoder.ln_final.weight"] = torch.zeros(2)
    torch.save({"state_dict": state}, tmp_path / "pytorch_model.bin")
    encoder = load(entry, tmp_path / "pytorch_model.bin", "cpu")
    assert isinstance(encoder, TextEncoder)
    cut = np.ascontiguousarray(tiles[:2, :64, :64])
    with torch.inference_mode():
        features = network.visual.trunk.forward_features(normalised(cut, entry.encoder))
        pooled = network.visual.ln_contrast(network.visual.attn_pool_contrast(features))[:, 0]
        projected = F.normalize(pooled @ network.visual.proj_contrast, dim=1)
    np.testing.assert_allclose(encoder.embed(cut), pooled, atol=1e-4)
    np.testing.assert_allclose(encoder.embed_for_text(cut), projected, atol=1e-4)
    # As long as each other, and yet not to be compared: their keys differ.
    assert (encoder.key.pooling, tiles_for_text(encoder).key.pooling) == ("own", "text")
    assert encoder.key.difference(tiles_for_text(encoder).key)
    patches = features[:, 1:].reshape(2, 4, 4, 48)
    np.testing.assert_allclose(encoder.tokens(cut), patches, atol=1e-4)
    assert encoder.tokens(tiles[:1, :96, :96]).shape == (1, 6, 6, 48)


def test_conch_v1_5_from_a_file(
    tmp_path: Path, entries: dict[str, CatalogEntry], tiles: NDArray[np.uint8]
) -> None:
    entry, network = small(entries["conch-v1.5"], SMALL_V15, 448)
    state = network.state_dict()
    state["trunk.pos_embed"] = torch.randn(1, 197, 48)
    torch.save(state, tmp_path / "conch-v1.5.bin")
    encoder = load(entry, tmp_path, "cpu")
    network.trunk.pos_embed.data = enlarge_positions(state["trunk.pos_embed"], 28)
    large = tiles[:1].repeat(2, 1).repeat(2, 2)
    with torch.inference_mode():
        features = network.trunk.forward_features(normalised(large, entry.encoder))
        pooled = network.ln_contrast(network.attn_pool_contrast(features)[:, 0])
    np.testing.assert_allclose(encoder.embed(large), pooled, atol=1e-4)
    assert not isinstance(encoder, TextEncoder)


def test_file_of_the_other_conch_is_refused(
    tmp_path: Path, entries: dict[str, CatalogEntry]
) -> None:
    _, network = small(entries["conch"], SMALL, 64)
    torch.save(network.state_dict(), tmp_path / "w.bin")
    with pytest.raises(ModelError, match=r"conch-v1\.5: trunk\.cls_token is missing"):
        get_encoder("conch-v1.5", weights=tmp_path / "w.bin", device="cpu")


def write_tokenizer(path: Path) -> None:
    """Write a small byte-level BPE tokeniser, built like CONCH's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    marks = ["<pad>", "<start_of_text>", "<end_of_text>"]
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.train_from_iterator(
        ["tumour tissue, h&e.", "normal tissue"],
        trainers.BpeTrainer(vocab_size=60, special_tokens=marks, show_progress=False),
    )
    made.post_processor = processors.TemplateProcessing(
        single="<start_of_text> $A <end_of_text>",
        special_tokens=[("<start_of_text>", 1), ("<end_of_text>", 2)],
    )
    made.save(str(path))


def test_texts(tmp_path: Path, entries: dict[str, CatalogEntry], tiles: NDArray[np.uint8]) -> None:
    from tokenizers import Tokenizer

    entry, network = small(entries["conch"], SMALL, 64)
    torch.save(network.state_dict(), tmp_path / "conch.bin")
    encoder: Any = load(entry, tmp_path, "cpu")
    assert encoder.embed(tiles[:1]).shape == (1, 16)  # images do without a tokeniser
    write_tokenizer(tmp_path / "conch-tokenizer.json")
    texts = ["Tumour tissue", "normal tissue, which is described at great length", ""]
    file = Tokenizer.from_file(str(tmp_path / "conch-tokenizer.json"))
    ids = torch.zeros(3, 11, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        tokens = file.encode(text, add_special_tokens=False).ids[:9]
        row[: len(tokens) + 2] = torch.tensor([1, *tokens, 2])
    with torch.inference_mode():
        expected = F.normalize(network.text(ids), dim=1).numpy()
    found = encoder.embed_text(texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    encoder.calibrate(tiles)
    assert np.einsum("nd,nd->n", encoder.embed_text(texts), expected).min() > 0.99


def test_tokenizer_that_is_missing_or_wrong(
    tmp_path: Path, entries: dict[str, CatalogEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, network = small(entries["conch"], SMALL, 64)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    offline = replace(entry, tokenizer=replace(entry.tokenizer, url="http://127.0.0.1:9/t.json"))
    encoder: Any = load(offline, tmp_path / "pytorch_model.bin", "cpu")
    with pytest.raises(ModelError, match=r"put the file as conch-tokenizer\.json into a folder"):
        encoder.embed_text(["tumour"])
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ModelError, match=r"t\.json cannot be read as a tokeniser"):
        encoder.embed_text(["tumour"])
    folder = tmp_path / "models"
    folder.mkdir()
    write_tokenizer(folder / "conch-tokenizer.json")
    (tmp_path / "t.json").unlink()
    monkeypatch.setenv("PATHFM_MODELS", str(folder))
    assert encoder.embed_text(["tumour"]).shape == (1, 16)
