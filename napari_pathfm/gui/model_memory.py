"""How much memory the models alone take, measured in a process of their own."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection

import numpy as np
import psutil


def model_memory_mib(encoder: str, segmenter: str | None = None) -> float:
    """Resident memory that loading and running an encoder and a segmenter adds, in MiB.

    A fresh process imports what they need, loads their weights and runs each once; the difference
    of its memory before and at the peak is the answer. ``segmenter=None`` is the default one.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(encoder, segmenter, send), daemon=True)
    process.start()
    send.close()
    try:
        return float(receive.recv())
    finally:
        process.join()


def _measure(encoder: str, segmenter: str | None, send: Connection) -> None:
    from ..core.prompts import Prompts
    from ..models import catalog

    before = psutil.Process().memory_info().rss
    network = catalog.get_encoder(encoder)
    side = network.spec.tile_px
    noise = np.random.default_rng(0).integers(0, 255, (8, side, side, 3), np.uint8)
    network.embed(noise)
    prompter = catalog.get_segmenter(segmenter or catalog.DEFAULT_SEGMENTER)
    seen = prompter.encode(noise[0])
    prompter.decode(seen, [Prompts(box=np.array([10.0, 10.0, 100.0, 100.0]))])
    send.send((psutil.Process().memory_info().rss - before) / 2**20)
    send.close()
