"""SegGPT (Wang et al., ICCV 2023): segmentation by example, as a network of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import ModelError

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry


def build(entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
    """Build the network of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
        ``arch_kwargs`` are those of transformers' ``SegGptConfig`` that are not its own.
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        The network has another number of parameters than the catalogue says.
    """
    import torch
    import transformers

    library: Any = transformers  # its classes have no types
    with torch.device("meta" if meta else "cpu"):
        config = library.SegGptConfig(**entry.arch_kwargs)
        network: torch.nn.Module = library.SegGptForImageSegmentation(config)
    found = sum(parameter.numel() for parameter in network.parameters())
    if found != entry.spec.params:
        raise ModelError(
            f"{entry.origin}: {entry.spec.name} should have params = {entry.spec.params}, but "
            f"transformers' SegGPT has {found}. Correct the entry (arch_kwargs or params)."
        )
    return network.eval()
