"""Our click model: LiteMedSAM's image encoder before an adapter and a decoder of ours.

LiteMedSAM (Ma et al., 2024, https://github.com/bowang-lab/MedSAM) was trained on boxes of medical
images; our adapter, prompt encoder and mask decoder were trained by ``pathfm train-click`` for
points, boxes and earlier answers on tissue. What they were trained on and how well they do stands
in docs/click-model.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.jobs import Progress
from . import litemedsam
from .catalog import entries
from .checkpoint import load_into, read_state
from .device import default_device
from .sam_segmenter import SamSegmenter
from .weights import find_weights

if TYPE_CHECKING:
    import torch

NAME, INPUT_PX = "pathfm-click", 168
"""LiteMedSAM's encoder sees 256 px. It takes two fifths of the time here, and masks of nuclei are
no worse; its windows of 7 and 14 positions fit this side without padding."""

PLACES = {
    "adapter": "image_encoder.neck.adapter",
    "prompt_encoder": "prompt_encoder",
    "mask_decoder": "mask_decoder",
}
"""Our parts, and where they lie in the network."""


def load(
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> SamSegmenter:
    """Load the click model.

    Parameters
    ----------
    weights : Path, optional
        What ``pathfm train-click`` made, or a folder that may hold it; those that come with this
        program if absent.
    device : str, optional
    report : callable, optional
        Is told how far a download is; there is none here.

    Raises
    ------
    ModelError
        LiteMedSAM's package is incomplete, or the file is another network's.
    """
    theirs = find_weights(litemedsam.NAME, entries()[litemedsam.NAME].weights, None, report=report)
    path = find_weights(NAME, entries()[NAME].weights, weights, report=report)
    encoder = {k: v for k, v in read_state(theirs).items() if k.startswith("image_encoder.")}
    network = _build()
    load_into(network, encoder | _placed(read_state(path)), path, NAME)
    return SamSegmenter(
        NAME,
        network,
        input_px=INPUT_PX,
        normalise=litemedsam.stretch,
        device=device or default_device(),
        origin=(NAME, weights),
    )


def to_train(weights: Path | None = None) -> tuple[SamSegmenter, torch.nn.ModuleDict]:
    """Return LiteMedSAM, whose image encoder encodes crops, and our parts, which are trained.

    Parameters
    ----------
    weights : Path, optional
        Of ours, to go on with; if absent LiteMedSAM's own, and an adapter without effect.
    """
    import torch

    theirs = find_weights(litemedsam.NAME, entries()[litemedsam.NAME].weights, None)
    network, state = _build(), read_state(theirs)
    parts = {name: network.get_submodule(place) for name, place in PLACES.items()}
    known = parts["adapter"].state_dict()
    state |= _placed({f"adapter.{key}": value for key, value in known.items()})
    if weights is not None:
        state |= _placed(read_state(weights))
    load_into(network, state, weights or theirs, NAME)
    encoding = litemedsam.build(INPUT_PX)  # of its own: what encodes is converted
    load_into(encoding, read_state(theirs), theirs, litemedsam.NAME)
    stretch, device = litemedsam.stretch, default_device()
    segmenter = SamSegmenter(litemedsam.NAME, encoding, INPUT_PX, stretch, device)
    return segmenter, torch.nn.ModuleDict(parts)


def _build() -> torch.nn.Module:
    import torch

    from .adapter import Adapter

    network: Any = litemedsam.build(INPUT_PX)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # an adapter that has learned nothing is the same each time
        adapter = Adapter(network.prompt_encoder.embed_dim)
    network.image_encoder.neck.add_module("adapter", adapter)
    return network  # type: ignore[no-any-return]


def _placed(state: dict[str, Any]) -> dict[str, Any]:
    """Call our weights as the network does."""
    named = ((*key.partition("."), value) for key, value in state.items())
    return {PLACES.get(part, part) + dot + rest: value for part, dot, rest, value in named}
