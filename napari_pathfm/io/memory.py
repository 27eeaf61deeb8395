"""Memory for pixels: where it lies and whether it is fresh costs as much as decoding does."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB

IDLE_BYTES = 64 * 1024**2


def in_reach(height: int, width: int) -> RGB:
    """Return memory for a segment that will be read as soon as it is decoded.

    Where memory is aligned to 32 bytes, libjpeg-turbo writes past the processor's cache, and
    decoding takes up to two thirds longer.
    """
    count = height * width * 3
    memory = np.empty(count + 32, np.uint8)
    start = (16 - memory.ctypes.data) % 32
    return memory[start : start + count].reshape(height, width, 3)


class Recycler:
    """Memory that comes back when the last view of it is gone, and is handed out again.

    Parameters
    ----------
    idle_bytes : int
        What nobody uses is kept up to that much.
    """

    def __init__(self, idle_bytes: int = IDLE_BYTES) -> None:
        self._most = idle_bytes
        # Nothing here locks: memory comes back whenever Python lets go of it, even in `take`.
        self._idle: deque[NDArray[np.uint8]] = deque()

    @property
    def idle_bytes(self) -> int:
        """Bytes that nobody uses."""
        return sum(map(len, tuple(self._idle)))

    def take(self, *shape: int) -> NDArray[np.uint8]:
        """Return memory of that shape, uint8, with anything in it."""
        count = math.prod(shape)
        for _ in range(len(self._idle)):
            try:
                memory = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if count <= len(memory) <= 2 * count:
                return np.asarray(_Loan(memory, self))[:count].reshape(shape)
            self._idle.appendleft(memory)
        return np.asarray(_Loan(np.empty(count, np.uint8), self)).reshape(shape)

    def give_back(self, memory: NDArray[np.uint8]) -> None:
        """Keep memory for the next who needs some."""
        self._idle.append(memory)
        while self.idle_bytes > self._most:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._idle.popleft()


class _Loan:
    """What numpy holds as long as any array looks at the memory."""

    def __init__(self, memory: NDArray[np.uint8], owner: Recycler) -> None:
        self._memory, self._owner = memory, owner
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        self._owner.give_back(self._memory)


@cache
def recycler() -> Recycler:
    """Return the one that all walks of this process share."""
    return Recycler()
