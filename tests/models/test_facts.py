"""Each model is what its authors say: networks are built without weights and measured.

The table is written down from the authors' repositories and cards, apart from the catalogue.
Parameters that are only published rounded are compared as far as they are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import timm
import torch

from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import CatalogEntry, build, get_encoder
from napari_pathfm.models.encoder import NetworkEncoder

Entries = dict[str, CatalogEntry]
Norm = tuple[tuple[float, ...], tuple[float, ...]]

HALF: Norm = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET: Norm = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: Norm = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
OPTIMUS: Norm = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
HIBOU: Norm = ((0.7068, 0.5755, 0.7220), (0.1950, 0.2316, 0.1816))
PLAIN: Norm = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LUNIT: Norm = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))


class Fact(NamedTuple):
    """What a model is; positions are the shape of its position embeddings.

    Parameters are those of all that is built (with the text's side, if it has one), nothing where
    nobody has published them.
    """

    params: float | None
    positions: tuple[int, ...] | None
    prefix: int
    grid: int
    token_dim: int
    dim: int
    norm: Norm
    interpolation: str = "bilinear"
    tile_px: int = 224
    seen_px: int = 224
    mpp: float = 0.5
    precision: str = "float32"


def rounded(figure: float, digit: float) -> Any:
    """Return what is published with a last digit of that worth."""
    return pytest.approx(figure, abs=digit / 2)


FACTS = {
    "efficientnet-lite0": Fact(3_371_008, None, 0, 7, 1280, 1280, HALF),
    "kaiko-vits16": Fact(21_665_664, (1, 197, 384), 1, 14, 384, 384, HALF),
    "kaiko-vits8": Fact(21_670_272, (1, 785, 384), 1, 28, 384, 384, HALF),
    "kaiko-vitb16": Fact(85_798_656, (1, 197, 768), 1, 14, 768, 768, HALF),
    "kaiko-vitb8": Fact(85_807_872, (1, 785, 768), 1, 28, 768, 768, HALF),
    "kaiko-vitl14": Fact(304_370_688, (1, 1369, 1024), 5, 16, 1024, 1024, HALF),
    "lunit-vits8": Fact(21_670_272, (1, 785, 384), 1, 28, 384, 384, LUNIT),
    "lunit-vits16": Fact(21_665_664, (1, 197, 384), 1, 14, 384, 384, LUNIT),
    "uni": Fact(303_350_784, (1, 197, 1024), 1, 14, 1024, 1024, IMAGENET, precision="float16"),
    "uni2-h": Fact(
        681_394_176, (1, 256, 1536), 9, 16, 1536, 1536, IMAGENET, precision="bfloat16"
    ),
    "virchow": Fact(
        631_229_184, (1, 257, 1280), 1, 16, 1280, 2560, IMAGENET, "bicubic", precision="float16"
    ),
    "virchow2": Fact(
        631_239_424, (1, 261, 1280), 5, 16, 1280, 2560, IMAGENET, "bicubic", precision="float16"
    ),
    "h-optimus-0": Fact(
        1_134_774_272, (1, 256, 1536), 5, 16, 1536, 1536, OPTIMUS, "bicubic", precision="float16"
    ),
    "h-optimus-1": Fact(
        1_134_774_272, (1, 256, 1536), 5, 16, 1536, 1536, OPTIMUS, "bicubic", precision="float16"
    ),
    "h0-mini": Fact(
        rounded(85.74e6, 1e4), (1, 256, 768), 5, 16, 768, 1536, OPTIMUS, "bicubic",
        precision="float16",
    ),
    "gigapath": Fact(
        1_134_953_984, (1, 197, 1536), 1, 14, 1536, 1536, IMAGENET, "bicubic", 256,
        precision="float16",
    ),
    "gpfm": Fact(
        303_227_904, (1, 257, 1024), 1, 16, 1024, 1024, IMAGENET, "bicubic", precision="float16"
    ),
    "pathorchestra": Fact(rounded(303e6, 1e6), (1, 197, 1024), 1, 14, 1024, 1024, IMAGENET),
    "openmidnight": Fact(
        rounded(1.1e9, 1e8), (1, 256, 1536), 5, 16, 1536, 1536, IMAGENET, precision="float16"
    ),
    "patho3dmatrix-vision": Fact(303_350_784, (1, 197, 1024), 1, 14, 1024, 1024, IMAGENET),
    "ctranspath": Fact(rounded(27.5e6, 1e5), None, 0, 7, 768, 768, IMAGENET, mpp=1.0),
    "ctranspath-histogpt": Fact(rounded(27.5e6, 1e5), None, 0, 7, 768, 768, CLIP, mpp=1.0),
    "hipt-256": Fact(
        rounded(21.7e6, 1e5), (1, 257, 384), 1, 16, 384, 384, HALF, tile_px=256, seen_px=256
    ),
    "phikon": Fact(85_798_656, (1, 197, 768), 1, 14, 768, 768, IMAGENET),
    "phikon-v2": Fact(303_351_808, (1, 197, 1024), 1, 14, 1024, 1024, IMAGENET),
    "midnight-12k": Fact(
        rounded(1.1365e9, 1e5), (1, 1370, 1536), 1, 16, 1536, 3072, HALF, precision="float16"
    ),
    "hibou-b": Fact(rounded(85.7e6, 1e5), (1, 257, 768), 5, 16, 768, 768, HIBOU, "bicubic"),
    "hibou-l": Fact(rounded(303.7e6, 1e5), (1, 257, 1024), 5, 16, 1024, 1024, HIBOU, "bicubic"),
    "clip": Fact(151_277_313, (50, 768), 1, 7, 768, 512, CLIP, "bicubic"),
    "clip-b16": Fact(149_620_737, (197, 768), 1, 14, 768, 512, CLIP, "bicubic"),
    "clip-l14": Fact(427_616_513, (257, 1024), 1, 16, 1024, 768, CLIP, "bicubic"),
    "plip": Fact(151_277_313, (50, 768), 1, 7, 768, 512, CLIP, "bicubic"),
    "quiltnet-b-32": Fact(151_277_313, (50, 768), 1, 7, 768, 512, CLIP, "bicubic"),
    "quiltnet-b-16": Fact(149_620_737, (197, 768), 1, 14, 768, 512, CLIP, "bicubic"),
    "quiltnet-b-16-pmb": Fact(
        rounded(195.9e6, 1e5), (1, 197, 768), 1, 14, 768, 512, CLIP, "bicubic"
    ),
    "conch": Fact(None, (1, 785, 768), 1, 28, 768, 512, CLIP, "bicubic", 448, 448),
    "conch-v1.5": Fact(
        None, (1, 785, 1024), 1, 28, 1024, 768, IMAGENET, "bilinear", 448, 448, precision="float16"
    ),
    "musk": Fact(
        rounded(675.2e6, 1e5), None, 1, 24, 1024, 1024, HALF, "bicubic", 384, 384,
        precision="float16",
    ),
    "musk-ms": Fact(
        rounded(675.2e6, 1e5), None, 1, 24, 1024, 2048, HALF, "bicubic", 384, 384,
        precision="float16",
    ),
    "keep": Fact(
        None, (1, 197, 1024), 1, 14, 1024, 768, IMAGENET, "bicubic", precision="float16"
    ),
    "biovil": Fact(None, None, 0, 15, 2048, 2048, PLAIN, "bilinear", 512, 480),
    "biovil-t": Fact(None, None, 0, 14, 512, 512, PLAIN, "bilinear", 512, 448),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def no_first_values() -> Iterator[None]:
    """Weights stay without values, for which a third of the time would go: only shapes count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm.models.VisionTransformer, "init_weights", lambda *_, **__: None)
        yield


