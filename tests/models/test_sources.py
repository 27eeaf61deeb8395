"""Where weights come from, under which terms, and what cannot be measured on a network.

Written down from the authors' repositories and cards, apart from the catalogue, as in test_facts.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from napari_pathfm.models.base import SlideSpec
from napari_pathfm.models.catalog import CatalogEntry

Entries = dict[str, CatalogEntry]

OPEN, GATED, CLOSED, NONE = "open", "gated", "closed", "none"
HUB = "https://huggingface.co/"
KAIKO = "https://github.com/kaiko-ai/towards_large_pathology_fms/releases/download/0.0.1/"
LUNIT = "https://github.com/lunit-io/benchmark-ssl-pathology/releases/download/pretrained-weights/"
HIPT = "https://github.com/mahmoodlab/HIPT/raw/master/HIPT_4K/Checkpoints/"
SAM = "https://dl.fbaipublicfiles.com/segment_anything/"
GWDG = "https://owncloud.gwdg.de/index.php/s/"
NC_ND, APACHE = "CC-BY-NC-ND-4.0", "Apache-2.0"


class Source(NamedTuple):
    """Where a model's file is ("owner/name" on the hub with a file, an address, or nothing)."""

    place: str
    file: str
    status: str
    licence: str
    commercial: bool


