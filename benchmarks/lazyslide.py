"""LazySlide's own tile-feature function, in an environment of its own, as the other side.

LazySlide asks for other versions of what we use, so it lives in ``.lazyslide`` beside ``.venv``; it
takes torch, torchvision and timm from ours, so that both sides run the same network on the same
kernels. Its process holds the slide, the tiles and the network, and embeds them when it is told to.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathfm.core.tiles import TileGrid
from napari_pathfm.models.encoder import NetworkEncoder

from ._measure import say

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent / ".lazyslide"


class LazySlide:
    """A process in which LazySlide embeds tiles.

    Parameters
    ----------
    slide : Path
    grid : TileGrid
        Tiles that are as they lie in level 0.
    arch : str
        Name of the network in timm.
    encoder : NetworkEncoder
        Ours, with the facts about that network.
    state : Path
        Its weights, safetensors by timm's names.

    Raises
    ------
    OSError
        It cannot be installed, or does not start.
    """

    def __init__(
        self, slide: Path, grid: TileGrid, arch: str, encoder: NetworkEncoder, state: Path
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        origins = Path(self._folder.name, "xy.npy")
        np.save(origins, grid.origins[:, ::-1])
        spec = encoder.spec
        job = {
            "slide": str(slide),
            "xy": str(origins),
            "side": round(grid.side),
            "mpp": grid.spec.mpp,
            "arch": arch,
            "pool": {"cls": "token", "avg": "avg"}[spec.pooling],
            "state": str(state),
            "mean": spec.mean,
            "std": spec.std,
        }
        self._process = subprocess.Popen(
            [_python(), "-P", HERE / "lazyslide_side.py", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = str(self._answer()["version"])

    def embed(self, precision: str, tiles: int = 0) -> float:
        """Embed the first or all tiles in "float32", or mixed with another type: seconds."""
        assert self._process.stdin is not None
        print(
            json.dumps({"precision": precision, "tiles": tiles}),
            file=self._process.stdin,
            flush=True,
        )
        return float(self._answer()["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OSError("LazySlide's process has ended; see above why")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _python() -> Path:
    """Python of LazySlide's environment, which is made where it is missing."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / ".ready"
    if not ready.exists():
        say(f"installing LazySlide into {ENVIRONMENT}")
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "-q", "--no-deps"]
        subprocess.run([*install, "-r", HERE / "lazyslide.txt"], check=True, stdout=sys.stderr)
        ours = sysconfig.get_path("purelib")
        theirs = subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        )
        # What it has itself comes first; torch and timm are found in ours.
        Path(theirs.strip(), "ours.pth").write_text(ours + "\n")
        ready.touch()
    return python
