"""CLIP models in the form of the open_clip library (https://github.com/mlfoundations/open_clip)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .base import ModelError
from .clip import tokenize
from .encoder import check_facts, loader

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry


def build(entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
    """Build both towers of a catalogue entry without their weights.

    Parameters
    ----------
    entry : CatalogEntry
        ``arch`` is a name of open_clip ("ViT-B-32"), ``arch_kwargs`` change its config.
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        open_clip does not know the architecture, or it differs from the catalogue's facts.
    """
    import open_clip
    import torch

    config = open_clip.get_model_config(entry.arch)
    if config is None:
        raise ModelError(
            f"{entry.origin}: open_clip {open_clip.__version__} cannot build {entry.arch!r} for "
            f"{entry.spec.name}. Correct the entry, or update open_clip."
        )
    with torch.device("meta" if meta else "cpu"):
        network: torch.nn.Module = _network()(**{**config, **entry.arch_kwargs})
    if meta:
        # Which words a word may look at is a fixed table: no weight, so it is there at once.
        words: Any = network.context_length
        network.attn_mask = torch.full((words, words), -torch.inf).triu_(1)
    check_facts(network, entry, "open_clip")
    return network.eval()


@functools.cache
def _network() -> Any:
    from open_clip.model import CLIP

    class TextClip(CLIP):  # type: ignore[misc]
        """What :class:`~napari_pathfm.models.encoder.NetworkTextEncoder` asks for."""

        num_prefix_tokens = 1

        @property
        def num_features(self) -> int:
            return int(self.visual.conv1.out_channels)

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            """All tokens after the last norm, the class token first."""
            import torch

            found = self.visual.forward_intermediates(
                images,
                indices=1,
                normalize_intermediates=True,
                intermediates_only=True,
                output_fmt="NLC",
                output_extra_tokens=True,
            )
            prefix, patches = found["image_intermediates_prefix"], found["image_intermediates"]
            return torch.cat([prefix[-1], patches[-1]], 1)

        def project(self, features: torch.Tensor) -> torch.Tensor:
            projected: torch.Tensor = features[:, 0] @ self.visual.proj
            return projected

        pool = project

        def encode_text(self, text: Any, normalize: bool = False) -> torch.Tensor:
            """Embed texts, or the numbers that stand for them: ``(N, D)``."""
            import torch

            if not isinstance(text, torch.Tensor):
                text = tokenize(text, self.context_length).to(self.logit_scale.device)
            encoded: torch.Tensor = super().encode_text(text, normalize)
            return encoded

    return TextClip


load = loader(build)
