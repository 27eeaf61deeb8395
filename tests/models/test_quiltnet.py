"""QuiltNet with a PubMedBERT is open_clip's network of timm's and transformers' parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers
from numpy.typing import NDArray
from open_clip.hf_model import HFTextEncoder
from open_clip.timm_model import TimmModel

from napari_pathfm.models.base import TextEncoder
from napari_pathfm.models.catalog import CatalogEntry, build
from napari_pathfm.models.quiltnet import load
from napari_pathfm.models.weights import WeightsSource

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "lung", "tumor", "of", "the", "."]
TEXT = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
        "intermediate_size": 128, "vocab_size": len(WORDS)}  # fmt: skip
IMAGE = {"depth": 2, "embed_dim": 48, "num_heads": 3}


class Library(torch.nn.Module):
    """Both towers as open_clip makes them, but from a config at hand and not from the hub's."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = TimmModel("vit_base_patch16_224", 512, pool="", proj="linear")
        self.visual.trunk = open_clip.timm_model.timm.create_model(
            "vit_base_patch16_224", num_classes=0, **IMAGE
        )
        self.visual.head.proj = torch.nn.Linear(48, 512, bias=False)
        config = transformers.BertConfig(**TEXT)
        self.text = HFTextEncoder(
            "bert", 512, config, pooler_type="cls_last_hidden_state_pooler", proj_type="mlp"
        )
        self.logit_scale = torch.nn.Parameter(torch.tensor(3.0))


@pytest.fixture
def library() -> Any:
    torch.manual_seed(0)
    network = Library().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim > 1:
            parameter.normal_(std=0.2)
    return network


def test_answers_are_the_librarys(
    tmp_path: Path, entries: dict[str, CatalogEntry], library: Any, tiles: NDArray[np.uint8]
) -> None:
    state = {k: v for k, v in library.state_dict().items() if ".pooler." not in k}
    state["text.transformer.embeddings.position_ids"] = torch.arange(512)[None]
    torch.save({"state_dict": state}, tmp_path / "quiltnet-b-16-pmb.pt")
    (tmp_path / "quiltnet-b-16-pmb-tokenizer.txt").write_text("\n".join(WORDS))
    entry = entries["quiltnet-b-16-pmb"]
    params = sum(v.numel() for k, v in state.items() if not k.endswith("position_ids"))
    spec = replace(entry.encoder, params=params, token_dim=48)
    words = WeightsSource(file="vocab.txt")  # instead of a tokenizer.json
    entry = replace(entry, spec=spec, arch_kwargs={"text": TEXT, **IMAGE}, tokenizer=words)
    encoder: Any = load(entry, tmp_path, "cpu")
    assert isinstance(encoder, TextEncoder)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (spec.mean, spec.std))
    images = (torch.from_numpy(tiles[:2]).permute(0, 3, 1, 2) / 255 - mean) / std
    ids = torch.zeros(2, 256, dtype=torch.long)
    ids[0, :5] = torch.tensor([2, 6, 7, 5, 3])
    ids[1, :3] = torch.tensor([2, 5, 3])
    with torch.inference_mode():
        seen, read = library.visual(images), library.text(ids)
        tokens = library.visual.trunk.forward_features(images)[:, 1:]
    np.testing.assert_allclose(encoder.embed(tiles[:2]), seen, atol=1e-4)
    np.testing.assert_allclose(encoder.tokens(tiles[:2]), tokens.unflatten(1, (14, 14)), atol=1e-4)
    expected = torch.nn.functional.normalize(read, dim=1)
    np.testing.assert_allclose(encoder.embed_text(["Tumor of lung", "lung"]), expected, atol=1e-5)
    assert encoder.logit_scale == pytest.approx(np.exp(3.0))


def test_parameters_have_the_names_that_the_library_writes(
    entries: dict[str, CatalogEntry],
) -> None:
    state = build(entries["quiltnet-b-16-pmb"], meta=True).state_dict()
    written = {
        "visual.trunk.blocks.11.attn.qkv.weight": (2304, 768),
        "visual.head.proj.weight": (512, 768),
        "text.transformer.embeddings.word_embeddings.weight": (30522, 768),
        "text.transformer.encoder.layer.11.output.dense.weight": (768, 3072),
        "text.proj.0.weight": (640, 768),
        "text.proj.2.weight": (512, 640),
        "logit_scale": (),
    }
    assert {key: tuple(state[key].shape) for key in written} == written
