"""Networks compiled for the very processor or card they run on, and kept on disk for the next time.

``torch.export`` and AOTInductor (Ansel et al., "PyTorch 2", ASPLOS 2024, https://pytorch.org) fuse
what a network does between its convolutions and products into code of its own, with its weights
in the order that the processor likes best. That takes half a minute, so it happens in a process of
its own, at low priority, once a network has worked so long that it is likely to go on; whether the
outcome is taken is decided by measuring, as for every precision.
"""

from __future__ import annotations

import copy
import ctypes
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from .precision import Precision

if TYPE_CHECKING:
    import torch

WORTH_SECONDS = 30.0
"""Work of a network after which it is compiled: as long as that takes itself."""

MAX_BYTES = 1 << 30
"""Networks with more weights than this are not compiled: they would be in memory twice. On a card
it is a quarter of what is free there."""

KEEP_BYTES = 4 << 30
"""What is kept on disk; the networks that were not used for longest go first."""

STALE_SECONDS = 3600.0
"""Nobody compiles for so long."""

KINDS = {"cpu": ".so", "cuda": ".pt2"}
"""Devices that networks are compiled for, and the files they are kept in."""

JOB = "job.json"
"""What the process that compiles is told, in the folder where it works."""

ENCODER, SEGMENTER = "encoder", "segmenter"
"""Models whose networks are compiled: of the first its features, of the second its decoder."""

Origin = tuple[str, Path | None]
"""Name of a model and the weights that were asked for."""

Compiled = Callable[..., Any]
"""Takes tensors, and gives a tensor or a tuple of them. What comes of an encoder takes
``(B, 3, px, px)`` uint8 pixels, channels-last, and gives its features."""

VERSION = 6
"""Goes up when networks must be compiled anew."""

OFF = "PATHFM_COMPILE"
"""Environment variable: ``0`` for never."""


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
    return folder() / f"{digest}{KINDS[_kind(device)]}"


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


class Compiler:
    """Has one network compiled when that is worth it.

    The process that does it loads the network for itself: nothing is pickled.

    Parameters
    ----------
    name : str
        See :func:`file_of`.
    device : str
    kind : str
        Of the model that it belongs to: :data:`ENCODER` or :data:`SEGMENTER`.
    worth : float
        Seconds of work after which it is compiled; :data:`WORTH_SECONDS` if absent.
    """

    def __init__(
        self, name: str, device: str, kind: str = ENCODER, worth: float | None = None
    ) -> None:
        self.name, self.device = name, device
        self._kind, self._worth = kind, worth
        self._worked = 0.0
        self._file: Path | None = None
        self._tried: set[Path] = set()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def possible(self) -> bool:
        """Whether it is done for such a device, and the user has nothing against it."""
        return _kind(self.device) in KINDS and os.environ.get(OFF) != "0"

    @property
    def _able(self) -> bool:
        """Whether there is a C++ compiler, which the code goes through."""
        names = (os.environ.get("CXX", "g++"), "clang++", "cl")
        return any(shutil.which(name) for name in names)

    @property
    def busy(self) -> bool:
        """Whether it is being compiled."""
        preparing = self._thread is not None and self._thread.is_alive()
        return preparing or (self._process is not None and self._process.poll() is None)

    @property
    def ready(self) -> bool:
        """Whether it has been compiled and was not tried."""
        file = self._file
        return file is not None and file not in self._tried and not self.busy and file.is_file()

    def find(self, precision: Precision) -> Compiled | None:
        """Return the compiled network if there is one, to be tried."""
        if precision.compiled or not self.possible:
            return None
        file = file_of(self.name, precision, self.device)
        self._tried.add(file)
        return load(file, self.device)

    def worked(
        self,
        seconds: float,
        origin: Origin | None,
        network: torch.nn.Module,
        precision: Precision,
    ) -> None:
        """Take notice of work that was done; begins when there was enough of it."""
        self._worked += seconds
        if self._worked > (WORTH_SECONDS if self._worth is None else self._worth):
            self.start(origin, network, precision)

    def start(self, origin: Origin | None, network: torch.nn.Module, precision: Precision) -> None:
        """Begin, unless that was done before, or is no use.

        Parameters
        ----------
        origin : Origin or None
            Where another process gets the network from.
        network : torch.nn.Module
        precision : Precision
        """
        if self._file is None and self.possible and origin is not None:
            self._file = file_of(self.name, precision, self.device)
            known = self._file in self._tried and self._file.is_file()
            small = _bytes(network) <= _most(self.device)
            if self._able and not known and not precision.compiled and small:
                self._thread = threading.Thread(
                    target=self._begin, args=(origin, precision, self._file), daemon=True
                )
                self._thread.start()

    def wait(self) -> None:
        """Wait until it has been compiled, or could not be."""
        if self._thread is not None:
            self._thread.join()
        if self._process is not None:
            self._process.wait()

    def _begin(self, origin: Origin, precision: Precision, file: Path) -> None:
        self._tried.discard(file)
        failed, work = file.with_suffix(".failed"), file.with_suffix(".work")
        if failed.exists() or file.exists() or not _taken(work):
            return
        model, weights = origin
        job = {
            "kind": self._kind,
            "model": model,
            "weights": None if weights is None else str(Path(weights).absolute()),
            "device": self.device,
            "precision": asdict(precision),
            "file": str(file),
        }
        (work / JOB).write_text(json.dumps(job))
        with (work / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "napari_pathfm.models.compiling", str(work)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, OFF: "0"},
            )
        finalize(self, _stop, self._process, work)


def _taken(work: Path) -> bool:
    """Make the folder to work in; ``False`` where another process has it already."""
    work.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if time.time() - work.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    try:
        work.mkdir()
    except FileExistsError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes], work: Path) -> None:
    process.kill()
    process.wait()
    shutil.rmtree(work, ignore_errors=True)


def _bytes(network: torch.nn.Module) -> int:
    return sum(part.numel() * part.element_size() for part in network.parameters())


def _most(device: str) -> int:
    """Bytes of the weights of the largest network that is compiled."""
    if _kind(device) == "cpu":
        return MAX_BYTES
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free // 4


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _chip(device: str) -> str:
    """Say what processor or card a device is; code for one may not run on another."""
    if _kind(device) == "cuda":
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
