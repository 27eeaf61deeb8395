"""How much memory the models alone take, measured in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import psutil


def model_memory_mib(encoder: str) -> float:
    """Resident memory that an encoder and the default segmenter add to a process, in MiB.

    A fresh process imports what they need, loads their weights and runs each once; the answer is
    the difference of its memory before and after.

    Raises
    ------
    subprocess.CalledProcessError
        A model cannot be loaded.
    """
    command = [sys.executable, "-m", __name__, encoder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def _measure(encoder: str) -> float:
    from ..core.prompts import Prompts
    from ..models import catalog

    before = psutil.Process().memory_info().rss
    network = catalog.get_encoder(encoder)
    side = network.spec.tile_px
    noise = np.random.default_rng(0).integers(0, 255, (8, side, side, 3), np.uint8)
    network.embed(noise)
    prompter = catalog.get_segmenter(catalog.DEFAULT_SEGMENTER)
    seen = prompter.encode(noise[0])
    prompter.decode(seen, [Prompts(box=np.array([10.0, 10.0, 100.0, 100.0]))])
    return (psutil.Process().memory_info().rss - before) / 2**20


if __name__ == "__main__":
    print(_measure(sys.argv[1]))
