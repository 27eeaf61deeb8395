"""Vision transformers of the transformers library (https://github.com/huggingface/transformers).

Each is built from the figures in the catalogue, never from a hub's config, and no code that comes
with weights is run.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .base import ModelError
from .encoder import check_facts, loader
from .keys import State

if TYPE_CHECKING:
    import torch

    from .catalog import CatalogEntry

POSITIONS = "embeddings.position_embeddings"

_NEW_NAMES = (
    ("attention.attention.query.", "attention.q_proj."),
    ("attention.attention.key.", "attention.k_proj."),
    ("attention.attention.value.", "attention.v_proj."),
    ("attention.output.dense.", "attention.o_proj."),
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
    ("mlp.weights_out.", "mlp.down_proj."),
)
"""Parts of parameters' names up to version 4 of the library, which published files have, and
today's. (``encoder.layer.`` has become ``layers.`` in some networks and has stayed in others.)"""


def build(entry: CatalogEntry, meta: bool = False) -> torch.nn.Module:
    """Build the network of a catalogue entry without its weights.

    Parameters
    ----------
    entry : CatalogEntry
        ``arch`` names a network of :func:`networks`, ``arch_kwargs`` are those of its config.
    meta : bool
        On the meta device: shapes without memory.

    Raises
    ------
    ModelError
        There is no such network, or it differs from the catalogue's facts.
    """
    import torch
    import transformers

    known = networks()
    try:
        with torch.device("meta" if meta else "cpu"):
            made = known[entry.arch](known[entry.arch].config_class(**entry.arch_kwargs))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{entry.origin}: transformers {transformers.__version__} cannot build {entry.arch!r} "
            f"for {entry.spec.name}: {error}. Correct the entry: arch is one of {', '.join(known)}."
        ) from error
    check_facts(made, entry, "transformers")
    network: torch.nn.Module = made.eval()
    return network


@functools.cache
def networks() -> dict[str, Any]:
    """Networks of the library by the names of their classes, with ``forward_features``.

    Position embeddings of another grid than the image's are interpolated on the way, as the
    library does it for each of them.
    """
    import transformers

    library: Any = transformers  # its classes have no types

    class Tokens:
        """What :class:`~napari_pathfm.models.encoder.NetworkEncoder` asks for besides."""

        config: Any

        @property
        def num_features(self) -> int:
            return int(self.config.hidden_size)

        @property
        def num_prefix_tokens(self) -> int:
            return 1 + int(getattr(self.config, "num_register_tokens", 0))

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            tokens: torch.Tensor = self(images).last_hidden_state  # type: ignore[operator]
            return tokens

    class ViTModel(Tokens, library.ViTModel):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config, add_pooling_layer=False)

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            tokens: torch.Tensor = self(images, interpolate_pos_encoding=True).last_hidden_state
            return tokens

    class Dinov2Model(Tokens, library.Dinov2Model):  # type: ignore[misc]
        pass

    class Dinov2WithRegistersModel(Tokens, library.Dinov2WithRegistersModel):  # type: ignore[misc]
        pass

    return {made.__name__: made for made in (ViTModel, Dinov2Model, Dinov2WithRegistersModel)}


def fit(state: State, wanted: State) -> State:
    """Give the parameters of a published file the names and shapes of a network.

    Parameters
    ----------
    state : dict
        Parameters by the names of any version of the library.
    wanted : dict
        The network's own, which may be on the meta device.

    Returns
    -------
    dict
        Renamed. The two halves of a SwiGLU layer's first product, one matrix in older versions,
        are taken apart, position embeddings of another grid are resampled, and a pooler, which
        none of our networks has, is left out. What does not fit stays as it is, to be named when
        it is loaded.
    """
    fitted: State = {}
    for name, value in state.items():
        if name.startswith("pooler.") and name not in wanted:
            continue
        if ".weights_in." in name and name not in wanted:
            halves = value.chunk(2)
            for half, part in zip(halves, ("gate_proj", "up_proj"), strict=True):
                fitted[name.replace("weights_in", part)] = half.contiguous()
        else:
            fitted[_name(name, wanted)] = value
    if POSITIONS in fitted and POSITIONS in wanted:
        fitted[POSITIONS] = _resampled(fitted[POSITIONS], wanted[POSITIONS].shape)
    return fitted


def _name(name: str, wanted: State) -> str:
    if name in wanted:
        return name
    for old, new in _NEW_NAMES:
        name = name.replace(old, new)
    return name if name in wanted else name.replace("encoder.layer.", "layers.")


def _resampled(positions: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Resample ``(1, 1 + h * w, C)`` embeddings, the class token's first, to another grid."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    theirs, ours = (round(max(0, n - 1) ** 0.5) for n in (positions.shape[1], shape[1]))
    plain = positions.shape[1] == 1 + theirs**2 and positions.shape[2] == shape[2]
    if tuple(positions.shape) == tuple(shape) or not plain:
        return positions
    resampled: torch.Tensor = resample_abs_pos_embed(
        positions.float(), [ours, ours], num_prefix_tokens=1
    )
    return resampled


def _rename(state: State, entry: CatalogEntry) -> State:
    return fit(state, build(entry, meta=True).state_dict())


load = loader(build, _rename)
