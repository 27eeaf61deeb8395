"""Encoders and segmenters: what each one is, how it is loaded, how it answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NVIDIA = ("/dev/nvidiactl", "/dev/dxg")


def _leave_triton_out() -> None:
    # torch imports triton where it is installed. Its compiler brings an LLVM of its own, and
    # loading that into a process in which Mesa's software OpenGL has loaded another one crashes
    # it. Without an NVIDIA card triton is of no use, so it is kept out; torch does without.
    if sys.platform == "linux" and not any(Path(device).exists() for device in _NVIDIA):
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


_leave_triton_out()

# torch reads this when it is loaded: large blocks come in huge pages, which spares the encoder of
# a segmenter on a CPU hundreds of thousands of page faults.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
