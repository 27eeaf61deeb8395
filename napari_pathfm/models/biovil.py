"""BioViL (Boecking et al., ECCV 2022) and BioViL-T (Bannur et al., CVPR 2023) for chest X-rays.

A ResNet-50 whose map is projected place by place, and CXR-BERT for texts, which is a file of its
own (https://github.com/microsoft/hi-ml). BioViL-T compares an image with an earlier one; here there
is none, and its place is taken by what was learned for that case: the authors' own way with one
image, for which the part that compares two is not run at all. Parameters have the names of the
published files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from ..core.jobs import Progress
from .base import ModelError
from .bert import build_bert, read_out
from .checkpoint import load_into, read_state
from .encoder import check_facts, loader
from .keys import State
from .tokenizer import Tokenizer, find_beside
from .weights import WeightsSource

if TYPE_CHECKING:
    from .catalog import CatalogEntry

TEXT_TOKENS = 512


def build(entry: CatalogEntry, meta: bool = False) -> nn.Module:
    """Build the image part of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
        Its ``arch`` is "resnet50" (BioViL) or "resnet50_multi_image" (BioViL-T); ``text`` in its
        ``arch_kwargs`` is the repository of the text part on the hub.
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        The network differs from the catalogue's facts.
    """
    facts = {key: value for key, value in entry.arch_kwargs.items() if key != "text"}
    with torch.device("meta" if meta else "cpu"):
        network = BioVil(entry.arch == "resnet50_multi_image", **facts)
    check_facts(network, entry, "hi-ml")
    return network.eval()


def _without_what_is_unused(state: State, _entry: CatalogEntry) -> State:
    """Leave out ImageNet's classifier and the comparison with an earlier image."""
    unused = ("encoder.encoder.fc.", "encoder.vit_pooler.")
    return {key: value for key, value in state.items() if not key.startswith(unused)}


class BioVil(nn.Module):
    """The image part: a ResNet and a projection of each place of its map.

    Parameters
    ----------
    temporal : bool
        BioViL-T: half of a feature is the image's, half the difference to an earlier image.
    layers : sequence of int
        Blocks of each stage.
    dim : int
        Length of a vector in the space of the texts.
    """

    texts: Texts

    def __init__(
        self, temporal: bool = False, layers: Sequence[int] = (3, 4, 6, 3), dim: int = 128
    ) -> None:
        super().__init__()
        from torchvision.models.resnet import Bottleneck, ResNet

        half = 256
        self.temporal = temporal
        self.num_features = 2 * half if temporal else 2048
        resnet = ResNet(Bottleneck, list(layers))
        resnet.fc = nn.Identity()
        self.encoder = nn.Module()
        self.encoder.encoder = resnet
        if temporal:
            self.encoder.backbone_to_vit = nn.Conv2d(2048, half, 1, bias=False)
            self.encoder.missing_previous_emb = nn.Parameter(torch.zeros(1, half, 1, 1))
        self.projector = nn.Module()
        self.projector.model = nn.Sequential(
            nn.Conv2d(self.num_features, dim, 1, bias=False),
            nn.BatchNorm2d(dim),
            nn.ReLU(),
            nn.Conv2d(dim, dim, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Vectors of ``(B, 3, px, px)`` images in the space of the texts: ``(B, dim)``."""
        return self.project(self.forward_features(images))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Map of ``(B, 3, px, px)`` images: ``(B, num_features, px / 32, px / 32)``."""
        encoder: Any = self.encoder
        resnet = encoder.encoder
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(images))))
        x = resnet.layer4(resnet.layer3(resnet.layer2(resnet.layer1(x))))
        if self.temporal:
            x = encoder.backbone_to_vit(x)
            x = torch.cat([x, encoder.missing_previous_emb.expand_as(x)], 1)
        features: torch.Tensor = x
        return features

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Vectors of a ``(B, num_features, h, w)`` map in the space of the texts: ``(B, dim)``."""
        projector: Any = self.projector
        projected: torch.Tensor = projector.model(features).mean((2, 3))
        return projected

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        """Vectors of texts: ``(N, dim)``."""
        return self.texts(texts, next(self.parameters()).device)


class CxrBert(nn.Module):
    """CXR-BERT: a BERT and a projection of its first token."""

    def __init__(self, words: int, width: int, dim: int, **config: Any) -> None:
        super().__init__()
        self.bert = build_bert(pooler=False, vocab_size=words, hidden_size=width, **config)
        self.cls_projection_head = nn.Module()
        self.cls_projection_head.dense_to_hidden = nn.Linear(width, dim)
        self.cls_projection_head.LayerNorm = nn.LayerNorm(dim, eps=1e-12)
        self.cls_projection_head.dense_to_output = nn.Linear(dim, dim)

    def forward(self, ids: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Embed texts, ``(N, L)`` int64 and bool: ``(N, dim)``."""
        head: Any = self.cls_projection_head
        first, _ = read_out(self.bert, ids, padding)
        vectors: torch.Tensor = head.dense_to_output(
            head.LayerNorm(F.gelu(head.dense_to_hidden(first)))
        )
        return vectors


