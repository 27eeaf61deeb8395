"""Which device networks run on, and how arrays get there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def default_device() -> str:
    """Name of the device to run on: the first CUDA card, Apple's GPU, or the processor."""
    import torch

    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def to_device(array: NDArray[Any], device: str) -> torch.Tensor:
    """Bring an array to a device; one that may not be written to is copied first."""
    import torch

    array = np.ascontiguousarray(array)
    return torch.as_tensor(array if array.flags.writeable else array.copy()).to(device)
