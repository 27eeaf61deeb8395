"""BioViL and BioViL-T: their figures, their ResNet, their files, their texts."""

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
from napari_pathfm.models.biovil import BioVil, build, load
from napari_pathfm.models.catalog import CatalogEntry

RESNET_50 = 25_557_032 - 1000 * 2048 - 1000  # torchvision's, without its classifier
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "pleural", "effusion", "no", "."]


def test_biovil_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    spec, network = entries["biovil"].encoder, build(entries["biovil"], meta=True)
    projector = 2048 * 128 + 2 * 128 + 128 * 128 + 128
    assert sum(p.numel() for p in network.parameters()) == RESNET_50 + projector == spec.params
    assert (spec.tile_px, spec.crop_px, spec.crop_px // spec.patch) == (512, 480, 15)
    assert (spec.dim, spec.token_dim, spec.prefix_tokens, spec.pooling) == (2048, 2048, 0, "avg")


def test_biovil_t_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    spec, network = entries["biovil-t"].encoder, build(entries["biovil-t"], meta=True)
    projector = 512 * 128 + 2 * 128 + 128 * 128 + 128
    own = 2048 * 256 + 256
    assert sum(p.numel() for p in network.parameters()) == RESNET_50 + own + projector
    assert (spec.tile_px, spec.crop_px, spec.crop_px // spec.patch) == (512, 448, 14)
    assert (spec.dim, spec.token_dim, spec.prefix_tokens, spec.pooling) == (512, 512, 0, "avg")


@pytest.mark.parametrize("name", ["biovil", "biovil-t"])
def test_both_are_for_radiology(entries: dict[str, CatalogEntry], name: str) -> None:
    spec = entries[name].encoder
    assert spec.gray
    assert (spec.mean, spec.std) == ((0, 0, 0), (1, 1, 1))
    assert "chest X-rays, not for pathology" in spec.note


def small(entry: CatalogEntry) -> tuple[CatalogEntry, BioVil]:
    """Return a network with one block a stage, and its entry."""
    torch.manual_seed(0)
    network = BioVil(entry.arch == "resnet50_multi_image", (1, 1, 1, 1)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    if network.temporal:
        nn.init.normal_(network.encoder.missing_previous_emb)  # type: ignore[arg-type]
    params = sum(p.numel() for p in network.parameters())
    spec = replace(entry.encoder, tile_px=128, crop_px=96, params=params)
    facts = {**entry.arch_kwargs, "layers": [1, 1, 1, 1]}
    return replace(entry, spec=spec, arch_kwargs=facts), network


def write(network: BioVil, path: Path) -> None:
    """Write a file with all that the published ones hold."""
    unused = {
        "encoder.encoder.fc.weight": torch.zeros(1000, 2048),
        "encoder.encoder.fc.bias": torch.zeros(1000),
    }
    if network.temporal:
        unused["encoder.vit_pooler.type_embed"] = torch.zeros(2, 1, 256)
    torch.save(network.state_dict() | unused, path)


def torchvisions_map(network: BioVil, images: torch.Tensor) -> torch.Tensor:
    """Run torchvision's own ResNet with these weights up to its last map."""
    from torchvision.models.resnet import Bottleneck, ResNet

    reference = ResNet(Bottleneck, [1, 1, 1, 1]).eval()
    parts = {k: v for k, v in network.state_dict().items() if k.startswith("encoder.encoder.")}
    state = {k.removeprefix("encoder.encoder."): v for k, v in parts.items()}
    reference.load_state_dict(reference.state_dict() | state)
    seen: list[torch.Tensor] = []
    reference.layer4.register_forward_hook(lambda *call: seen.append(call[2]))
    reference(images)
    return seen[0]


def grey(tiles: NDArray[np.uint8]) -> torch.Tensor:
    """The middle 96 of 128 pixels in grey, three times, from 0 to 1."""
    middle = tiles[:, 16:112, 16:112] @ np.array([0.299, 0.587, 0.114]) / 255
    return torch.from_numpy(middle).float()[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("name", ["biovil", "biovil-t"])
def test_images_from_a_file(
    tmp_path: Path, entries: dict[str, CatalogEntry], tiles: NDArray[np.uint8], name: str
) -> None:
    entry, network = small(entries[name])
    write(network, tmp_path / "w.pt")
    encoder: Any = load(entry, tmp_path / "w.pt", "cpu")
    assert isinstance(encoder, TextEncoder)
    cut = np.ascontiguousarray(tiles[:2, :128, :128])
    state = network.state_dict()
    with torch.inference_mode():
        features = torchvisions_map(network, grey(cut))
        if network.temporal:
            kernel = state["encoder.backbone_to_vit.weight"][:, :, 0, 0]
            static = torch.einsum("oc,bchw->bohw", kernel, features)
            missing = state["encoder.missing_previous_emb"].repeat(2, 1, 3, 3)
            features = torch.cat([static, missing], 1)
        x = torch.einsum("oc,bchw->bhwo", state["projector.model.0.weight"][:, :, 0, 0], features)
        x = (x - state["projector.model.1.running_mean"]) * state["projector.model.1.weight"]
        x = x / (state["projector.model.1.running_var"] + 1e-5).sqrt()
        x = F.relu(x + state["projector.model.1.bias"])
        x = x @ state["projector.model.3.weight"][:, :, 0, 0].T + state["projector.model.3.bias"]
        projected = F.normalize(x.mean((1, 2)), dim=1)
    expected = features.permute(0, 2, 3, 1).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(encoder.tokens(cut) / scale, expected / scale, atol=1e-4)
    np.testing.assert_allclose(encoder.embed(cut) / scale, expected.mean((1, 2)) / scale, atol=1e-4)
    np.testing.assert_allclose(encoder.embed_for_text(cut), projected, atol=1e-3)
    assert "96 of 128 grey px" in encoder.key.preprocessing
    assert encoder.logit_scale is None  # cosines as they are
    assert encoder.spec.mean_first  # of several texts, before it is brought to length 1


def test_parameters_have_the_published_names(entries: dict[str, CatalogEntry]) -> None:
    state = build(entries["biovil-t"], meta=True).state_dict()
    published = {
        "encoder.encoder.layer4.2.conv3.weight": (2048, 512, 1, 1),
        "encoder.backbone_to_vit.weight": (256, 2048, 1, 1),
        "encoder.missing_previous_emb": (1, 256, 1, 1),
        "projector.model.0.weight": (128, 512, 1, 1),
        "projector.model.1.running_var": (128,),
        "projector.model.3.bias": (128,),
    }
    assert {key: tuple(state[key].shape) for key in published} == published


def small_cxr_bert() -> tuple[dict[str, torch.Tensor], Any]:
    """Weights as of CXR-BERT, smaller, and transformers' network for the first part of them."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
    )
    network = BertForMaskedLM(config).eval()
    head = {
        "dense_to_hidden.weight": torch.randn(32, 128),
        "dense_to_hidden.bias": torch.randn(32),
        "LayerNorm.weight": torch.randn(32),
        "LayerNorm.bias": torch.randn(32),
        "dense_to_output.weight": torch.randn(32, 32),
        "dense_to_output.bias": torch.randn(32),
    }
    state = {f"cls_projection_head.{name}": value for name, value in head.items()}
    return {**network.state_dict(), **state}, network


def load_small(entry: CatalogEntry, folder: Path) -> Any:
    made, network = small(entry)
    write(network, folder / "biovil.pt")
    return load(made, folder, "cpu")


def test_texts(tmp_path: Path, entries: dict[str, CatalogEntry], tiles: NDArray[np.uint8]) -> None:
    state, reference = small_cxr_bert()
    counters = {"bert.embeddings.position_ids": torch.arange(512)[None]}
    torch.save(state | counters, tmp_path / "biovil-text.bin")
    (tmp_path / "biovil-tokenizer.txt").write_text("\n".join(WORDS), "utf-8")
    encoder = load_small(entries["biovil"], tmp_path)
    found = encoder.embed_text(["No pleural effusion.", "effusion"])
    for vector, ids in zip(found, [[2, 6, 4, 5, 3], [2, 5, 3]], strict=True):
        with torch.inference_mode():
            first = reference.bert(torch.tensor([ids])).last_hidden_state[0, 0]
        head = {k.removeprefix("cls_projection_head."): v for k, v in state.items()}
        x = F.gelu(head["dense_to_hidden.weight"] @ first + head["dense_to_hidden.bias"])
        x = (x - x.mean()) / x.std(correction=0) * head["LayerNorm.weight"] + head["LayerNorm.bias"]
        x = head["dense_to_output.weight"] @ x + head["dense_to_output.bias"]
        np.testing.assert_allclose(vector, F.normalize(x, dim=0), atol=1e-4)
    encoder.calibrate(tiles)
    assert np.einsum("nd,nd->n", encoder.embed_text(["effusion"]), found[1:]).min() > 0.99


def test_images_do_without_the_text_part(
    tmp_path: Path, entries: dict[str, CatalogEntry], tiles: NDArray[np.uint8]
) -> None:
    encoder = load_small(entries["biovil"], tmp_path)
    assert encoder.embed(tiles[:1]).shape == (1, 2048)
    with pytest.raises(ModelError, match=r"put the file as biovil-text\.safetensors"):
        encoder.embed_text(["effusion"])


def test_text_part_that_is_something_else(tmp_path: Path, entries: dict[str, CatalogEntry]) -> None:
    state, _ = small_cxr_bert()
    (tmp_path / "biovil-tokenizer.txt").write_text("\n".join(WORDS), "utf-8")
    torch.save({"bert.pooler.dense.weight": torch.zeros(2)}, tmp_path / "biovil-text.bin")
    encoder = load_small(entries["biovil"], tmp_path)
    with pytest.raises(ModelError, match=r"bert\.embeddings\.word_embeddings\.weight is missing"):
        encoder.embed_text(["effusion"])
    del state["cls_projection_head.LayerNorm.bias"]
    torch.save(state, tmp_path / "biovil-text.bin")
    with pytest.raises(ModelError, match=r"cls_projection_head\.LayerNorm\.bias is missing"):
        encoder.embed_text(["effusion"])
