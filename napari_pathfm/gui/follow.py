"""Let a widget follow the session for as long as it lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.QtCore import QObject


def follow(owner: QObject, *pairs: tuple[SignalInstance, Callable[[], Any]]) -> None:
    """Connect events of the session to methods of a widget, until the widget is destroyed.

    psygnal holds bound methods weakly, but Qt may destroy a widget while Python still knows it;
    calling it then would be an error in whoever changed the session.

    Parameters
    ----------
    owner : QObject
    pairs : tuple of (signal, bound method)
        The methods are called without arguments.
    """
    for signal, method in pairs:
        signal.connect(method, max_args=0)
    weak = [(signal, WeakMethod(method)) for signal, method in pairs]

    def leave(*_: object) -> None:
        _waiting.discard(leave)
        for signal, known in weak:
            method = known()
            if method is not None:
                signal.disconnect(method, missing_ok=True)

    _waiting.add(leave)
    owner.destroyed.connect(leave)


_waiting: set[Callable[..., None]] = set()
"""What Qt will call when a widget is destroyed.

Were it known to Qt alone, Python's garbage collector would clear it together with the widget, and
Qt would call what is no function any more: a crash.
"""
