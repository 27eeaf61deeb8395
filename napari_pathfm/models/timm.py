"""Networks of the timm library (https://github.com/huggingface/pytorch-image-models)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.jobs import Progress
from .base import ModelError
from .encoder import NetworkEncoder, check_facts, load_encoder

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry


def load(
    entry: CatalogEntry,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> NetworkEncoder:
    """Load an encoder of the catalogue; see :func:`napari_pathfm.models.encoder.load_encoder`."""
    return load_encoder(entry, build, weights, device, report)


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
        timm does not know the architecture, or the network differs from the catalogue's facts.
    """
    import timm
    import torch

    try:
        with torch.device("meta" if meta else "cpu"):
            network: torch.nn.Module = timm.create_model(
                entry.arch, pretrained=False, num_classes=0, **entry.arch_kwargs
            )
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"{entry.origin}: timm {timm.__version__} cannot build {entry.arch!r} for "
            f"{entry.spec.name}: {error}. Correct the entry, or update timm."
        ) from error
    check_facts(network, entry, "timm")
    return network.eval()