def keep_one_block(network: Any) -> None:
    """Leave out all but the first of blocks that are alike: the shapes stay, the time does not."""
    for module in network.modules():
        if isinstance(module, torch.nn.ModuleList | torch.nn.Sequential) and len(module) > 5:
            shapes = {tuple(p.shape for p in block.parameters()) for block in module}
            if len(shapes) == 1:
                del module[1:]


@pytest.mark.parametrize("name", FACTS)
def test_network_is_what_its_authors_say(entries: Entries, name: str) -> None:
    fact, spec = FACTS[name], entries[name].encoder
    network = build(entries[name], meta=True)
    params = sum(p.numel() for p in network.parameters())
    assert params == spec.params
    assert params == fact.params or fact.params is None
    shapes = {tuple(p.shape) for key, p in network.named_parameters() if "pos" in key}
    assert fact.positions in shapes or fact.positions is None
    assert getattr(network, "num_prefix_tokens", 0) == fact.prefix == spec.prefix_tokens
    keep_one_block(network)
    images = torch.zeros(2, 3, fact.seen_px, fact.seen_px, device="meta")
    features = network.forward_features(images)
    if spec.pooling == "two-scale":
        pooled = network.two_scales(images)
    else:
        pooled = NetworkEncoder(spec, network, "", "meta")._pool(network, features)
    assert tuple(pooled.shape) == (2, fact.dim) == (2, spec.dim)
    if features.ndim == 4:
        assert tuple(features.shape) == (2, fact.token_dim, fact.grid, fact.grid)
    else:
        assert tuple(features.shape) == (2, fact.prefix + fact.grid**2, fact.token_dim)
    assert spec.token_dim == fact.token_dim
    assert spec.patch * fact.grid == fact.seen_px


@pytest.mark.parametrize("name", FACTS)
def test_tiles_are_prepared_as_its_authors_say(entries: Entries, name: str) -> None:
    fact, spec = FACTS[name], entries[name].encoder
    assert (spec.mean, spec.std) == fact.norm
    assert spec.interpolation == fact.interpolation
    assert (spec.tile_px, spec.input_px, spec.mpp) == (fact.tile_px, fact.seen_px, fact.mpp)
    assert spec.precision == fact.precision


@pytest.mark.parametrize("name", ["virchow2g", "pluto", "rudolfv"])
def test_what_cannot_be_built_says_so(entries: Entries, name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} cannot be loaded.*nearest"):
        get_encoder(name)
    with pytest.raises(ModelError, match=f"{name} cannot be built.*nearest"):
        build(entries[name])
    with pytest.raises(TypeError, match="no encoder of tiles that can be loaded"):
        _ = entries[name].encoder


def test_models_that_do_not_exist_name_real_ones(entries: Entries) -> None:
    assert (entries["pathogpt"].spec.kind, entries["paseg"].spec.kind) == ("report", "segmenter")
    for name, real in (("pathogpt", "HistoGPT"), ("pathogpt", "PRISM"), ("paseg", "CellViT")):
        with pytest.raises(ModelError, match=real):
            build(entries[name])
