"""Models that are code of their authors: what they are asked, and how their answers are checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..core.jobs import Progress
from .base import EncoderSpec, ModelError, SlideSpec
from .device import default_device, to_device
from .encoder import NetworkEncoder
from .remote_code import load_network, local_folder
from .slides import check_bag, slide_spec

if TYPE_CHECKING:
    from .catalog import CatalogEntry


class RemoteTokens(nn.Module):
    """What :class:`~napari_pathfm.models.encoder.NetworkEncoder` asks of a network of transformers.

    Parameters
    ----------
    spec : EncoderSpec
    network : transformers.PreTrainedModel
        Gives ``last_hidden_state``, ``(B, T, C)``, for ``(B, 3, h, w)`` images.
    """

    def __init__(self, spec: EncoderSpec, network: Any) -> None:
        super().__init__()
        self._spec, self.network = spec, network

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens of ``(B, 3, h, w)`` images, class and register tokens first.

        Raises
        ------
        ModelError
            There are not as many as the catalogue says, or not as wide.
        """
        tokens: torch.Tensor = self.network(images).last_hidden_state
        spec = self._spec
        wanted = (spec.prefix_tokens + (spec.input_px // spec.patch) ** 2, spec.token_dim)
        if tuple(tokens.shape[1:]) != wanted:
            raise ModelError(
                f"{spec.name} gave tokens {tuple(tokens.shape[1:])}, not {wanted}: its code is "
                "not what is expected here. Allow the revision that you used before."
            )
        return tokens


class RemoteSlideModel:
    """A model of slides whose network is code of its authors.

    It is a :class:`~napari_pathfm.models.base.SlideModel`.
    """

    def __init__(self, spec: SlideSpec, network: Any, device: str, call: Call) -> None:
        self.spec, self.device = spec, device
        self._network, self._call = network.to(device), call

    def embed_slide(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32]:
        """Return the slide's vector, ``(dim,)`` float32."""
        check_bag(vectors, centres, self.spec)
        corners = np.rint(centres - side / 2).astype(np.int64)
        with torch.inference_mode():
            answer = self._call(
                self._network,
                to_device(vectors[None], self.device),
                to_device(corners[None, :, ::-1], self.device),
                side,
            )
            found: NDArray[np.float32] = answer.float().cpu().numpy().reshape(-1)
        if len(found) != self.spec.dim:
            raise ModelError(
                f"{self.spec.name} gave {len(found)} numbers, not {self.spec.dim}: its code is "
                "not what is expected here. Allow the revision that you used before."
            )
        return found

    def attention(
        self, vectors: NDArray[np.float32], centres: NDArray[np.float64], side: float
    ) -> NDArray[np.float32] | None:
        """Nothing: its authors' code does not say it."""
        return None


Call = Callable[[Any, Any, Any, float], Any]
"""Gives the slide's vector from a network, vectors ``(1, N, D)``, corners ``(1, N, 2)`` ``(x, y)``
in level-0 pixels, and the side of a tile."""

CALLS: dict[str, Call] = {
    "titan": lambda network, vectors, corners, side: network.encode_slide_from_patch_features(
        vectors, corners, round(side)
    ),
    "prism": lambda network, vectors, _corners, _side: network.slide_representations(vectors)[
        "image_embedding"
    ],
}
"""How the authors' models are asked, by the entry's `arch`."""


def load(
    entry: CatalogEntry,
    weights: Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> NetworkEncoder | RemoteSlideModel:
    """Load an encoder or a model of slides.

    Parameters
    ----------
    entry : CatalogEntry
    weights : Path, optional
        A copy of its repository, or a folder that holds one as ``<name>``.
    device, report
        See :func:`napari_pathfm.models.encoder.Load`.

    Raises
    ------
    ModelError
        The user has not said yes to its code, or it cannot be loaded.
    """
    name, device = entry.spec.name, device or default_device()
    if report is not None:
        report(Progress(0, 0, f"Loading {name}"))
    network, consent = load_network(name, entry.weights.hub, local_folder(name, weights))
    if entry.spec.kind == "slide":
        return RemoteSlideModel(slide_spec(entry), network, device, CALLS[entry.arch])
    tokens = RemoteTokens(entry.encoder, network).eval()
    return NetworkEncoder(entry.encoder, tokens, consent.revision[:16], device)


def build(entry: CatalogEntry, meta: bool = False) -> Any:
    """Raise ``ModelError``: without its authors' code there is no network."""
    raise ModelError(
        f"The network of {entry.spec.name} exists only as code in {entry.weights.hub}, which runs "
        f"when the model is loaded, after “pathfm models allow {entry.spec.name}”."
    )
