"""Which device networks run on, and how arrays get there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
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


def cuda_devices() -> list[str]:
    """Names of all CUDA cards: ``"cuda:0"``, ..."""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


@dataclass(frozen=True, eq=False)
class Uploaded:
    """Tiles on their way to a card, in a stream of their own, while its network works.

    Attributes
    ----------
    tensor : torch.Tensor
        ``(B, H, W, 3)`` uint8, on the card.
    arrived : torch.cuda.Event
        Happens when all of it is there.
    """

    tensor: torch.Tensor
    arrived: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tiles."""
        return tuple(self.tensor.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.tensor.ndim

    def __len__(self) -> int:
        return len(self.tensor)


@cache
def _copying(device: str) -> Any:
    """Return the stream in which a card is given its tiles."""
    import torch

    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def upload(tiles: NDArray[np.uint8], device: str) -> NDArray[np.uint8] | Uploaded:
    """Begin to bring tiles to a card, from any thread; elsewhere they stay as they are.

    They are copied into pinned memory, from which the card fetches them by itself.
    """
    if not device.startswith("cuda"):
        return tiles
    import torch

    stream, arrived = _copying(device), torch.cuda.Event()  # type: ignore[no-untyped-call]
    pinned = torch.from_numpy(np.ascontiguousarray(tiles)).pin_memory()
    try:
        with torch.cuda.stream(stream):
            there = pinned.to(device, non_blocking=True)
    except torch.OutOfMemoryError:
        return tiles  # what runs now may leave room for them
    arrived.record(stream)
    return Uploaded(there, arrived)


def no_memory(error: BaseException) -> str:
    """Say what to do where an error means that memory is too small; empty for other errors."""
    # On the processor torch has no error of its own for it.
    torchs = type(error).__name__ == "OutOfMemoryError" or "t allocate memory" in str(error)
    if not torchs and not isinstance(error, MemoryError):
        return ""
    words = str(error).partition("\n")[0] if isinstance(error, MemoryError) else ""
    return f"{words} The memory is too small: close other programs, or use a smaller model.".strip()


def to_device(array: NDArray[Any] | Uploaded, device: str) -> torch.Tensor:
    """Bring an array to a device; one that may not be written to is copied first."""
    import torch

    if isinstance(array, Uploaded):
        stream = torch.cuda.current_stream(device)
        stream.wait_event(array.arrived)
        array.tensor.record_stream(stream)
        return array.tensor
    array = np.ascontiguousarray(array)
    return torch.as_tensor(array if array.flags.writeable else array.copy()).to(device)


def lost(error: Exception) -> bool:
    """Whether an error of torch says that a card does not answer any more."""
    import torch

    kind = getattr(torch, "AcceleratorError", None)
    known = kind is not None and isinstance(error, kind)
    return known or (isinstance(error, RuntimeError) and "CUDA error" in str(error))
