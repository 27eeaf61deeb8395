"""Has a network compiled once it has worked so long that it is likely to go on.

That takes half a minute or more, so it happens in a process of its own (:mod:`.compiling`), which
works only when nobody else wants to. Whether an encoder's outcome is taken is decided by measuring,
as for every precision.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from .compiled import KINDS, Compiled, file_of, kind_of, load
from .precision import HALF, Precision

if TYPE_CHECKING:
    import torch

WORTH_SECONDS = 30.0
"""Work of a network after which it is compiled: as long as that takes itself."""

MAX_BYTES = 1 << 30
"""Networks with more weights than this are not compiled: they would be in memory twice. On a card
it is a quarter of what is free there."""

STALE_SECONDS = 3600.0
"""Nobody compiles for so long."""

JOB = "job.json"
"""What the process that compiles is told, in the folder where it works."""

ENCODER, IMAGE_ENCODER, MASK_DECODER = "encoder", "image encoder", "mask decoder"
"""What is compiled: the features of an encoder, and two parts of a segmenter."""

Origin = tuple[str, Path | None]
"""Name of a model and the weights that were asked for."""

OFF = "PATHFM_COMPILE"
"""Environment variable: ``0`` for never."""

_turn = threading.Lock()
"""Of who compiles: one network after the other, for the window wants to go on."""


class Compiler:
    """Has one network compiled when that is worth it.

    The process that does it loads the network for itself: nothing is pickled.

    Parameters
    ----------
    name : str
        See :func:`file_of`.
    device : str
    kind : str
        :data:`ENCODER`, :data:`IMAGE_ENCODER` or :data:`MASK_DECODER`.
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
        self._work: _Work | None = None

    @property
    def possible(self) -> bool:
        """Whether it is done for such a device, and the user has nothing against it."""
        return kind_of(self.device) in KINDS and os.environ.get(OFF) != "0"

    @property
    def _able(self) -> bool:
        """Whether there is a C++ compiler, which the code goes through."""
        names = (os.environ.get("CXX", "g++"), "clang++", "cl")
        return any(shutil.which(name) for name in names)

    @property
    def busy(self) -> bool:
        """Whether it is being compiled."""
        return self._work is not None and self._work.thread.is_alive()

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
                self._begin(origin, precision, self._file)

    def wait(self) -> None:
        """Wait until it has been compiled, or could not be."""
        if self._work is not None:
            self._work.thread.join()

    def _begin(self, origin: Origin, precision: Precision, file: Path) -> None:
        self._tried.discard(file)
        model, weights = origin
        job = {
            "kind": self._kind,
            "model": model,
            "weights": None if weights is None else str(Path(weights).absolute()),
            "device": self.device,
            "precision": asdict(precision),
            "file": str(file),
        }
        self._work = _Work(file, job)
        finalize(self, self._work.stop)
        self._work.thread.start()


class _Work:
    """A process that compiles one network, and the thread that waits for its turn and its end."""

    def __init__(self, file: Path, job: dict[str, Any]) -> None:
        self._file, self._job = file, job
        self._folder = file.with_suffix(".work")
        self._lock, self._stopped = threading.RLock(), threading.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def stop(self) -> None:
        """End it, or never begin."""
        with self._lock:
            self._stopped.set()
            if self.process is not None:
                self.process.kill()
                self.process.wait()
                shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        known = self._file.with_suffix(".failed"), self._file
        with _turn:
            process = None if any(file.exists() for file in known) else self._begun()
            if process is not None:
                process.wait()

    def _begun(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopped.is_set() or not _taken(self._folder):
                return None
            (self._folder / JOB).write_text(json.dumps(self._job))
            half = self._job["precision"]["dtype"] != "float32"
            with (self._folder / "log.txt").open("wb") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "napari_pathfm.models.compiling", str(self._folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, OFF: "0", HALF: "1" if half else "0"},
                )
            if self._stopped.is_set():  # by this very thread: Python collected the compiler
                self.stop()
            return self.process


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


def _bytes(network: torch.nn.Module) -> int:
    return sum(part.numel() * part.element_size() for part in network.parameters())


def _most(device: str) -> int:
    """Bytes of the weights of the largest network that is compiled."""
    if kind_of(device) == "cpu":
        return MAX_BYTES
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free // 4