class Texts:
    """The text part, whose file is fetched with the images' and read when the first texts come.

    Without that file the images still do; the reason is told to whoever brings texts.

    Parameters
    ----------
    entry : CatalogEntry
    weights : Path, optional
        The weights that the user gave, or their folder.
    report : callable, optional
        Is told how far a download is.
    """

    def __init__(
        self,
        entry: CatalogEntry,
        weights: Path | None,
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        self._name = f"{entry.spec.name}-text"
        self._tokenizer = Tokenizer(entry, weights, TEXT_TOKENS, "[PAD]", to_longest=True)
        self._network: CxrBert | None = None
        hub, revision = entry.arch_kwargs["text"], entry.tokenizer.revision
        source = WeightsSource(hub=hub, file="pytorch_model.bin", revision=revision)
        try:
            self._file: Path | ModelError = find_beside(entry, self._name, source, weights, report)
        except ModelError as error:
            self._file = error

    def __deepcopy__(self, memo: dict[int, Any]) -> Texts:
        return self  # a copy of the images' part in another precision has the same texts

    def __call__(self, texts: list[str], device: torch.device) -> torch.Tensor:
        """Embed texts: ``(N, dim)`` float32. Marks at their ends are no part of them."""
        if self._network is None:
            self._network = self._load()
        ids, padding = self._tokenizer([text.rstrip("!?.") for text in texts])
        vectors: torch.Tensor = self._network.to(device)(ids, padding)
        return vectors

    def _load(self) -> CxrBert:
        if isinstance(self._file, ModelError):
            raise self._file
        state = {
            key: value
            for key, value in read_state(self._file).items()
            if not key.startswith("cls.") and not key.endswith("position_ids")
        }
        try:
            words, width = state["bert.embeddings.word_embeddings.weight"].shape
            dim = state["cls_projection_head.dense_to_output.weight"].shape[0]
            inner = state["bert.encoder.layer.0.intermediate.dense.weight"].shape[0]
        except KeyError as error:
            raise ModelError(
                f"{self._file} does not hold the weights of {self._name}: {error.args[0]} is "
                "missing. Choose the file that belongs to this model."
            ) from error
        depth = 1 + max(int(key.split(".")[3]) for key in state if ".encoder.layer." in key)
        with torch.device("meta"):
            network = CxrBert(
                words,
                width,
                dim,
                num_hidden_layers=depth,
                num_attention_heads=width // 64,
                intermediate_size=inner,
            )
        load_into(network, state, self._file, self._name)
        return network


def _prepare(network: Any, entry: CatalogEntry, weights: Path | None, report: Any) -> None:
    network.texts = Texts(entry, weights, report)


load = loader(build, _without_what_is_unused, _prepare)
