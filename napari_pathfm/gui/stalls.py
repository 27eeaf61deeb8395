"""How long the event loop is kept from answering, by a timer that should fire every 5 ms."""

from __future__ import annotations

import time

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer

INTERVAL_MS = 5


class StallMeter(QObject):
    """Records by how much each tick of a 5 ms timer in the event loop comes late."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.late_ms: list[float] = []
        self._last = 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Start measuring, or go on."""
        self._last = time.perf_counter()
        self._timer.start()

    def stop(self) -> None:
        """Stop measuring; what was seen is kept."""
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.late_ms.append(max(0.0, (now - self._last) * 1e3 - INTERVAL_MS))
        self._last = now

    @property
    def p99(self) -> float:
        """99th percentile of the delays, ms; 0 if nothing was measured."""
        return float(np.percentile(self.late_ms, 99)) if self.late_ms else 0.0

    @property
    def worst(self) -> float:
        """Longest delay, ms."""
        return max(self.late_ms, default=0.0)
