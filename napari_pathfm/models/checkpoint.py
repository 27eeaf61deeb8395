"""Checkpoint files: what they are (a hash), and how they get into a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import ModelError
from .keys import State, drop_training_only, unwrap

if TYPE_CHECKING:
    import torch


LOOKED_AT = 1024
"""Numbers of each array of a network that tell it from another one."""


def file_hash(path: Path, digits: int = 16) -> str:
    """Return the first hexadecimal digits of a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:digits]


def state_id(state: State, digits: int = 16) -> str:
    """Tell parameters from others, in whatever file they come.

    Training changes nearly every number of what it trains, so up to :data:`LOOKED_AT` of each
    array are looked at: 2.5 GB in a tenth of a second.

    Returns
    -------
    str
        Hexadecimal digits over names, shapes and numbers.
    """
    digest = hashlib.blake2b(digest_size=digits // 2)
    for name, values in sorted(state.items()):
        flat = values.detach().reshape(-1)
        # An odd step meets all columns of a matrix.
        some = flat[:: flat.numel() // LOOKED_AT | 1].float().cpu().numpy()
        digest.update(f"{name} {tuple(values.shape)}".encode() + some.tobytes())
    return digest.hexdigest()


def read_state(path: Path) -> State:
    """Read parameters by name from a ``.safetensors`` file or a PyTorch checkpoint.

    Containers and prefixes are taken off (:func:`napari_pathfm.models.keys.unwrap`).

    Raises
    ------
    ModelError
        The file is damaged, holds no parameters, or holds code (which is never run).
    """
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(state, dict):
        raise ModelError(f"{path} holds no parameters by name but a {type(state).__name__}.")
    return {k: v for k, v in unwrap(state).items() if hasattr(v, "shape")}


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}. Download it again.") from error


def _read_torch(path: Path) -> Any:
    import pickle
    from argparse import Namespace

    import torch

    try:
        # Training scripts such as DINO's save their options beside the weights: harmless values.
        with torch.serialization.safe_globals([Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged or holds code besides numbers, which is not run. Use a file "
            f"with parameters only, best a .safetensors one. ({first_line(error)})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read as a PyTorch checkpoint: {first_line(error)} Download it again."
        ) from error


def load_into(network: torch.nn.Module, state: State, path: Path, name: str) -> None:
    """Put every parameter in its place, in float32; the network may be on the meta device.

    Parameters
    ----------
    network : torch.nn.Module
        Gets the tensors themselves, not copies.
    state : dict
        Parameters by the network's own names; position embeddings of another size are resampled.
    path : Path
        Where they come from, for messages.
    name : str
        Name of the model, for messages.

    Raises
    ------
    ModelError
        Names or shapes differ; the message names the first ones.
    """
    import torch

    expected = network.state_dict()
    state = drop_training_only(state, set(expected))
    state = resample_positions(state, network)
    differences = list(_differences(state, expected))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise ModelError(
            f"{path} does not hold the weights of {name}: {'; '.join(differences[:3])}{more}. "
            "Choose the file that belongs to this model."
        )
    ready = {
        key: value.to(torch.float32) if value.is_floating_point() else value
        for key, value in state.items()
    }
    network.load_state_dict(ready, strict=True, assign=True)
    network.requires_grad_(False).eval()


def _differences(state: State, expected: State) -> Iterator[str]:
    for key in expected:
        if key not in state:
            yield f"{key} is missing"
        elif tuple(state[key].shape) != tuple(expected[key].shape):
            theirs, ours = tuple(state[key].shape), tuple(expected[key].shape)
            yield f"{key} is {theirs} instead of {ours}"
    for key in state:
        if key not in expected:
            yield f"{key} is unknown"


def resample_positions(state: State, network: torch.nn.Module) -> State:
    """Resample a ViT's position embeddings to the grid of the network, if they differ.

    Only where both are square grids of the same width; otherwise the state stays as it is, and
    the difference is named when it is loaded.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    positions, ours = state.get("pos_embed"), getattr(network, "pos_embed", None)
    if positions is None or ours is None or positions.ndim != 3 or positions.shape == ours.shape:
        return state
    grid: tuple[int, int] = network.patch_embed.grid_size  # type: ignore[union-attr, assignment]
    prefix = ours.shape[1] - grid[0] * grid[1]
    side = round(max(0, positions.shape[1] - prefix) ** 0.5)
    if (
        side < 1
        or side * side + prefix != positions.shape[1]
        or positions.shape[2] != ours.shape[2]
    ):
        return state
    resampled = resample_abs_pos_embed(
        positions.float(), new_size=list(grid), num_prefix_tokens=prefix
    )
    return {**state, "pos_embed": resampled}


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, for messages of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