SOURCES = {
    "kaiko-vits16": Source(f"{KAIKO}vits16.pth", "", OPEN, "Kaiko Non-Commercial", False),
    "kaiko-vits8": Source(f"{KAIKO}vits8.pth", "", OPEN, "Kaiko Non-Commercial", False),
    "kaiko-vitb16": Source(f"{KAIKO}vitb16.pth", "", OPEN, "Kaiko Non-Commercial", False),
    "kaiko-vitb8": Source(f"{KAIKO}vitb8.pth", "", OPEN, "Kaiko Non-Commercial", False),
    "kaiko-vitl14": Source(f"{KAIKO}vitl14.pth", "", OPEN, "Kaiko Non-Commercial", False),
    "lunit-vits8": Source(
        f"{LUNIT}dino_vit_small_patch8_ep200.torch", "", OPEN, "Lunit Public License", False
    ),
    "lunit-vits16": Source(
        f"{LUNIT}dino_vit_small_patch16_ep200.torch", "", OPEN, "Lunit Public License", False
    ),
    "uni": Source("MahmoodLab/UNI", "pytorch_model.bin", GATED, NC_ND, False),
    "uni2-h": Source("MahmoodLab/UNI2-h", "pytorch_model.bin", GATED, NC_ND, False),
    "virchow": Source("paige-ai/Virchow", "pytorch_model.bin", GATED, APACHE, True),
    "virchow2": Source("paige-ai/Virchow2", "pytorch_model.bin", GATED, NC_ND, False),
    "virchow2g": Source("", "", CLOSED, "Paige", False),
    "virchow2g-mini": Source("", "", CLOSED, "Paige", False),
    "h-optimus-0": Source("bioptimus/H-optimus-0", "pytorch_model.bin", OPEN, APACHE, True),
    "h-optimus-1": Source("bioptimus/H-optimus-1", "pytorch_model.bin", GATED, NC_ND, False),
    "h0-mini": Source("bioptimus/H0-mini", "pytorch_model.bin", GATED, NC_ND, False),
    "gigapath": Source(
        "prov-gigapath/prov-gigapath", "pytorch_model.bin", GATED,
        "Apache-2.0 with conditions", False,
    ),
    "gigapath-slide": Source(
        "prov-gigapath/prov-gigapath", "slide_encoder.pth", GATED,
        "Apache-2.0 with conditions", False,
    ),
    "gpfm": Source("majiabo/GPFM", "GPFM.pth", OPEN, NC_ND, False),
    "phikon": Source("owkin/phikon", "model.safetensors", OPEN, "Owkin non-commercial", False),
    "phikon-v2": Source(
        "owkin/phikon-v2", "model.safetensors", OPEN, "Owkin non-commercial", False
    ),
    "midnight-12k": Source("kaiko-ai/midnight", "model.safetensors", OPEN, "MIT", True),
    "openmidnight": Source(
        "SophontAI/OpenMidnight", "teacher_checkpoint_load.pt", GATED, APACHE, True
    ),
    "hibou-b": Source("histai/hibou-b", "model.safetensors", GATED, APACHE, True),
    "hibou-l": Source("histai/hibou-L", "model.safetensors", GATED, APACHE, True),
    "pathorchestra": Source(
        "AI4Pathology/PathOrchestra", "pytorch_model.bin", GATED, NC_ND, False
    ),
    "patho3dmatrix-vision": Source("", "", CLOSED, "unknown", False),
    "ctranspath": Source("marr-peng-lab/histogpt", "ctranspath.pth", OPEN, "GPL-3.0", False),
    "ctranspath-histogpt": Source(
        "marr-peng-lab/histogpt", "ctranspath.pth", OPEN, "GPL-3.0", False
    ),
    "pluto": Source("", "", CLOSED, "unknown", False),
    "pluto-4": Source("", "", CLOSED, "unknown", False),
    "rudolfv": Source("", "", CLOSED, "unknown", False),
    "atlas": Source("", "", CLOSED, "unknown", False),
    "rudolfv-2": Source("Aignostics/RudolfV-2", "model.safetensors", GATED, "unknown", False),
    "rudolfv-2-b": Source("Aignostics/RudolfV-2-B", "model.safetensors", GATED, "unknown", False),
    "rudolfv-2-s": Source("Aignostics/RudolfV-2-S", "model.safetensors", GATED, "unknown", False),
    "clip": Source("openai/clip-vit-base-patch32", "pytorch_model.bin", OPEN, "MIT", True),
    "clip-b16": Source("openai/clip-vit-base-patch16", "pytorch_model.bin", OPEN, "MIT", True),
    "clip-l14": Source("openai/clip-vit-large-patch14", "pytorch_model.bin", OPEN, "MIT", True),
    "plip": Source("vinid/plip", "pytorch_model.bin", OPEN, "unclear", False),
    "quiltnet-b-32": Source(
        "wisdomik/QuiltNet-B-32", "open_clip_pytorch_model.bin", OPEN, "MIT", True
    ),
    "quiltnet-b-16": Source(
        "wisdomik/QuiltNet-B-16", "open_clip_pytorch_model.bin", OPEN, "MIT", True
    ),
    "quiltnet-b-16-pmb": Source(
        "wisdomik/QuiltNet-B-16-PMB", "open_clip_pytorch_model.bin", OPEN, "MIT", True
    ),
    "biovil": Source(
        f"{HUB}microsoft/BiomedVLP-CXR-BERT-specialized/resolve/v1.1/"
        "biovil_image_resnet50_proj_size_128.pt",
        "", OPEN, "MIT", True,
    ),
    "biovil-t": Source(
        f"{HUB}microsoft/BiomedVLP-BioViL-T/resolve/v1.0/biovil_t_image_model_proj_size_128.pt",
        "", OPEN, "MIT", True,
    ),
    "conch": Source("MahmoodLab/conch", "pytorch_model.bin", GATED, NC_ND, False),
    "conch-v1.5": Source(
        "MahmoodLab/conchv1_5", "pytorch_model_vision.bin", GATED, NC_ND, False
    ),
    "musk": Source("xiangjx/musk", "model.safetensors", GATED, NC_ND, False),
    "musk-ms": Source("xiangjx/musk", "model.safetensors", GATED, NC_ND, False),
    "keep": Source("Astaxanthin/KEEP", "pytorch_model.bin", OPEN, "weights unclear", False),
    "hipt-256": Source(f"{HIPT}vit256_small_dino.pth", "", OPEN, "Commons Clause", False),
    "hipt-4k": Source(f"{HIPT}vit4k_xs_dino.pth", "", OPEN, "Commons Clause", False),
    "titan": Source("MahmoodLab/TITAN", "model.safetensors", GATED, NC_ND, False),
    "prism": Source("paige-ai/Prism", "model.safetensors", GATED, NC_ND, False),
    "sam-vit-b": Source(f"{SAM}sam_vit_b_01ec64.pth", "", OPEN, APACHE, True),
    "sam-vit-l": Source(f"{SAM}sam_vit_l_0b3195.pth", "", OPEN, APACHE, True),
    "sam-vit-h": Source(f"{SAM}sam_vit_h_4b8939.pth", "", OPEN, APACHE, True),
    "patho-sam-vit-b": Source(
        f"{GWDG}sBB4H8CTmIoBZsQ/download", "vit_b_histopathology.pt", OPEN, "unclear", False
    ),
    "patho-sam-vit-l": Source(
        f"{GWDG}IZgnn1cpBq2PHod/download", "vit_l_histopathology.pt", OPEN, "unclear", False
    ),
    "patho-sam-vit-h": Source(
        f"{GWDG}L7AcvVz7DoWJ2RZ/download", "vit_h_histopathology.pt", OPEN, "unclear", False
    ),
    "micro-sam-vit-b-lm": Source(
        "https://uk1s3.embassy.ebi.ac.uk/public-datasets/bioimage.io/"
        "diplomatic-bug/1.2/files/vit_b.pt",
        "vit_b_lm.pt", OPEN, "unclear", False,
    ),
    "pathfm-click": Source("", "models/click.safetensors", OPEN, APACHE, True),
    "mobile-sam": Source(
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        "", OPEN, APACHE, True,
    ),
    "sam2.1-tiny": Source("facebook/sam2.1-hiera-tiny", "model.safetensors", OPEN, APACHE, True),
    "sam2.1-small": Source("facebook/sam2.1-hiera-small", "model.safetensors", OPEN, APACHE, True),
    "sam2.1-base-plus": Source(
        "facebook/sam2.1-hiera-base-plus", "model.safetensors", OPEN, APACHE, True
    ),
    "sam2.1-large": Source("facebook/sam2.1-hiera-large", "model.safetensors", OPEN, APACHE, True),
    "litemedsam": Source("", "asset/lite_medsam.pth", OPEN, APACHE, True),
    "seggpt": Source("BAAI/seggpt-vit-large", "model.safetensors", OPEN, "MIT", True),
    "pathogpt": Source("", "", NONE, "none", False),
    "paseg": Source("", "", NONE, "none", False),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_source_and_terms(entries: Entries, name: str) -> None:
    source, entry = SOURCES[name], entries[name]
    assert (entry.weights.hub or entry.weights.url, entry.weights.file) == source[:2]
    assert (entry.spec.status, entry.spec.commercial) == (source.status, source.commercial)
    assert source.licence in entry.spec.licence


def test_every_model_is_in_the_table(entries: Entries) -> None:
    assert set(entries) - set(SOURCES) == {"efficientnet-lite0"}


def test_every_model_that_exists_names_its_paper(entries: Entries) -> None:
    without = {name for name, entry in entries.items() if not entry.spec.citation}
    assert without == {"patho3dmatrix-vision", "pathogpt", "paseg"}  # none is known


WRONG_PAPERS = ("2203.16402", "2302.00833", "2206.02680")  # said of BioViL, PLIP and HIPT


@pytest.mark.parametrize("wrong", WRONG_PAPERS)
def test_papers_that_are_of_something_else(entries: Entries, wrong: str) -> None:
    assert not [name for name, entry in entries.items() if wrong in repr(entry.spec)]


@pytest.mark.parametrize("name", ["virchow", "openmidnight"])
def test_terms_for_institutions_only(entries: Entries, name: str) -> None:
    assert "e-mail address of an institution" in entries[name].spec.gate


POOLED = {
    "efficientnet-lite0": "avg", "ctranspath": "avg", "ctranspath-histogpt": "avg",
    "biovil": "avg", "biovil-t": "avg",
    "virchow": "cls+mean", "virchow2": "cls+mean", "h0-mini": "cls+mean",
    "midnight-12k": "cls+mean",
    "clip": "own", "clip-b16": "own", "clip-l14": "own", "plip": "own", "quiltnet-b-32": "own",
    "quiltnet-b-16": "own", "quiltnet-b-16-pmb": "own",
    "conch": "own", "conch-v1.5": "own", "keep": "own", "musk-ms": "two-scale",
}  # fmt: skip


def test_pooling_is_what_its_authors_recommend(entries: Entries) -> None:
    found = {n: e.encoder.pooling for n, e in entries.items() if hasattr(e.spec, "pooling")}
    assert found == {name: POOLED.get(name, "cls") for name in found}


def test_which_embed_texts(entries: Entries) -> None:
    texts = {name for name, entry in entries.items() if getattr(entry.spec, "text", False)}
    assert texts == {
        "clip", "clip-b16", "clip-l14", "plip", "quiltnet-b-32", "quiltnet-b-16",
        "quiltnet-b-16-pmb", "conch", "musk", "musk-ms", "keep", "biovil", "biovil-t",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dim"), [("rudolfv-2", 1536), ("rudolfv-2-b", 768), ("rudolfv-2-s", 384)]
)
def test_rudolfv_2(entries: Entries, name: str, dim: int) -> None:
    spec = entries[name].encoder
    assert (spec.dim, spec.token_dim, spec.patch, spec.prefix_tokens) == (dim, dim, 8, 9)
    assert (spec.tile_px, spec.interpolation, spec.precision) == (224, "bicubic", "float32")
    assert spec.mean == (0.7072, 0.5787, 0.7036)
    assert spec.std == (0.2119, 0.2301, 0.1775)
    assert entries[name].loader == "remote_code"


# name, encoder, its dim, the slide's, tile in pixels, precision
SLIDES = [
    ("hipt-4k", "hipt-256", 384, 192, 256, "float32"),
    ("gigapath-slide", "gigapath", 1536, 768, 256, "float16"),
    ("titan", "conch-v1.5", 768, 768, 512, "float16"),
    ("prism", "virchow", 2560, 1280, 224, "float16"),
]


@pytest.mark.parametrize(("name", "encoder", "dim_in", "dim", "px", "precision"), SLIDES)
def test_slide_models(
    entries: Entries, name: str, encoder: str, dim_in: int, dim: int, px: int, precision: str
) -> None:
    spec = entries[name].spec
    assert isinstance(spec, SlideSpec)
    assert (spec.encoder, spec.dim_in, spec.dim) == (encoder, dim_in, dim)
    assert (spec.tile_px, spec.mpp, spec.precision) == (px, 0.5, precision)
    assert entries[encoder].encoder.dim == dim_in


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("virchow2g", "1.9 billion"),
        ("virchow2g-mini", "ViT-S/14"),
        ("pluto", "FlexiViT-S"),
        ("pluto-4", "ViT-G/14"),
        ("rudolfv", "ViT-L/14"),
        ("atlas", "ViT-H"),
    ],
)
def test_what_nobody_can_build_says_what_is_known(entries: Entries, name: str, known: str) -> None:
    assert known in entries[name].spec.note
    assert "nearest" in entries[name].spec.note
    assert not entries[name].loader
