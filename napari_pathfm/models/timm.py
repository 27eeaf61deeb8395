"""Networks of the timm library (https://github.com/huggingface/pytorch-image-models)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.registry import resolve
from .base import ModelError
from .encoder import check_facts, loader

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry

LAYERS = {"SwiGLUPacked": "timm.layers:SwiGLUPacked", "SiLU": "torch.nn:SiLU"}
"""What ``mlp_layer`` and ``act_layer`` of an entry may name."""


def build(entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
    """Build the network of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        timm does not know the architecture, a layer is not one of :data:`LAYERS`, or the network
        differs from the catalogue's facts.
    """
    import timm
    import torch

    kwargs = {
        key: _layer(entry, value) if key in ("mlp_layer", "act_layer") else value
        for key, value in entry.arch_kwargs.items()
    }
    try:
        with torch.device("meta" if meta else "cpu"):
            network: torch.nn.Module = timm.create_model(
                entry.arch, pretrained=False, num_classes=0, **kwargs
            )
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"{entry.origin}: timm {timm.__version__} cannot build {entry.arch!r} for "
            f"{entry.spec.name}: {error}. Correct the entry, or update timm."
        ) from error
    check_facts(network, entry, "timm")
    return network.eval()


def _layer(entry: CatalogEntry, name: Any) -> Any:
    if name not in LAYERS:
        raise ModelError(
            f"{entry.origin}: {entry.spec.name} names the layer {name!r}, which is not one of "
            f"{', '.join(LAYERS)}. Correct the entry."
        )
    return resolve(LAYERS[name])


load = loader(build)
