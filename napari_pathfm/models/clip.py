"""CLIP and what was trained from it, as networks of transformers (Radford et al., ICML 2021)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .encoder import check_facts, loader
from .keys import State

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry


def build(entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
    """Build both towers of a catalogue entry without their weights.

    Parameters
    ----------
    entry : CatalogEntry
        ``arch_kwargs`` are those of transformers' ``CLIPConfig``.
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        The network differs from the catalogue's facts.
    """
    import torch

    made = _network()
    with torch.device("meta" if meta else "cpu"):
        network: torch.nn.Module = made(made.config_class(**entry.arch_kwargs))
    for module in network.modules():
        counted = module._buffers.get("position_ids")
        if counted is not None and counted.is_meta:  # 0, 1, 2, ...: no weight has to be there
            module.position_ids = torch.arange(counted.shape[-1])[None]
    check_facts(network, entry, "transformers")
    return network.eval()


def tokenize(texts: list[str], length: int = 77) -> torch.Tensor:
    """Turn texts into the numbers of CLIP's byte-pair encoding: ``(N, length)`` int64.

    Lower case; start and end are marked, what is longer is cut, and zeros follow what is shorter.
    The vocabulary is the file that comes with open_clip.
    """
    numbers: torch.Tensor = _tokenizer()(texts, length)
    return numbers


@functools.cache
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def _without_counters(state: State, _entry: CatalogEntry) -> State:
    # Older versions of the library saved the numbers of positions beside the weights.
    return {name: value for name, value in state.items() if not name.endswith("position_ids")}


@functools.cache
def _network() -> Any:
    import transformers

    library: Any = transformers  # its classes have no types

    class CLIPModel(library.CLIPModel):  # type: ignore[misc]
        """What :class:`~napari_pathfm.models.encoder.NetworkTextEncoder` asks for."""

        num_prefix_tokens = 1

        @property
        def num_features(self) -> int:
            return int(self.config.vision_config.hidden_size)

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            """All tokens after the last norm; the library applies it to the class token only."""
            seen = self.vision_model(images, interpolate_pos_encoding=True)
            tokens: torch.Tensor = self.vision_model.post_layernorm(seen.last_hidden_state)
            return tokens

        def project(self, features: torch.Tensor) -> torch.Tensor:
            projected: torch.Tensor = self.visual_projection(features[:, 0])
            return projected

        pool = project

        def encode_text(self, texts: list[str]) -> torch.Tensor:
            length = self.config.text_config.max_position_embeddings
            numbers = tokenize(texts, length).to(self.logit_scale.device)
            projected: torch.Tensor = self.text_projection(self.text_model(numbers).pooler_output)
            return projected

    return CLIPModel


load = loader(build, _without_counters)
