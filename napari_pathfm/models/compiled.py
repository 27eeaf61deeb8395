"""Networks compiled for the very processor or card they run on, and kept on disk for the next time.

``torch.export`` and AOTInductor (Ansel et al., "PyTorch 2", ASPLOS 2024, https://pytorch.org) fuse
what a network does between its convolutions and products into code of its own, with its weights
in the order that the processor likes best. When that happens: :mod:`.compiler`.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from .precision import Precision

if TYPE_CHECKING:
    import torch

KEEP_BYTES = 4 << 30
"""What is kept on disk; the networks that were not used for longest go first."""

KINDS = {"cpu": ".so", "cuda": ".pt2"}
"""Devices that networks are compiled for, and the files they are kept in."""

Compiled = Callable[..., Any]
"""Takes tensors, and gives a tensor or a tuple of them. What comes of an encoder takes
``(B, 3, px, px)`` uint8 pixels, channels-last, and gives its features."""

VERSION = 7
"""Goes up when networks must be compiled anew."""


def folder() -> Path:
    """Where compiled networks are kept."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("napari-pathfm")) / "compiled"


def file_of(network: str, precision: Precision, device: str = "cpu") -> Path:
    """Where a compiled network is, or would be.

    Parameters
    ----------
    network : str
        What tells networks apart: architecture, weights and how images are prepared.
    precision : Precision
    device : str
        One of :data:`KINDS`, with its number or without.
    """
    facts = (VERSION, network, precision.eager, _chip(device))
    versions = tuple(importlib.metadata.version(name) for name in ("torch", "timm"))
    digest = hashlib.blake2b(repr((*facts, *versions)).encode(), digest_size=12).hexdigest()
    return folder() / f"{digest}{KINDS[kind_of(device)]}"


class CompiledNetwork:
    """A network as a shared library of its own.

    It is called by ctypes through the C interface of AOTInductor (``aoti_runtime/interface.h`` of
    torch), which lets go of Python's lock meanwhile; torch's own loader keeps it, so that the
    window would stand still while the network works.

    Parameters
    ----------
    file : Path

    Raises
    ------
    OSError
        It is no library.
    AttributeError, RuntimeError
        It is another one.
    """

    def __init__(self, file: Path) -> None:
        self._library = ctypes.CDLL(str(file))
        self._network = ctypes.c_void_p()
        self._do("CreateWithDevice", ctypes.byref(self._network), ctypes.c_size_t(1), b"cpu", None)
        answers = ctypes.c_size_t()
        self._do("GetNumOutputs", self._network, ctypes.byref(answers))
        self._answers = answers.value
        finalize(self, self._library.AOTInductorModelContainerDelete, self._network)

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Return the network's answer to tensors in the memory order that it was compiled for."""
        import torch

        aoti: Any = torch._C._aoti
        given = (ctypes.c_void_p * len(inputs))()
        for number, each in enumerate(inputs):  # they are stolen
            given[number] = _pointer_of(aoti.unsafe_alloc_void_ptr_from_tensor(each), None)
        made = (ctypes.c_void_p * self._answers)()
        counts = ctypes.c_size_t(len(inputs)), ctypes.c_size_t(self._answers)
        self._do("Run", self._network, given, counts[0], made, counts[1], None, None)
        answers = tuple(
            aoti.alloc_tensor_by_stealing_from_void_ptr(_capsule_of(each, None, None))
            for each in made
        )
        return answers[0] if self._answers == 1 else answers

    def _do(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, f"AOTInductorModelContainer{name}")(*arguments):
            raise RuntimeError(f"a compiled network failed ({name})")


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_capsule_of = ctypes.pythonapi.PyCapsule_New
_capsule_of.restype = ctypes.py_object
_capsule_of.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


def load(file: Path, device: str = "cpu") -> Compiled | None:
    """Load a compiled network: ``None`` if there is none; a damaged file is removed."""
    if not file.is_file():
        return None
    try:
        made = open_compiled(file, device)
        os.utime(file)  # used now
    except (OSError, AttributeError, RuntimeError):
        file.unlink(missing_ok=True)
        return None
    except AssertionError:  # torch's loader imports setuptools, which may have come too late
        return None
    return made


def open_compiled(file: Path, device: str) -> Compiled:
    """Open a file of :data:`KINDS`.

    On a card torch's own loader does: what it keeps Python's lock for is only to begin the work.

    Raises
    ------
    OSError, AttributeError, RuntimeError
        It is damaged, or for another device.
    """
    if file.suffix == KINDS["cpu"]:
        return CompiledNetwork(file)
    import torch

    number = device.partition(":")[2]
    found: Compiled = torch._inductor.aoti_load_package(
        str(file), device_index=int(number) if number else -1
    )
    return found


def attach(network: torch.nn.Module, features: Compiled) -> torch.nn.Module:
    """Return a network that shares all with another, and has ``from_pixels`` besides."""
    made = copy.copy(network)
    made.from_pixels = features  # type: ignore[assignment]
    return made


def kind_of(device: str) -> str:
    """What a device is, without its number: "cpu", "cuda", ..."""
    return device.partition(":")[0]


def _chip(device: str) -> str:
    """Say what processor or card a device is; code for one may not run on another."""
    if kind_of(device) == "cuda":
        import torch

        return f"{torch.cuda.get_device_name(device)} {torch.cuda.get_device_capability(device)}"
    facts = [platform.machine(), platform.processor()]
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "flags", "Compiled")):
                facts.append(line)
            elif not line:
                break  # the first core stands for all
    return "\n".join(facts)


def tidy(folder: Path) -> None:
    """Remove the networks that were not used for longest, if there is more than is kept."""
    kept = [file for kind in KINDS.values() for file in folder.glob(f"*{kind}")]
    files = sorted(kept, key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > KEEP_BYTES:
            file.unlink(missing_ok=True)
